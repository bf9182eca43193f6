//! Query and set information, as far as writes meet them (NT-I).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_io::info::class;
use nt_machine::NtStatus;

cases![
    nt_i_01_class_and_length_are_told_before_the_handle,
    nt_i_02_some_classes_go_one_way_only,
    nt_i_03_queries_and_sets_never_pend,
    nt_i_04_what_each_class_needs,
    nt_i_05_the_position_is_what_was_set,
    nt_i_05_a_negative_position_is_kept_and_fails_the_next_write,
    nt_i_06_a_ragged_noncached_position_is_taken,
    nt_i_07_an_asynchronous_handles_position_does_not_matter,
    nt_i_08_cut_and_regrown_bytes_are_zero,
    nt_i_08_growing_reads_as_zero,
    nt_i_08_the_position_stays,
    nt_i_10_a_directory_has_no_end_to_set,
    nt_i_11_a_larger_allocation_keeps_the_end,
    nt_i_11_a_smaller_allocation_cuts_the_file,
    nt_i_12_valid_data_needs_a_privilege,
    nt_i_13_the_mode_tells_five_options,
    nt_i_14_the_alignment_is_the_devices,
    nt_i_14_standard_information_tells_sizes_and_kind,
    nt_i_15_zero_keeps_times_and_attributes,
    nt_nam_21_without_short_names_there_is_no_alternate_name,
    nt_nam_26_what_a_short_name_needs_comes_before_the_volume_that_makes_none,
    nt_nam_26_a_volume_without_short_names_sets_none,
    a_negative_end_is_refused,
    an_end_set_by_one_handle_is_seen_by_all,
];

fn nt_i_01_class_and_length_are_told_before_the_handle(t: &Run<'_>) -> Outcome {
    let none = t.odd_handle(false)?;
    t.queries(none, 200, 8, refused(NtStatus::INVALID_INFO_CLASS))?;
    t.queries(none, class::STANDARD, 23, refused(NtStatus::INFO_LENGTH_MISMATCH))?;
    t.queries(none, class::STANDARD, 24, refused(NtStatus::INVALID_HANDLE))?;
    t.sets(none, 200, &[0; 8], refused(NtStatus::INVALID_INFO_CLASS))?;
    t.sets(none, class::END_OF_FILE, &[0; 7], refused(NtStatus::INFO_LENGTH_MISMATCH))?;
    t.sets(none, class::END_OF_FILE, &[0; 8], refused(NtStatus::INVALID_HANDLE))
}

fn nt_i_02_some_classes_go_one_way_only(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.queries(f, class::END_OF_FILE, 8, refused(NtStatus::INVALID_INFO_CLASS))?;
    t.sets(f, class::ALL, &[0; 104], refused(NtStatus::INVALID_INFO_CLASS))?;
    t.sets(f, class::STANDARD, &[0; 24], refused(NtStatus::INVALID_INFO_CLASS))
}

fn nt_i_03_queries_and_sets_never_pend(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.sets(f, class::END_OF_FILE, &7_i64.to_le_bytes(), success(0))?;
    t.signalled(f, true)?;
    t.ends(f, 7)?;
    let event = t.event(false)?;
    t.transfer(Transfer::write(f, at(0), b"x").event(event), pended(NtStatus::SUCCESS, 1))?;
    t.signalled(f, false)?;
    t.queries(f, class::STANDARD, 24, success(24))?;
    t.signalled(f, true)
}

