//! What a write changes (NT-W).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_w_01_a_first_write_starts_at_zero,
    nt_w_03_a_write_inside_the_file_changes_its_range_only,
    nt_w_03_the_first_and_the_last_byte_alone,
    nt_w_04_a_write_across_the_end_extends_the_file,
    nt_w_04_a_write_at_the_end_extends_the_file,
    nt_w_05_the_gap_past_the_end_reads_as_zero,
    nt_w_05_a_gap_of_pages_reads_as_zero,
    nt_w_05_a_gap_over_cut_bytes_reads_as_zero,
    nt_w_06_zero_bytes_succeed_and_change_nothing,
    nt_w_06_zero_bytes_from_nowhere_succeed,
    nt_w_06_zero_bytes_reach_the_file_system,
    nt_w_07_zero_bytes_with_an_offset_do_not_move_the_position,
    nt_w_07_zero_bytes_at_the_end_do_not_move_the_position,
    nt_w_08_zero_bytes_succeed_on_a_full_volume,
    nt_w_08_zero_bytes_are_checked_as_any_others,
    nt_w_09_a_write_is_whole_or_an_error,
    nt_w_10_a_synchronous_handle_never_pends,
    nt_w_10_an_asynchronous_handle_pends,
    nt_w_13_what_a_cached_handle_wrote_a_noncached_one_reads,
    nt_w_13_what_a_noncached_handle_wrote_a_cached_one_reads,
    nt_w_13_handles_of_both_kinds_take_turns,
    nt_w_14_a_key_places_nothing,
    nt_w_15_read_only_pages_are_good_buffers,
    nt_w_16_large_lengths_are_written_whole,
    nt_w_16_a_large_write_inside_a_file,
    nt_w_20_the_smoke_test_of_the_ledger,
    a_write_through_handle_writes_as_any_other,
    two_handles_see_each_others_writes_at_once,
    many_small_writes_make_one_file,
    a_write_of_every_length_around_a_page,
    a_write_at_every_offset_around_a_page,
    all_256_byte_values_come_back,
    writes_backwards_make_the_same_file,
];

/// Bytes that tell where they belong.
fn ramp(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((i * 31) >> 3) as u8 ^ (i >> 12) as u8).collect()
}

fn nt_w_01_a_first_write_starts_at_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"1234567")?;
    t.ends(f, 7)?;
    t.stands(f, 7)?;
    t.holds("a", b"1234567")
}

fn nt_w_03_a_write_inside_the_file_changes_its_range_only(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    t.writes(f, at(3), b"DCBA")?;
    t.ends(f, 10)?;
    t.holds("a", b"012DCBA789")
}

fn nt_w_03_the_first_and_the_last_byte_alone(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    t.writes(f, at(0), b"F")?;
    t.writes(f, at(9), b"L")?;
    t.ends(f, 10)?;
    t.holds("a", b"F12345678L")
}

fn nt_w_04_a_write_across_the_end_extends_the_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abcd")?;
    t.writes(f, at(2), b"CDEF")?;
    t.ends(f, 6)?;
    t.holds("a", b"abCDEF")
}

fn nt_w_04_a_write_at_the_end_extends_the_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"ab")?;
    t.writes(f, at(2), b"cdef")?;
    t.ends(f, 6)?;
    t.holds("a", b"abcdef")
}

fn nt_w_05_the_gap_past_the_end_reads_as_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), &[0xAA; 256])?;
    t.writes(f, at(512), b"hello")?;
    t.ends(f, 517)?;
    t.holds("a", &[&[0xAA; 256][..], &[0; 256], b"hello"].concat())
}

fn nt_w_05_a_gap_of_pages_reads_as_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"start")?;
    // More than 0x2000 past the end: NT-K-07 sends it as a packet.
    t.writes(f, at(100_000), b"end")?;
    t.ends(f, 100_003)?;
    t.holds("a", &[&b"start"[..], &[0; 99_995], b"end"].concat())
}

fn nt_w_05_a_gap_over_cut_bytes_reads_as_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), &[0xAA; 10_000])?;
    t.set_end(f, 100)?;
    t.writes(f, at(9_000), b"end")?;
    t.holds("a", &[&[0xAA; 100][..], &[0; 8_900], b"end"].concat())
}

fn nt_w_06_zero_bytes_succeed_and_change_nothing(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abc")?;
    let event = t.event(false)?;
    t.transfer(Transfer::write(f, NULL, b"").event(event), success(0))?;
    t.signalled(event, true)?;
    t.ends(f, 3)?;
    t.stands(f, 3)?;
    t.holds("a", b"abc")
}

