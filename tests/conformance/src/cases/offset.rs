//! Where a write starts, and where it leaves the position (NT-O).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_o_01_a_write_without_an_offset_starts_at_the_position,
    nt_o_01_writes_follow_each_other,
    nt_o_01_a_read_without_an_offset_moves_the_position_too,
    nt_o_02_minus_two_is_the_position,
    nt_o_02_minus_two_and_none_are_one,
    nt_o_03_an_explicit_offset_is_used_whatever_the_position,
    nt_o_03_an_explicit_offset_leaves_the_position_behind_its_write,
    nt_o_03_an_explicit_offset_places_the_bytes,
    nt_o_04_minus_one_appends_and_moves_the_position,
    nt_o_04_minus_one_on_an_empty_file_starts_at_zero,
    nt_o_04_seven_and_seven_end_at_fourteen,
    nt_o_05_an_asynchronous_append_leaves_the_position,
    nt_o_06_an_asynchronous_handle_has_no_position,
    nt_o_07_an_asynchronous_handle_needs_an_offset,
    nt_o_08_an_append_only_handle_ignores_the_offset,
    nt_o_08_an_append_only_handle_moves_its_position_to_the_end,
    nt_o_08_an_offset_past_the_end_is_ignored_too,
    nt_o_09_an_append_only_handle_ignores_the_position_too,
    nt_o_09_two_appenders_never_overwrite_each_other,
    nt_o_09_an_appender_follows_an_end_that_moved,
    nt_o_10_an_asynchronous_appender_takes_any_offset_or_none,
    nt_o_11_offsets_below_minus_two_are_refused,
    nt_o_11_minus_two_needs_a_synchronous_handle,
    nt_o_11_an_appender_takes_them_all,
    nt_o_12_reads_take_no_negative_offset_but_minus_two,
    nt_o_12_an_asynchronous_read_takes_none_at_all,
    nt_o_13_both_rights_honour_the_offset,
    nt_o_14_the_position_follows_what_was_done_not_what_was_asked,
    nt_o_15_what_is_refused_before_it_starts_leaves_the_position,
    nt_o_16_a_position_past_the_end_leaves_a_gap_of_zeros,
    nt_o_17_an_offset_whose_end_overflows_is_refused,
    nt_o_17_what_the_volume_cannot_hold_is_a_full_disk,
];

fn nt_o_01_a_write_without_an_offset_starts_at_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    t.seek(f, 4)?;
    t.writes(f, NULL, b"ab")?;
    t.stands(f, 6)?;
    t.holds("a", b"0123ab6789")
}

fn nt_o_01_writes_follow_each_other(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for step in 1..=5 {
        t.writes(f, NULL, b"abc")?;
        t.stands(f, step * 3)?;
    }
    t.holds("a", b"abcabcabcabcabc")
}

fn nt_o_01_a_read_without_an_offset_moves_the_position_too(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"0123456789")?;
    t.seek(f, 2)?;
    t.reads(f, NULL, 3, b"234")?;
    t.stands(f, 5)?;
    t.writes(f, NULL, b"x")?;
    t.holds("a", b"01234x6789")
}

fn nt_o_02_minus_two_is_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"0123456789")?;
    t.seek(f, 6)?;
    t.writes(f, POINTER, b"DCBA")?;
    t.stands(f, 10)?;
    t.holds("a", b"012345DCBA")
}

fn nt_o_02_minus_two_and_none_are_one(t: &Run<'_>) -> Outcome {
    for (name, offset) in [("a", NULL), ("b", POINTER)] {
        let f = t.open(sync(name))?;
        t.writes(f, offset, b"abc")?;
        t.seek(f, 7)?;
        t.writes(f, offset, b"de")?;
        t.writes(f, offset, b"f")?;
        t.stands(f, 10)?;
        t.holds(name, b"abc\0\0\0\0def")?;
    }
    Ok(())
}

fn nt_o_03_an_explicit_offset_is_used_whatever_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"0123456789")?;
    for position in [0, 3, 10, 1000] {
        t.seek(f, position)?;
        t.writes(f, at(1), b"xy")?;
        t.stands(f, 3)?;
    }
    t.holds("a", b"0xy3456789")
}

fn nt_o_03_an_explicit_offset_leaves_the_position_behind_its_write(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(5), b"ab")?;
    t.stands(f, 7)?;
    t.writes(f, NULL, b"c")?;
    t.stands(f, 8)?;
    t.holds("a", b"\0\0\0\0\0abc")
}