fn nt_i_04_what_each_class_needs(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let made = t.open(sync("a"))?;
    t.close(made)?;
    let denied = refused(NtStatus::ACCESS_DENIED);
    // {class, length, a right that is enough to query, one that is not}.
    for (class, length, enough, not) in [
        (class::BASIC, 40, 0x80, READ_DATA),
        (class::POSITION, 8, READ_DATA, 0x180),
        (class::POSITION, 8, WRITE_DATA, APPEND_DATA),
    ] {
        let f = t.open(sync("a").access(enough | SYNCHRONIZE))?;
        t.queries(f, class, length, success(length as u64))?;
        let f = t.open(sync("a").access(not | SYNCHRONIZE))?;
        t.queries(f, class, length, denied)?;
    }
    let none = t.open(sync("a").access(SYNCHRONIZE))?;
    for (class, length) in [(class::STANDARD, 24), (class::MODE, 4), (class::ALIGNMENT, 4), (class::ACCESS, 4)] {
        t.queries(none, class, length, success(length as u64))?;
    }
    for class in [class::END_OF_FILE, class::ALLOCATION, class::VALID_DATA_LENGTH] {
        for not in [READ_DATA, APPEND_DATA, 0x100] {
            let f = t.open(sync("a").access(not | SYNCHRONIZE))?;
            t.sets(f, class, &[0; 8], denied)?;
        }
    }
    for (class, data, enough, not) in
        [(class::BASIC, &[0; 40][..], 0x100, WRITE_DATA), (class::END_OF_FILE, &[0; 8], WRITE_DATA, READ_DATA)]
    {
        let f = t.open(sync("a").access(enough | SYNCHRONIZE))?;
        t.sets(f, class, data, success(0))?;
        let f = t.open(sync("a").access(not | SYNCHRONIZE))?;
        t.sets(f, class, data, denied)?;
    }
    Ok(())
}

fn nt_i_05_the_position_is_what_was_set(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for position in [0, 1, 4096, i64::MAX, -1, i64::MIN] {
        t.seek(f, position)?;
        let bytes = t.queries(f, class::POSITION, 8, success(8))?;
        t.equal("the position", bytes, position.to_le_bytes().to_vec())?;
    }
    t.ends(f, 0)
}

fn nt_i_05_a_negative_position_is_kept_and_fails_the_next_write(t: &Run<'_>) -> Outcome {
    for position in [-2, -3, -17, i64::MIN] {
        let f = t.open(sync("a"))?;
        t.seek(f, position)?;
        t.write(f, NULL, b"x", refused(NtStatus::INVALID_PARAMETER))?;
        t.stands(f, position)?;
    }
    t.holds("a", b"")
}

fn nt_i_06_a_ragged_noncached_position_is_taken(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.seek(f, 3)?;
    t.stands(f, 3)?;
    t.write(f, NULL, &[1; 512], refused(NtStatus::INVALID_PARAMETER))?;
    t.seek(f, 512)?;
    t.writes(f, NULL, &[1; 512])?;
    t.ends(f, 1024)
}

fn nt_i_07_an_asynchronous_handles_position_does_not_matter(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.seek(f, 7)?;
    t.stands(f, 7)?;
    t.write(f, at(2), b"abc", pended(NtStatus::SUCCESS, 3))?;
    t.write(f, NULL, b"abc", refused(NtStatus::INVALID_PARAMETER))?;
    t.stands(f, 7)?;
    t.holds("a", b"\0\0abc")
}

fn nt_i_08_cut_and_regrown_bytes_are_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(2), b"data")?;
    t.set_end(f, 4)?;
    t.holds("a", b"\0\0da")?;
    t.set_end(f, 6)?;
    t.holds("a", b"\0\0da\0\0")
}

fn nt_i_08_growing_reads_as_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"ab")?;
    t.set_end(f, 9_000)?;
    t.holds("a", &[&b"ab"[..], &[0; 8_998]].concat())
}

fn nt_i_08_the_position_stays(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abcdef")?;
    for end in [100, 3, 0] {
        t.set_end(f, end)?;
        t.stands(f, 6)?;
        t.equal("the allocation is no less than the end", t.allocation(f)? >= end, true)?;
    }
    Ok(())
}

fn nt_i_10_a_directory_has_no_end_to_set(t: &Run<'_>) -> Outcome {
    let d = t.open(sync("d").access(WRITE_DATA | SYNCHRONIZE).with(DIRECTORY))?;
    t.sets(d, class::END_OF_FILE, &[0; 8], refused(NtStatus::INVALID_DEVICE_REQUEST))?;
    let f = t.open(sync("D:\\a"))?;
    t.sets(f, class::END_OF_FILE, &(1_i64 << 40).to_le_bytes(), refused(NtStatus::DISK_FULL))?;
    t.ends(f, 0)
}