fn nt_w_06_zero_bytes_from_nowhere_succeed(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for place in [Place::Null, Place::Kernel, Place::NoAccess] {
        t.transfer(Transfer::write(f, NULL, b"").buffer(place), success(0))?;
    }
    t.ends(f, 0)
}

fn nt_w_06_zero_bytes_reach_the_file_system(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let before = t.transfers()?;
    t.writes(f, NULL, b"")?;
    t.equal("requests", t.transfers()? - before, 1)
}

fn nt_w_07_zero_bytes_with_an_offset_do_not_move_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abc")?;
    for offset in [at(0), at(1), at(100), at(i64::MAX), POINTER] {
        t.writes(f, offset, b"")?;
        t.stands(f, 3)?;
        t.ends(f, 3)?;
    }
    Ok(())
}

fn nt_w_07_zero_bytes_at_the_end_do_not_move_the_position(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abc")?;
    t.seek(f, 1)?;
    t.writes(f, END, b"")?;
    t.stands(f, 1)
}

fn nt_w_08_zero_bytes_succeed_on_a_full_volume(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("D:\\full"))?, t.open(sync("D:\\other"))?);
    let mut end = 0;
    while t.call(&Transfer::write(f, at(end), &[1; 4096]))?.returned_well() {
        end += 4096;
    }
    t.write(g, at(0), &[1; 4096], refused(NtStatus::DISK_FULL))?;
    t.writes(g, at(0), b"")?;
    t.ends(g, 0)
}

fn nt_w_08_zero_bytes_are_checked_as_any_others(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.write(f, at(-3), b"", refused(NtStatus::INVALID_PARAMETER))?;
    let g = t.open(asynchronous("a"))?;
    t.write(g, NULL, b"", refused(NtStatus::INVALID_PARAMETER))?;
    t.transfer(Transfer::write(f, NULL, b"").event(f), refused(NtStatus::OBJECT_TYPE_MISMATCH))?;
    t.as_user()?;
    let reader = t.open(sync("a").access(GENERIC_READ | SYNCHRONIZE))?;
    t.write(reader, NULL, b"", refused(NtStatus::ACCESS_DENIED))
}

fn nt_w_09_a_write_is_whole_or_an_error(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    t.writes(f, at(0), &[1; 40_000])?;
    t.write(f, at(40_000), &[2; 40_000], refused(NtStatus::DISK_FULL))?;
    t.ends(f, 40_000)?;
    t.write(f, at(39_000), &[3; 40_000], refused(NtStatus::DISK_FULL))?;
    t.holds("D:\\a", &[1; 40_000])
}

fn nt_w_10_a_synchronous_handle_never_pends(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), sync("b").with(WRITE_THROUGH), noncached("c"), sync("d").options(0x10)] {
        let f = t.open(create)?;
        for _ in 0..3 {
            t.writes(f, at(0), &[1; 512])?;
        }
        t.writes(f, at(512), &[2; 1024])?;
    }
    Ok(())
}

fn nt_w_10_an_asynchronous_handle_pends(t: &Run<'_>) -> Outcome {
    for create in [asynchronous("a"), asynchronous("b").with(WRITE_THROUGH), asynchronous("c").with(NONCACHED)] {
        let f = t.open(create)?;
        t.write(f, at(0), &[1; 512], pended(NtStatus::SUCCESS, 512))?;
        t.write(f, at(0), &[1; 512], pended(NtStatus::SUCCESS, 512))?;
    }
    Ok(())
}

fn nt_w_13_what_a_cached_handle_wrote_a_noncached_one_reads(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(noncached("a"))?);
    for round in 1..=3 {
        t.writes(f, at(0), &[round; 1024])?;
        t.reads(g, at(512), 512, &[round; 512])?;
    }
    Ok(())
}

fn nt_w_13_what_a_noncached_handle_wrote_a_cached_one_reads(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(noncached("a"))?);
    t.writes(f, at(0), &[9; 2000])?;
    for round in 1..=3 {
        t.writes(g, at(512), &[round; 512])?;
        t.reads(f, at(500), 1000, &[&[9; 12][..], &[round; 512], &[9; 476]].concat())?;
    }
    Ok(())
}

