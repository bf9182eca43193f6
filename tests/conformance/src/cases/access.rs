//! Rights, modes and sharing (NT-A).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_io::info::class;
use nt_machine::NtStatus;

cases![
    nt_a_01_each_write_right_is_enough,
    nt_a_01_a_write_right_and_a_read_right,
    nt_a_02_without_a_write_right_access_is_denied,
    nt_a_03_an_append_only_handle_cannot_read,
    nt_a_03_reading_and_appending_does_both,
    nt_a_04_other_rights_do_not_make_it_less_append_only,
    nt_a_04_both_rights_are_not_append_only,
    nt_a_06_handles_that_are_none_or_of_another_type,
    nt_a_06_a_closed_handle_is_none,
    nt_a_07_the_mode_tells_the_options,
    nt_a_07_a_handle_is_synchronous_only_when_asked,
    nt_a_08_synchronous_io_needs_synchronize,
    nt_a_09_options_that_exclude_each_other,
    nt_a_10_noncached_and_append_data_by_name_exclude_each_other,
    nt_a_10_a_generic_right_is_mapped_later,
    nt_a_11_a_kernel_caller_is_not_checked,
    nt_a_12_a_fresh_handle_is_signalled_at_position_zero,
    nt_a_13_sharing_is_asked_both_ways,
    nt_a_13_appending_is_writing_for_sharing,
    nt_a_13_who_has_no_data_right_shares_with_all,
    nt_a_13_a_closed_handle_shares_again,
    nt_a_14_a_read_only_file_is_not_opened_for_writing,
    nt_a_14_the_handle_that_made_a_read_only_file_writes,
    nt_a_15_a_wait_needs_synchronize,
    nt_a_15_a_wait_ends_with_the_write,
    nt_a_16_the_access_class_tells_what_was_granted,
    nt_a_17_a_right_stays_when_the_attribute_changes,
];

fn nt_a_01_each_write_right_is_enough(t: &Run<'_>) -> Outcome {
    for (name, access) in [("a", WRITE_DATA), ("b", APPEND_DATA), ("c", WRITE_DATA | APPEND_DATA), ("d", GENERIC_WRITE)]
    {
        let f = t.open(sync(name).access(access | SYNCHRONIZE))?;
        t.writes(f, at(0), b"ab")?;
        t.holds(name, b"ab")?;
    }
    Ok(())
}

fn nt_a_01_a_write_right_and_a_read_right(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").access(READ_DATA | WRITE_DATA | SYNCHRONIZE))?;
    t.writes(f, at(0), b"ab")?;
    t.reads(f, at(0), 2, b"ab")
}

fn nt_a_02_without_a_write_right_access_is_denied(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    for access in [READ_DATA, GENERIC_READ, 0, 0x100, 0x1_0000] {
        let f = t.open(sync("a").access(access | SYNCHRONIZE))?;
        t.leaves(State::E0, Transfer::write(f, at(0), b"ab"), NtStatus::ACCESS_DENIED)?;
    }
    t.holds("a", b"")
}

fn nt_a_03_an_append_only_handle_cannot_read(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(appender("a"))?;
    t.writes(f, at(0), b"ab")?;
    t.read(f, at(0), 2, refused(NtStatus::ACCESS_DENIED))
}

fn nt_a_03_reading_and_appending_does_both(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").access(READ_DATA | APPEND_DATA | SYNCHRONIZE))?;
    t.writes(f, at(0), b"ab")?;
    t.writes(f, at(0), b"cd")?;
    t.reads(f, at(0), 10, b"abcd")
}

fn nt_a_04_other_rights_do_not_make_it_less_append_only(t: &Run<'_>) -> Outcome {
    let all_but_write_data = 0x1F_01FF & !WRITE_DATA;
    for (name, access) in [("a", APPEND_DATA), ("b", READ_DATA | APPEND_DATA), ("c", all_but_write_data)] {
        let f = t.open(sync(name).access(access | SYNCHRONIZE))?;
        t.writes(f, at(0), b"ab")?;
        t.writes(f, at(0), b"cd")?;
        t.holds(name, b"abcd")?;
    }
    Ok(())
}

fn nt_a_04_both_rights_are_not_append_only(t: &Run<'_>) -> Outcome {
    for (name, access) in [("a", WRITE_DATA | APPEND_DATA), ("b", WRITE_DATA), ("c", GENERIC_WRITE)] {
        let f = t.open(sync(name).access(access | SYNCHRONIZE))?;
        t.writes(f, at(0), b"ab")?;
        t.writes(f, at(0), b"c")?;
        t.holds(name, b"cb")?;
    }
    Ok(())
}