fn nt_o_03_an_explicit_offset_places_the_bytes(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(4), b"4567")?;
    t.writes(f, at(0), b"0123")?;
    t.writes(f, at(2), b"--")?;
    t.holds("a", b"01--4567")
}

fn nt_o_04_minus_one_appends_and_moves_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"0123456789")?;
    t.seek(f, 3)?;
    t.writes(f, END, b"ab")?;
    t.stands(f, 12)?;
    t.writes(f, NULL, b"c")?;
    t.holds("a", b"0123456789abc")
}

fn nt_o_04_minus_one_on_an_empty_file_starts_at_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, END, b"abc")?;
    t.stands(f, 3)?;
    t.ends(f, 3)
}

fn nt_o_04_seven_and_seven_end_at_fourteen(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"1234567")?;
    t.seek(f, 0)?;
    t.writes(f, END, b"890abcd")?;
    t.stands(f, 14)?;
    t.ends(f, 14)
}

fn nt_o_05_an_asynchronous_append_leaves_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.write(f, END, b"abc", pended(NtStatus::SUCCESS, 3))?;
    t.write(f, END, b"def", pended(NtStatus::SUCCESS, 3))?;
    t.stands(f, 0)?;
    t.holds("a", b"abcdef")
}

fn nt_o_06_an_asynchronous_handle_has_no_position(t: &Run<'_>) -> Outcome {
    for create in [asynchronous("a"), asynchronous("b").with(NONCACHED)] {
        let f = t.open(create)?;
        for offset in [at(0), at(512), END, at(0)] {
            t.write(f, offset, &[7; 512], pended(NtStatus::SUCCESS, 512))?;
            t.stands(f, 0)?;
        }
        t.transfer(Transfer::read(f, at(512), 512), pended(NtStatus::SUCCESS, 512))?;
        t.stands(f, 0)?;
        t.ends(f, 1536)?;
    }
    Ok(())
}

fn nt_o_07_an_asynchronous_handle_needs_an_offset(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.leaves(State::E1, Transfer::write(f, NULL, b"abc"), NtStatus::INVALID_PARAMETER)
}

fn nt_o_08_an_append_only_handle_ignores_the_offset(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"fo")?;
    let f = t.open(appender("a"))?;
    t.writes(f, at(1), b"ob")?;
    t.holds("a", b"foob")?;
    t.writes(f, at(3), b"ar")?;
    t.holds("a", b"foobar")
}

fn nt_o_08_an_append_only_handle_moves_its_position_to_the_end(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"fo")?;
    // The position of an append-only handle is asked through one that may be asked: class 14 needs a data right.
    let f = t.open(sync("a").access(READ_DATA | APPEND_DATA | SYNCHRONIZE))?;
    t.writes(f, at(1), b"ob")?;
    t.stands(f, 4)?;
    t.writes(f, at(3), b"ar")?;
    t.stands(f, 6)?;
    t.holds("a", b"foobar")
}

fn nt_o_08_an_offset_past_the_end_is_ignored_too(t: &Run<'_>) -> Outcome {
    let f = t.open(appender("a"))?;
    t.writes(f, at(100), b"ab")?;
    t.writes(f, at(1 << 40), b"cd")?;
    t.holds("a", b"abcd")
}

fn nt_o_09_an_append_only_handle_ignores_the_position_too(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"foo")?;
    let f = t.open(appender("a"))?;
    t.writes(f, NULL, b"ba")?;
    t.writes(f, POINTER, b"r")?;
    t.holds("a", b"foobar")
}

fn nt_o_09_two_appenders_never_overwrite_each_other(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(appender("a"))?, t.open(appender("a"))?);
    for (handle, bytes) in [(f, b"1"), (g, b"2"), (g, b"3"), (f, b"4"), (g, b"5")] {
        t.writes(handle, at(0), bytes)?;
    }
    t.holds("a", b"12345")
}

fn nt_o_09_an_appender_follows_an_end_that_moved(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(appender("a"))?);
    t.writes(g, at(0), b"abcdef")?;
    t.set_end(f, 2)?;
    t.writes(g, at(0), b"x")?;
    t.set_end(f, 5)?;
    t.writes(g, at(0), b"y")?;
    t.holds("a", b"abx\0\0y")
}

