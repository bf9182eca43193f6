//! Reads, as far as they mirror writes (NT-R).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_r_01_a_read_needs_the_right_to_read,
    nt_r_02_a_read_across_the_end_is_short,
    nt_r_02_a_short_read_leaves_the_rest_of_the_buffer,
    nt_r_02_a_short_read_moves_the_position_to_the_end,
    nt_r_03_a_read_at_or_past_the_end_fails,
    nt_r_03_a_read_at_the_end_keeps_the_position,
    nt_r_03_a_read_of_nothing_succeeds_anywhere,
    nt_r_04_an_asynchronous_read_needs_an_offset,
    nt_r_05_the_last_sector_is_read_as_far_as_it_goes,
    nt_r_06_what_was_never_written_reads_as_zero,
    nt_r_06_what_was_cut_does_not_come_back,
    a_read_of_the_whole_and_of_each_part,
    reads_with_an_offset_place_the_position_behind_them,
];

fn nt_r_01_a_read_needs_the_right_to_read(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    for access in [WRITE_DATA, APPEND_DATA, GENERIC_WRITE, 0, 0x80] {
        let f = t.open(sync("a").access(access | SYNCHRONIZE))?;
        t.read(f, at(0), 1, refused(NtStatus::ACCESS_DENIED))?;
    }
    let f = t.open(sync("a").access(READ_DATA | SYNCHRONIZE))?;
    t.read(f, at(0), 1, refused(NtStatus::END_OF_FILE))
}

fn nt_r_02_a_read_across_the_end_is_short(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    for (offset, length, bytes) in [(0, 100, &b"0123456789"[..]), (7, 100, b"789"), (9, 2, b"9"), (3, 3, b"345")] {
        t.reads(f, at(offset), length, bytes)?;
    }
    Ok(())
}

fn nt_r_02_a_short_read_leaves_the_rest_of_the_buffer(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"012")?;
    for _ in 0..2 {
        let buffer = t.whole_buffer(Transfer::read(f, at(1), 6), success(2))?;
        t.equal("the buffer", &buffer[..], b"12\xEE\xEE\xEE\xEE")?;
    }
    Ok(())
}

fn nt_r_02_a_short_read_moves_the_position_to_the_end(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    t.reads(f, at(7), 100, b"789")?;
    t.stands(f, 10)?;
    t.seek(f, 8)?;
    t.reads(f, NULL, 100, b"89")?;
    t.stands(f, 10)
}

fn nt_r_03_a_read_at_or_past_the_end_fails(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    for offset in [3, 4, 5000] {
        // Opened afresh: the shape by either path is NT-C-14's and NT-K-05's.
        let f = t.open(sync("a"))?;
        t.read(f, at(offset), 1, refused(NtStatus::END_OF_FILE))?;
    }
    Ok(())
}

fn nt_r_03_a_read_at_the_end_keeps_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    let f = t.open(sync("a"))?;
    t.seek(f, 3)?;
    t.read(f, NULL, 1, refused(NtStatus::END_OF_FILE))?;
    t.stands(f, 3)
}

fn nt_r_03_a_read_of_nothing_succeeds_anywhere(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    for offset in [0, 1, 3, 4, 5000] {
        t.reads(f, at(offset), 0, b"")?;
        t.stands(f, 3)?;
    }
    Ok(())
}

fn nt_r_04_an_asynchronous_read_needs_an_offset(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.write(f, at(0), b"abc", pended(NtStatus::SUCCESS, 3))?;
    for offset in [NULL, POINTER, END, at(-3)] {
        t.read(f, offset, 1, refused(NtStatus::INVALID_PARAMETER))?;
    }
    let bytes = t.transfer(Transfer::read(f, at(1), 2), pended(NtStatus::SUCCESS, 2))?;
    t.equal("the bytes", &bytes[..], b"bc")
}

fn nt_r_05_the_last_sector_is_read_as_far_as_it_goes(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), &[7; 700])?;
    let g = t.open(noncached("a"))?;
    t.reads(g, at(0), 1024, &[7; 700])?;
    t.reads(g, at(512), 512, &[7; 188])?;
    t.read(g, at(1024), 512, refused(NtStatus::END_OF_FILE))
}

fn nt_r_06_what_was_never_written_reads_as_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.set_end(f, 10_000)?;
    t.reads(f, at(0), 10_000, &[0; 10_000])?;
    t.writes(f, at(5_000), b"abc")?;
    t.reads(f, at(4_998), 7, b"\0\0abc\0\0")?;
    t.writes(f, at(30_000), b"x")?;
    t.reads(f, at(20_000), 10_001, &[&[0; 10_000][..], b"x"].concat())
}

fn nt_r_06_what_was_cut_does_not_come_back(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), &[0xAA; 10_000])?;
    t.set_end(f, 4_097)?;
    t.set_end(f, 10_000)?;
    t.holds("a", &[&[0xAA; 4_097][..], &[0; 5_903]].concat())
}

fn a_read_of_the_whole_and_of_each_part(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let data: Vec<u8> = (0..9_000_u32).map(|i| ((i * 7) >> 2) as u8).collect();
    t.writes(f, at(0), &data)?;
    t.reads(f, at(0), 9_000, &data)?;
    for start in (0..9_000).step_by(777) {
        let length = 777.min(9_000 - start);
        t.reads(f, at(start as i64), length, &data[start..start + length])?;
    }
    Ok(())
}

fn reads_with_an_offset_place_the_position_behind_them(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    t.reads(f, at(2), 3, b"234")?;
    t.stands(f, 5)?;
    t.reads(f, NULL, 2, b"56")?;
    t.stands(f, 7)
}
