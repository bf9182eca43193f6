//! What the file system owes (NT-S).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_s_04_a_directory_handle_is_an_invalid_device_request,
    nt_s_05_a_full_volume_changes_nothing,
    nt_s_05_what_still_fits_is_written,
    nt_s_05_an_overwrite_on_a_full_volume_succeeds,
    nt_s_06_the_allocation_covers_the_end,
    nt_s_07_a_gap_never_shows_old_data,
    nt_s_15_appends_through_two_handles_never_overlap,
    space_comes_back_with_the_end,
    space_comes_back_with_the_file,
];

fn nt_s_04_a_directory_handle_is_an_invalid_device_request(t: &Run<'_>) -> Outcome {
    let d = t.open(sync("d").access(WRITE_DATA | SYNCHRONIZE).with(DIRECTORY))?;
    for length in [1, 12, 512] {
        t.write(d, at(0), &vec![1; length], refused(NtStatus::INVALID_DEVICE_REQUEST))?;
    }
    Ok(())
}

fn nt_s_05_a_full_volume_changes_nothing(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    t.writes(f, NULL, &[1; 40_000])?;
    t.write(f, NULL, &[2; 40_000], refused(NtStatus::DISK_FULL))?;
    t.ends(f, 40_000)?;
    t.stands(f, 40_000)?;
    t.holds("D:\\a", &[1; 40_000])
}

fn nt_s_05_what_still_fits_is_written(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    t.writes(f, at(0), &[1; 40_000])?;
    let allocation = t.allocation(f)?;
    t.write(f, at(40_000), &[2; 40_000], refused(NtStatus::DISK_FULL))?;
    t.equal("the allocation", t.allocation(f)?, allocation)?;
    t.writes(f, at(40_000), &[3; 10_000])?;
    t.holds("D:\\a", &[&[1; 40_000][..], &[3; 10_000]].concat())
}

fn nt_s_05_an_overwrite_on_a_full_volume_succeeds(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    let mut end = 0;
    while t.call(&Transfer::write(f, at(end), &[1; 4096]))?.returned_well() {
        end += 4096;
    }
    t.ends(f, end)?;
    t.writes(f, at(0), &[2; 4096])?;
    t.writes(f, at(end - 10), &[3; 10])?;
    t.ends(f, end)?;
    t.reads(f, at(end - 12), 100, &[1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3])
}

fn nt_s_06_the_allocation_covers_the_end(t: &Run<'_>) -> Outcome {
    t.with_own_files()?;
    let f = t.open(sync("a"))?;
    for end in [1, 511, 512, 4096, 4097, 100_000] {
        t.writes(f, at(end - 1), b"x")?;
        t.ends(f, end)?;
        t.equal("the allocation is no less than the end", t.allocation(f)? >= end, true)?;
    }
    Ok(())
}

fn nt_s_07_a_gap_never_shows_old_data(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), noncached("b")] {
        let name = create.name.clone();
        let f = t.open(create)?;
        t.writes(f, at(0), &[0xAA; 16_384])?;
        t.set_end(f, 512)?;
        t.writes(f, at(12_288), &[0xBB; 512])?;
        t.holds(&name, &[&[0xAA; 512][..], &[0; 11_776], &[0xBB; 512]].concat())?;
    }
    Ok(())
}

fn nt_s_15_appends_through_two_handles_never_overlap(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(sync("a"))?);
    for round in 0..10 {
        t.writes(if round % 2 == 0 { f } else { g }, END, &[b'0' + round; 3])?;
    }
    t.holds("a", b"000111222333444555666777888999")
}

fn space_comes_back_with_the_end(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    for _ in 0..4 {
        t.writes(f, at(0), &[1; 50_000])?;
        t.set_end(f, 0)?;
    }
    Ok(())
}

fn space_comes_back_with_the_file(t: &Run<'_>) -> Outcome {
    for _ in 0..4 {
        let f = t.open(sync("D:\\a").access(GENERIC_WRITE | 0x1_0000 | SYNCHRONIZE).with(0x1000))?;
        t.writes(f, at(0), &[1; 50_000])?;
        t.close(f)?;
    }
    Ok(())
}