fn nt_o_10_an_asynchronous_appender_takes_any_offset_or_none(t: &Run<'_>) -> Outcome {
    let f = t.open(appender("a").options(0))?;
    for offset in [NULL, at(-17), at(0), at(99), POINTER, END] {
        t.write(f, offset, b"ab", pended(NtStatus::SUCCESS, 2))?;
    }
    t.holds("a", b"abababababab")
}

fn nt_o_11_offsets_below_minus_two_are_refused(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), asynchronous("a")] {
        let f = t.open(create)?;
        for offset in (-20..=-3).chain([i64::MIN]) {
            t.leaves(State::E0, Transfer::write(f, at(offset), b"x"), NtStatus::INVALID_PARAMETER)?;
        }
    }
    t.holds("a", b"")
}

fn nt_o_11_minus_two_needs_a_synchronous_handle(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.leaves(State::E0, Transfer::write(f, POINTER, b"x"), NtStatus::INVALID_PARAMETER)
}

fn nt_o_11_an_appender_takes_them_all(t: &Run<'_>) -> Outcome {
    let f = t.open(appender("a"))?;
    for offset in -20..=-3 {
        t.writes(f, at(offset), b"x")?;
    }
    t.holds("a", &[b'x'; 18])
}

fn nt_o_12_reads_take_no_negative_offset_but_minus_two(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abcdef")?;
    t.seek(f, 2)?;
    t.reads(f, POINTER, 2, b"cd")?;
    t.stands(f, 4)?;
    for offset in [-1, -3, -4, -20, i64::MIN] {
        t.read(f, at(offset), 2, refused(NtStatus::INVALID_PARAMETER))?;
    }
    t.stands(f, 4)
}

fn nt_o_12_an_asynchronous_read_takes_none_at_all(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.write(f, at(0), b"abcdef", pended(NtStatus::SUCCESS, 6))?;
    for offset in [-1, -2, -3, -20, i64::MIN] {
        t.read(f, at(offset), 2, refused(NtStatus::INVALID_PARAMETER))?;
    }
    Ok(())
}

fn nt_o_13_both_rights_honour_the_offset(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"foobar")?;
    let f = t.open(sync("a").access(WRITE_DATA | APPEND_DATA | SYNCHRONIZE))?;
    t.writes(f, at(0), b"bar")?;
    t.holds("a", b"barbar")
}

fn nt_o_14_the_position_follows_what_was_done_not_what_was_asked(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"0123456789")?;
    t.reads(f, at(7), 100, b"789")?;
    t.stands(f, 10)?;
    t.writes(f, at(2), b"ab")?;
    t.stands(f, 4)?;
    let g = t.open(asynchronous("a"))?;
    t.write(g, at(2), b"ab", pended(NtStatus::SUCCESS, 2))?;
    t.stands(g, 0)?;
    t.stands(f, 4)
}

fn nt_o_15_what_is_refused_before_it_starts_leaves_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"0123456789")?;
    t.seek(f, 3)?;
    t.write(f, at(-9), b"x", refused(NtStatus::INVALID_PARAMETER))?;
    t.stands(f, 3)?;
    t.write(f, at(7), b"", success(0))?;
    t.stands(f, 3)?;
    t.as_user()?;
    t.transfer(Transfer::write(f, at(7), b"x").buffer(Place::Kernel), refused(NtStatus::ACCESS_VIOLATION))?;
    t.stands(f, 3)
}

fn nt_o_16_a_position_past_the_end_leaves_a_gap_of_zeros(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"ab")?;
    t.seek(f, 10)?;
    t.ends(f, 2)?;
    t.writes(f, NULL, b"x")?;
    t.stands(f, 11)?;
    t.holds("a", b"ab\0\0\0\0\0\0\0\0x")
}

fn nt_o_17_an_offset_whose_end_overflows_is_refused(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"ab")?;
    for offset in [i64::MAX, i64::MAX - 1] {
        t.write(f, at(offset), b"xyz", refused(NtStatus::INVALID_PARAMETER))?;
        t.stands(f, 2)?;
        t.ends(f, 2)?;
    }
    t.holds("a", b"ab")
}

fn nt_o_17_what_the_volume_cannot_hold_is_a_full_disk(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    t.writes(f, NULL, b"ab")?;
    t.write(f, at(1 << 40), b"xyz", refused(NtStatus::DISK_FULL))?;
    t.stands(f, 2)?;
    t.ends(f, 2)
}