fn nt_a_06_handles_that_are_none_or_of_another_type(t: &Run<'_>) -> Outcome {
    let event = t.event(false)?;
    for (handle, status) in [
        (Handle(0), NtStatus::INVALID_HANDLE),
        (t.odd_handle(false)?, NtStatus::INVALID_HANDLE),
        (t.odd_handle(true)?, NtStatus::OBJECT_TYPE_MISMATCH),
        (event, NtStatus::OBJECT_TYPE_MISMATCH),
    ] {
        let signal = t.event(true)?;
        t.transfer(Transfer::write(handle, at(0), b"x").event(signal), refused(status))?;
        t.transfer(Transfer::read(handle, at(0), 1).event(signal), refused(status))?;
        t.signalled(signal, true)?;
    }
    Ok(())
}

fn nt_a_06_a_closed_handle_is_none(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"x")?;
    t.close(f)?;
    t.write(f, at(0), b"y", refused(NtStatus::INVALID_HANDLE))?;
    t.is_closed(f)?;
    t.holds("a", b"x")
}

fn nt_a_07_the_mode_tells_the_options(t: &Run<'_>) -> Outcome {
    // {options, FileModeInformation}: RANDOM_ACCESS, NON_DIRECTORY_FILE are not told (NT-I-13).
    for (options, mode) in
        [(0, 0_u32), (0x20, 0x20), (0x10, 0x10), (0x22, 0x22), (0x28, 0x28), (0x24, 0x24), (0x860, 0x20)]
    {
        let f = t.open(sync("a").options(options))?;
        let bytes = t.queries(f, class::MODE, 4, success(4))?;
        t.equal(&format!("the mode of {options:#x}"), bytes, mode.to_le_bytes().to_vec())?;
        t.close(f)?;
    }
    Ok(())
}

fn nt_a_07_a_handle_is_synchronous_only_when_asked(t: &Run<'_>) -> Outcome {
    for (options, expected) in
        [(0x10, success(1)), (0x20, success(1)), (0, pended(NtStatus::SUCCESS, 1)), (2, pended(NtStatus::SUCCESS, 1))]
    {
        let f = t.open(sync("a").options(options))?;
        t.write(f, at(0), b"x", expected)?;
    }
    Ok(())
}

fn nt_a_08_synchronous_io_needs_synchronize(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    for options in [0x10, 0x20] {
        t.refuses(sync("a").access(WRITE_DATA).options(options), NtStatus::INVALID_PARAMETER)?;
    }
    t.open(sync("a").access(WRITE_DATA).options(0)).map(|_| ())
}

fn nt_a_09_options_that_exclude_each_other(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    t.refuses(sync("a").options(0x30), NtStatus::INVALID_PARAMETER)?;
    t.refuses(sync("a").with(0x1000), NtStatus::INVALID_PARAMETER)?;
    t.refuses(sync("a").with(0x0100_0000), NtStatus::INVALID_PARAMETER)?;
    t.refuses(sync("a").disposition(1), NtStatus::OBJECT_NAME_NOT_FOUND)
}

fn nt_a_10_noncached_and_append_data_by_name_exclude_each_other(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    for access in [APPEND_DATA, WRITE_DATA | APPEND_DATA, READ_DATA | APPEND_DATA] {
        t.refuses(noncached("a").access(access | SYNCHRONIZE), NtStatus::INVALID_PARAMETER)?;
    }
    Ok(())
}

fn nt_a_10_a_generic_right_is_mapped_later(t: &Run<'_>) -> Outcome {
    t.as_nt()?;
    let f = t.open(noncached("a").access(GENERIC_WRITE | SYNCHRONIZE))?;
    t.writes(f, at(0), &[1; 512])?;
    t.ends(f, 512)
}

fn nt_a_11_a_kernel_caller_is_not_checked(t: &Run<'_>) -> Outcome {
    if t.as_user().is_ok() {
        return not_expressible("the caller is a user");
    }
    let f = t.open(sync("a").access(WRITE_DATA))?;
    t.writes(f, NULL, b"ab")?;
    let f = t.open(noncached("b").access(APPEND_DATA | SYNCHRONIZE))?;
    t.writes(f, NULL, &[1; 512])?;
    t.open(sync("c").with(0x1000)).map(|_| ())
}

fn nt_a_12_a_fresh_handle_is_signalled_at_position_zero(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), asynchronous("a"), noncached("a")] {
        let f = t.open(create)?;
        t.stands(f, 0)?;
        t.signalled(f, true)?;
    }
    Ok(())
}