fn nt_i_11_a_larger_allocation_keeps_the_end(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.sets(f, class::ALLOCATION, &10_000_i64.to_le_bytes(), success(0))?;
    t.ends(f, 3)?;
    let allocation = t.allocation(f)?;
    t.equal("the allocation in clusters", (allocation >= 10_000, allocation % 4096), (true, 0))?;
    t.holds("a", b"abc")
}

fn nt_i_11_a_smaller_allocation_cuts_the_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), &[7; 10_000])?;
    t.sets(f, class::ALLOCATION, &4096_i64.to_le_bytes(), success(0))?;
    t.ends(f, 4096)?;
    t.holds("a", &[7; 4096])
}

fn nt_i_12_valid_data_needs_a_privilege(t: &Run<'_>) -> Outcome {
    t.as_user()?; // kernel mode has every privilege
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.sets(f, class::VALID_DATA_LENGTH, &3_i64.to_le_bytes(), refused(NtStatus::PRIVILEGE_NOT_HELD))?;
    t.holds("a", b"abc")
}

fn nt_i_13_the_mode_tells_five_options(t: &Run<'_>) -> Outcome {
    let all = GENERIC_READ | GENERIC_WRITE | 0x1_0000 | SYNCHRONIZE;
    for (options, mode) in [
        (0x20, 0x20_u32),
        (0x10, 0x10),
        (0x00, 0x00),
        (0x02 | 0x20, 0x22),
        (0x04 | 0x20, 0x24),
        (0x08 | 0x20, 0x28),
        (0x0E | 0x10, 0x1E),
        // DELETE_ON_CLOSE, RANDOM_ACCESS, NON_DIRECTORY_FILE.
        (0x1000 | 0x800 | 0x40 | 0x20, 0x20),
    ] {
        let f = t.open(sync("a").access(all).options(options))?;
        let bytes = t.queries(f, class::MODE, 4, success(4))?;
        t.equal(&format!("the mode of {options:#x}"), bytes, mode.to_le_bytes().to_vec())?;
        t.close(f)?;
    }
    Ok(())
}

fn nt_i_14_the_alignment_is_the_devices(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let before = t.transfers()?;
    let bytes = t.queries(f, class::ALIGNMENT, 4, success(4))?;
    t.equal("FILE_BYTE_ALIGNMENT", bytes, vec![0; 4])?;
    t.equal("transfers", t.transfers()? - before, 0)
}

fn nt_i_14_standard_information_tells_sizes_and_kind(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").access(GENERIC_WRITE | 0x1_0000 | SYNCHRONIZE))?;
    t.writes(f, at(0), &[1; 5000])?;
    let bytes = t.queries(f, class::STANDARD, 24, success(24))?;
    t.equal("the allocation", &bytes[..8], &8192_i64.to_le_bytes()[..])?;
    t.equal(
        "the end, links, delete pending, directory",
        &bytes[8..22],
        &[&5000_i64.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0]].concat()[..],
    )?;
    t.sets(f, class::DISPOSITION, &[1], success(0))?;
    let bytes = t.queries(f, class::STANDARD, 24, success(24))?;
    t.equal("links, delete pending, directory", &bytes[16..22], &[0, 0, 0, 0, 1, 0][..])?;
    let d = t.open(sync("d").with(DIRECTORY))?;
    let bytes = t.queries(d, class::STANDARD, 24, success(24))?;
    t.equal("directory", bytes[21], 1)
}

