//! Creating, opening, closing (NT-A-18, NT-A-19).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_io::info::class;
use nt_machine::NtStatus;

const SUPERSEDE: u32 = 0;
const OPEN: u32 = 1;
const CREATE: u32 = 2;
const OPEN_IF: u32 = 3;
const OVERWRITE: u32 = 4;
const OVERWRITE_IF: u32 = 5;

cases![
    nt_a_18_create_makes_a_file_once,
    nt_a_18_open_and_overwrite_want_a_file,
    nt_a_18_open_if_creates_or_opens,
    nt_a_18_overwrite_cuts_the_file,
    nt_a_18_overwrite_if_creates_or_cuts,
    nt_a_18_supersede_creates_or_replaces,
    nt_a_18_overwriting_sets_the_attributes_given_and_archive,
    nt_a_18_a_read_only_file_is_not_overwritten_but_superseded,
    nt_a_18_a_disposition_that_is_none,
    nt_a_19_a_directory_cannot_be_written,
    nt_a_19_a_directory_cannot_be_read_as_a_file,
    nt_a_19_a_directory_is_not_superseded_nor_overwritten,
    opening_keeps_the_bytes,
    a_file_in_a_folder_that_is_not_there,
    a_deleted_file_is_gone_with_its_last_handle,
    a_file_deleted_on_close_is_gone,
    a_second_name_is_another_file,
    names_differ_by_more_than_case,
    a_new_file_holds_nothing,
];

fn nt_a_18_create_makes_a_file_once(t: &Run<'_>) -> Outcome {
    let f = t.opens(sync("a").disposition(CREATE), 2)?;
    t.writes(f, at(0), b"abc")?;
    t.refuses(sync("a").disposition(CREATE), NtStatus::OBJECT_NAME_COLLISION)?;
    t.close(f)?;
    t.refuses(sync("a").disposition(CREATE), NtStatus::OBJECT_NAME_COLLISION)?;
    t.holds("a", b"abc")
}

fn nt_a_18_open_and_overwrite_want_a_file(t: &Run<'_>) -> Outcome {
    t.refuses(sync("a").disposition(OPEN), NtStatus::OBJECT_NAME_NOT_FOUND)?;
    t.refuses(sync("a").disposition(OVERWRITE), NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let f = t.open(sync("a"))?;
    t.close(f)?;
    t.opens(sync("a").disposition(OPEN), 1).map(|_| ())
}

fn nt_a_18_open_if_creates_or_opens(t: &Run<'_>) -> Outcome {
    let f = t.opens(sync("a").disposition(OPEN_IF), 2)?;
    t.writes(f, at(0), b"abc")?;
    let g = t.opens(sync("a").disposition(OPEN_IF), 1)?;
    t.reads(g, at(0), 10, b"abc")
}

fn nt_a_18_overwrite_cuts_the_file(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abcdef")?;
    let g = t.opens(sync("a").disposition(OVERWRITE), 3)?;
    t.ends(g, 0)?;
    t.ends(f, 0)?;
    t.writes(f, at(2), b"x")?;
    t.holds("a", b"\0\0x")
}

fn nt_a_18_overwrite_if_creates_or_cuts(t: &Run<'_>) -> Outcome {
    let f = t.opens(sync("a").disposition(OVERWRITE_IF), 2)?;
    t.writes(f, at(0), b"abcdef")?;
    let g = t.opens(sync("a").disposition(OVERWRITE_IF), 3)?;
    t.ends(g, 0)?;
    t.holds("a", b"")
}

fn nt_a_18_supersede_creates_or_replaces(t: &Run<'_>) -> Outcome {
    let f = t.opens(sync("a").disposition(SUPERSEDE), 2)?;
    t.writes(f, at(0), b"abcdef")?;
    t.close(f)?;
    let f = t.opens(sync("a").disposition(SUPERSEDE), 0)?;
    t.ends(f, 0)
}

fn attributes(t: &Run<'_>, f: Handle) -> Express<u32> {
    let bytes = t.queries(f, class::BASIC, 40, success(40))?;
    Ok(bytes.get(32..36).and_then(|word| word.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word)))
}

fn nt_a_18_overwriting_sets_the_attributes_given_and_archive(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").attributes(0x2))?;
    t.equal("the attributes", attributes(t, f)?, 0x22)?;
    t.close(f)?;
    // A hidden file is overwritten by one who says so only (NT-QRY-13).
    t.refuses(sync("a").disposition(OVERWRITE).attributes(0x4), NtStatus::ACCESS_DENIED)?;
    let f = t.open(sync("a").disposition(OVERWRITE).attributes(0x6))?;
    t.equal("the attributes", attributes(t, f)?, 0x26)?;
    t.close(f)?;
    let f = t.open(sync("a").disposition(OPEN_IF).attributes(0x2))?;
    t.equal("the attributes", attributes(t, f)?, 0x26)
}