fn nt_a_13_sharing_is_asked_both_ways(t: &Run<'_>) -> Outcome {
    let open = |access: u32, share: u32| sync("a").access(access | SYNCHRONIZE).share(share);
    let reader = t.open(open(READ_DATA, 1))?;
    t.refuses(open(WRITE_DATA, 7), NtStatus::SHARING_VIOLATION)?;
    t.refuses(open(READ_DATA, 2), NtStatus::SHARING_VIOLATION)?;
    t.refuses(open(0x1_0000, 7), NtStatus::SHARING_VIOLATION)?;
    let second = t.open(open(READ_DATA, 1))?;
    t.refuses(open(0x20, 6), NtStatus::SHARING_VIOLATION)?;
    t.close(reader)?;
    t.refuses(open(WRITE_DATA, 7), NtStatus::SHARING_VIOLATION)?;
    t.close(second)?;
    t.open(open(WRITE_DATA, 0)).map(|_| ())
}

fn nt_a_13_appending_is_writing_for_sharing(t: &Run<'_>) -> Outcome {
    let open = |access: u32, share: u32| sync("a").access(access | SYNCHRONIZE).share(share);
    let _appender = t.open(open(APPEND_DATA, 7))?;
    t.refuses(open(READ_DATA, 1), NtStatus::SHARING_VIOLATION)?;
    let _reader = t.open(open(READ_DATA, 3))?;
    let _writer = t.open(open(WRITE_DATA, 3))?;
    t.refuses(open(APPEND_DATA, 1), NtStatus::SHARING_VIOLATION)
}

fn nt_a_13_who_has_no_data_right_shares_with_all(t: &Run<'_>) -> Outcome {
    let open = |access: u32, share: u32| sync("a").access(access | SYNCHRONIZE).share(share);
    let _alone = t.open(open(READ_DATA | WRITE_DATA, 0))?;
    let _asks = t.open(open(0x80, 0))?;
    let _sets = t.open(open(0x100, 0))?;
    t.refuses(open(READ_DATA, 7), NtStatus::SHARING_VIOLATION)
}

fn nt_a_13_a_closed_handle_shares_again(t: &Run<'_>) -> Outcome {
    for _ in 0..3 {
        let f = t.open(sync("a").share(0))?;
        t.refuses(sync("a"), NtStatus::SHARING_VIOLATION)?;
        t.close(f)?;
    }
    t.open(sync("a")).map(|_| ())
}

fn nt_a_14_a_read_only_file_is_not_opened_for_writing(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").attributes(1))?;
    t.close(f)?;
    for access in [GENERIC_WRITE, 0x12_0116, WRITE_DATA, APPEND_DATA] {
        t.refuses(sync("a").access(access | SYNCHRONIZE), NtStatus::ACCESS_DENIED)?;
    }
    t.refuses(sync("a").access(0x1_0000 | SYNCHRONIZE).with(0x1000), NtStatus::CANNOT_DELETE)?;
    t.open(sync("a").access(0x1_0000 | SYNCHRONIZE))?;
    t.open(sync("a").access(GENERIC_READ | SYNCHRONIZE)).map(|_| ())
}

fn nt_a_14_the_handle_that_made_a_read_only_file_writes(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a").disposition(2).attributes(1))?;
    t.writes(f, at(0), b"abc")?;
    t.holds("a", b"abc")
}

fn nt_a_15_a_wait_needs_synchronize(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a").access(READ_DATA | WRITE_DATA))?;
    t.waits_as_user(f, NtStatus::ACCESS_DENIED)
}

fn nt_a_15_a_wait_ends_with_the_write(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.write(f, at(0), b"abc", pended(NtStatus::SUCCESS, 3))?;
    t.signalled(f, true)
}

fn nt_a_16_the_access_class_tells_what_was_granted(t: &Run<'_>) -> Outcome {
    let all = GENERIC_READ | GENERIC_WRITE | 0x1_0000 | SYNCHRONIZE;
    let f = t.open(sync("a").access(all).with(0x1000))?;
    let bytes = t.queries(f, class::ACCESS, 4, success(4))?;
    t.equal("the access", bytes, 0x0013_019F_u32.to_le_bytes().to_vec())?;
    t.queries(f, class::ACCESS, 3, refused(NtStatus::INFO_LENGTH_MISMATCH))?;
    t.queries(t.odd_handle(false)?, class::ACCESS, 4, refused(NtStatus::INVALID_HANDLE)).map(|_| ())
}

fn nt_a_17_a_right_stays_when_the_attribute_changes(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let mut basic = [0; 40];
    basic[32] = 1;
    t.sets(f, class::BASIC, &basic, success(0))?;
    t.refuses(sync("a"), NtStatus::ACCESS_DENIED)?;
    t.writes(f, at(0), b"still")?;
    t.holds("a", b"still")
}