fn nt_i_15_zero_keeps_times_and_attributes(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").attributes(2))?;
    let mut basic = vec![0; 40];
    for (at, time) in [(0, 1_i64 << 56), (8, 2 << 56), (16, 3 << 56)] {
        basic[at..at + 8].copy_from_slice(&time.to_le_bytes());
    }
    t.sets(f, class::BASIC, &basic, success(0))?;
    let told = t.queries(f, class::BASIC, 40, success(40))?;
    t.equal("three times", &told[..24], &basic[..24])?;
    t.equal("the attributes", &told[32..36], &[0x22, 0, 0, 0][..])?;
    t.sets(f, class::BASIC, &[0; 40], success(0))?;
    let again = t.queries(f, class::BASIC, 40, success(40))?;
    t.equal("three times", &again[..24], &basic[..24])?;
    // NORMAL beside another attribute is dropped.
    basic[32] = 0x82;
    t.sets(f, class::BASIC, &basic, success(0))?;
    let told = t.queries(f, class::BASIC, 40, success(40))?;
    t.equal("the attributes", &told[32..36], &[0x02, 0, 0, 0][..])
}

fn nt_nam_21_without_short_names_there_is_no_alternate_name(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a name that is long"))?;
    t.queries(f, class::ALTERNATE_NAME, 7, refused(NtStatus::INFO_LENGTH_MISMATCH))?;
    t.queries(f, class::ALTERNATE_NAME, 64, refused(NtStatus::OBJECT_NAME_NOT_FOUND))?;
    t.sets(f, class::ALTERNATE_NAME, &[0; 8], refused(NtStatus::INVALID_INFO_CLASS))
}

/// FILE_NAME_INFORMATION.
fn counted(name: &str) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [&(units.len() as u32).to_le_bytes()[..], &units, &[0; 4]].concat()
}

fn nt_nam_26_what_a_short_name_needs_comes_before_the_volume_that_makes_none(t: &Run<'_>) -> Outcome {
    const DELETE: u32 = 0x1_0000;
    t.as_user()?; // kernel mode has every right and privilege
    let f = t.open(sync("a").access(GENERIC_WRITE | DELETE | SYNCHRONIZE))?;
    t.sets(f, class::SHORT_NAME, &counted("S")[..7], refused(NtStatus::INFO_LENGTH_MISMATCH))?;
    for invalid in ["a b", "a.b.c", "123456789", "\\S"] {
        t.sets(f, class::SHORT_NAME, &counted(invalid), refused(NtStatus::INVALID_PARAMETER))?;
    }
    t.sets(f, class::SHORT_NAME, &counted("SHORT"), refused(NtStatus::PRIVILEGE_NOT_HELD))?;
    for too_little in [GENERIC_WRITE, DELETE] {
        let f = t.open(sync("a").access(too_little | SYNCHRONIZE))?;
        t.sets(f, class::SHORT_NAME, &counted("SHORT"), refused(NtStatus::ACCESS_DENIED))?;
    }
    Ok(())
}

fn nt_nam_26_a_volume_without_short_names_sets_none(t: &Run<'_>) -> Outcome {
    if t.as_user().is_ok() {
        return not_expressible("the caller is a user");
    }
    let f = t.open(sync("a"))?;
    t.queries(f, class::SHORT_NAME, 64, refused(NtStatus::INVALID_INFO_CLASS))?;
    t.sets(f, class::SHORT_NAME, &counted("a b"), refused(NtStatus::INVALID_PARAMETER))?;
    t.sets(f, class::SHORT_NAME, &counted("SHORT"), refused(NtStatus::SHORT_NAMES_NOT_ENABLED_ON_VOLUME))
}

fn a_negative_end_is_refused(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.sets(f, class::END_OF_FILE, &(-1_i64).to_le_bytes(), refused(NtStatus::INVALID_PARAMETER))?;
    t.holds("a", b"abc")
}

fn an_end_set_by_one_handle_is_seen_by_all(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(sync("a"))?);
    t.writes(f, at(0), b"abcdef")?;
    t.set_end(g, 3)?;
    t.ends(f, 3)?;
    t.reads(f, at(0), 10, b"abc")?;
    t.writes(f, END, b"X").or_else(|_| t.writes(f, at(3), b"X"))?;
    t.holds("a", b"abcX")
}