fn nt_w_13_handles_of_both_kinds_take_turns(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(noncached("a"))?);
    t.writes(g, at(0), &[1; 4096])?;
    t.writes(f, at(1000), &[2; 1000])?;
    t.writes(g, at(1536), &[3; 512])?;
    t.writes(f, at(1999), &[4; 2])?;
    let mut expected = vec![1; 4096];
    expected[1000..2000].fill(2);
    expected[1536..2048].fill(3);
    expected[1999..2001].fill(4);
    t.holds("a", &expected)?;
    t.reads(g, at(0), 4096, &expected)
}

fn nt_w_14_a_key_places_nothing(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    for key in [0, 7, u32::MAX] {
        t.transfer(Transfer::write(f, at(2), b"ab").key(key), success(2))?;
        t.holds("a", b"01ab456789")?;
        let seen = t.transfer(Transfer::read(f, at(1), 3).key(key), success(3))?;
        t.equal("the bytes", &seen[..], b"1ab")?;
    }
    Ok(())
}

fn nt_w_15_read_only_pages_are_good_buffers(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for _ in 0..2 {
        t.transfer(Transfer::write(f, at(0), b"read only").buffer(Place::ReadOnly), success(9))?;
    }
    t.holds("a", b"read only")
}

fn nt_w_16_large_lengths_are_written_whole(t: &Run<'_>) -> Outcome {
    for (name, create) in [("a", sync("a")), ("b", noncached("b"))] {
        let data = ramp(16 << 20);
        let f = t.open(create)?;
        t.writes(f, at(0), &data)?;
        t.holds(name, &data)?;
        t.set_end(f, 0)?;
    }
    Ok(())
}

fn nt_w_16_a_large_write_inside_a_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let data = ramp((8 << 20) + 3);
    t.writes(f, at(0), b"01234")?;
    t.writes(f, at(5), &data)?;
    t.writes(f, at(5), &data)?;
    t.ends(f, 5 + data.len() as i64)?;
    t.holds("a", &[&b"01234"[..], &data].concat())
}

fn nt_w_20_the_smoke_test_of_the_ledger(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"1234567")?;
    t.writes(f, END, b"890abcd")?;
    t.seek(f, 10)?;
    t.writes(f, POINTER, b"DCBA")?;
    t.reads(f, at(0), 14, b"1234567890DCBA")?;
    t.ends(f, 14)?;
    t.stands(f, 14)
}

fn a_write_through_handle_writes_as_any_other(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").with(WRITE_THROUGH))?;
    t.writes(f, at(0), b"0123456789")?;
    t.writes(f, at(8), b"abcd")?;
    t.writes(f, at(2), b"xy")?;
    t.holds("a", b"01xy4567abcd")
}

fn two_handles_see_each_others_writes_at_once(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(sync("a"))?);
    t.writes(f, at(0), b"first")?;
    t.reads(g, at(0), 5, b"first")?;
    t.writes(g, at(0), b"FIRST and more")?;
    t.reads(f, at(3), 100, b"ST and more")
}

fn many_small_writes_make_one_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let data = ramp(3_000);
    let mut from = 0;
    for length in (1..).take_while(|length| length * (length + 1) / 2 <= 2_900) {
        t.writes(f, at(from as i64), &data[from..from + length])?;
        from += length;
    }
    t.holds("a", &data[..from])
}

fn a_write_of_every_length_around_a_page(t: &Run<'_>) -> Outcome {
    for length in [1, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193] {
        let f = t.open(sync("a").disposition(5))?;
        let data = ramp(length);
        t.writes(f, at(0), &data)?;
        t.ends(f, length as i64)?;
        t.holds("a", &data)?;
        t.close(f)?;
    }
    Ok(())
}

fn a_write_at_every_offset_around_a_page(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let mut expected = vec![b'.'; 12_300];
    t.writes(f, at(0), &expected)?;
    for offset in [0_usize, 1, 511, 512, 4093, 4095, 4096, 8190, 12_285] {
        t.writes(f, at(offset as i64), b"0123456789abcde")?;
        expected[offset..offset + 15].copy_from_slice(b"0123456789abcde");
        t.ends(f, 12_300)?;
    }
    t.holds("a", &expected)
}

fn all_256_byte_values_come_back(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let data: Vec<u8> = (0..=255).collect();
    t.writes(f, at(0), &data)?;
    t.reads(f, at(0), 256, &data)
}

fn writes_backwards_make_the_same_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let data = ramp(20_000);
    for start in (0..20).rev() {
        t.writes(f, at(start * 1000), &data[start as usize * 1000..][..1000])?;
    }
    t.ends(f, 20_000)?;
    t.holds("a", &data)
}