fn nt_a_18_a_read_only_file_is_not_overwritten_but_superseded(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").attributes(1))?;
    t.writes(f, at(0), b"abc")?;
    t.close(f)?;
    t.refuses(sync("a").disposition(OVERWRITE), NtStatus::ACCESS_DENIED)?;
    t.refuses(sync("a").disposition(OVERWRITE_IF), NtStatus::ACCESS_DENIED)?;
    let f = t.opens(sync("a").access(GENERIC_READ | SYNCHRONIZE).disposition(SUPERSEDE), 0)?;
    t.ends(f, 0)
}

fn nt_a_18_a_disposition_that_is_none(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    t.refuses(sync("a").disposition(6), NtStatus::INVALID_PARAMETER)
}

fn nt_a_19_a_directory_cannot_be_written(t: &Run<'_>) -> Outcome {
    let d = t.open(asynchronous("d").access(WRITE_DATA | SYNCHRONIZE).options(DIRECTORY))?;
    t.write(d, at(0), b"0123456789ab", pended(NtStatus::INVALID_DEVICE_REQUEST, 0))?;
    let d = t.open(sync("d").access(WRITE_DATA | SYNCHRONIZE).with(DIRECTORY))?;
    t.write(d, at(0), b"0123456789ab", refused(NtStatus::INVALID_DEVICE_REQUEST))
}

fn nt_a_19_a_directory_cannot_be_read_as_a_file(t: &Run<'_>) -> Outcome {
    let d = t.open(asynchronous("d").access(READ_DATA | SYNCHRONIZE).options(DIRECTORY))?;
    t.read(d, at(0), 12, pended(NtStatus::INVALID_DEVICE_REQUEST, 0))
}

fn nt_a_19_a_directory_is_not_superseded_nor_overwritten(t: &Run<'_>) -> Outcome {
    let d = t.open(sync("d").with(DIRECTORY))?;
    t.close(d)?;
    for disposition in [SUPERSEDE, OVERWRITE, OVERWRITE_IF] {
        t.refuses(sync("d").with(DIRECTORY).disposition(disposition), NtStatus::INVALID_PARAMETER)?;
    }
    Ok(())
}

fn opening_keeps_the_bytes(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.close(f)?;
    for disposition in [OPEN, OPEN_IF] {
        let f = t.open(sync("a").disposition(disposition))?;
        t.reads(f, at(0), 10, b"abc")?;
        t.close(f)?;
    }
    Ok(())
}

fn a_file_in_a_folder_that_is_not_there(t: &Run<'_>) -> Outcome {
    t.refuses(sync("d\\a"), NtStatus::OBJECT_PATH_NOT_FOUND)
}

fn a_deleted_file_is_gone_with_its_last_handle(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").access(GENERIC_WRITE | 0x1_0000 | SYNCHRONIZE))?;
    t.writes(f, at(0), b"abc")?;
    t.sets(f, class::DISPOSITION, &[1], success(0))?;
    t.refuses(sync("a").disposition(OPEN), NtStatus::DELETE_PENDING)?;
    t.writes(f, at(3), b"def")?;
    t.close(f)?;
    t.refuses(sync("a").disposition(OPEN), NtStatus::OBJECT_NAME_NOT_FOUND)
}

fn a_file_deleted_on_close_is_gone(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").access(GENERIC_WRITE | 0x1_0000 | SYNCHRONIZE).with(0x1000))?;
    t.writes(f, at(0), b"abc")?;
    t.close(f)?;
    t.refuses(sync("a").disposition(OPEN), NtStatus::OBJECT_NAME_NOT_FOUND)
}

fn a_second_name_is_another_file(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(sync("b"))?);
    t.writes(f, at(0), b"one")?;
    t.writes(g, at(0), b"second")?;
    t.holds("a", b"one")?;
    t.holds("b", b"second")
}

fn names_differ_by_more_than_case(t: &Run<'_>) -> Outcome {
    t.with_windows_names()?;
    let f = t.open(sync("Name"))?;
    t.writes(f, at(0), b"abc")?;
    t.opens(sync("nAME").disposition(OPEN), 1)?;
    t.holds("NAME", b"abc")
}

fn a_new_file_holds_nothing(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").disposition(CREATE))?;
    t.ends(f, 0)?;
    t.read(f, at(0), 1, refused(NtStatus::END_OF_FILE))
}
