//! The order of the checks, and what each leaves (NT-V, NT-W-19).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_v_01_a_bad_handle_is_told_before_a_bad_buffer,
    nt_v_02_a_wrong_object_is_told_before_a_bad_status_block,
    nt_v_03_a_missing_right_is_told_before_a_bad_status_block,
    nt_v_04_a_status_block_must_be_writable_and_aligned,
    nt_v_04_a_bad_status_block_is_told_before_a_bad_buffer,
    nt_v_05_a_kernel_buffer_is_told_before_a_bad_offset,
    nt_v_06_an_offset_must_be_readable_and_aligned,
    nt_v_08_a_ragged_length_is_told_before_a_ragged_offset_is_looked_at,
    nt_v_08_a_ragged_length_is_told_before_a_bad_key,
    nt_v_10_a_ragged_offset_is_told_before_a_bad_event,
    nt_v_11_a_key_must_be_readable_and_aligned,
    nt_v_12_a_bad_offset_is_refused_before_the_event_is_reset,
    nt_v_13_an_asynchronous_handle_has_no_position_to_name,
    nt_v_14_an_appenders_offset_is_replaced_before_it_is_looked_at,
    nt_v_15_an_event_must_be_one_that_may_be_set,
    nt_v_16_the_event_is_reset_at_the_start,
    nt_v_18_the_position_is_taken_for_minus_two_and_for_none,
    nt_v_19_a_missing_offset_is_refused_after_the_event_is_reset,
    nt_w_19_a_status_block_is_required_and_the_rest_is_not,
];

fn nt_v_01_a_bad_handle_is_told_before_a_bad_buffer(t: &Run<'_>) -> Outcome {
    for handle in [Handle(0), t.odd_handle(false)?] {
        let transfer = Transfer::write(handle, at(-9), b"x").buffer(Place::Kernel).block(Place::Null);
        let done = t.call(&transfer)?;
        t.equal("the write", done.returned, Word::Status(NtStatus::INVALID_HANDLE))?;
        t.leaves(State::E0, Transfer::write(handle, at(0), b"x").buffer(Place::Null), NtStatus::INVALID_HANDLE)?;
    }
    Ok(())
}

fn nt_v_02_a_wrong_object_is_told_before_a_bad_status_block(t: &Run<'_>) -> Outcome {
    let handle = t.event(false)?;
    let done = t.call(&Transfer::write(handle, at(-9), b"x").buffer(Place::Kernel).block(Place::Null))?;
    t.equal("the write", done.returned, Word::Status(NtStatus::OBJECT_TYPE_MISMATCH))?;
    let signal = t.event(true)?;
    t.transfer(Transfer::write(handle, at(0), b"x").event(signal), refused(NtStatus::OBJECT_TYPE_MISMATCH))?;
    t.signalled(signal, true)
}

fn nt_v_03_a_missing_right_is_told_before_a_bad_status_block(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(sync("a").access(GENERIC_READ | SYNCHRONIZE))?;
    let done = t.call(&Transfer::write(f, at(-9), b"x").buffer(Place::Kernel).block(Place::Null))?;
    t.equal("the write", done.returned, Word::Status(NtStatus::ACCESS_DENIED))?;
    t.leaves(State::E0, Transfer::write(f, at(0), b"x"), NtStatus::ACCESS_DENIED)
}

fn nt_v_04_a_status_block_must_be_writable_and_aligned(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for (place, status) in [
        (Place::Null, NtStatus::ACCESS_VIOLATION),
        (Place::Kernel, NtStatus::ACCESS_VIOLATION),
        (Place::ReadOnly, NtStatus::ACCESS_VIOLATION),
        (Place::NoAccess, NtStatus::ACCESS_VIOLATION),
        (Place::Misaligned, NtStatus::DATATYPE_MISALIGNMENT),
    ] {
        let event = t.event(true)?;
        let done = t.call(&Transfer::write(f, at(0), b"x").block(place).event(event))?;
        t.equal(&format!("a status block in {place:?}"), done.returned, Word::Status(status))?;
        t.signalled(event, true)?;
        t.ends(f, 0)?;
        t.stands(f, 0)?;
    }
    Ok(())
}

fn nt_v_04_a_bad_status_block_is_told_before_a_bad_buffer(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let done = t.call(&Transfer::write(f, at(0), b"x").block(Place::Misaligned).buffer(Place::Kernel))?;
    t.equal("the write", done.returned, Word::Status(NtStatus::DATATYPE_MISALIGNMENT))
}

fn nt_v_05_a_kernel_buffer_is_told_before_a_bad_offset(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let transfer = Transfer::write(f, at(-9), b"x").buffer(Place::Kernel);
    t.leaves(State::E0, transfer.clone(), NtStatus::ACCESS_VIOLATION)?;
    // The range only: pages are not touched, so a page that is not there passes, and the offset is told.
    t.leaves(State::E0, transfer.clone().buffer(Place::NoAccess), NtStatus::INVALID_PARAMETER)?;
    t.leaves(State::E0, transfer.buffer(Place::Null), NtStatus::INVALID_PARAMETER)
}

fn nt_v_06_an_offset_must_be_readable_and_aligned(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), asynchronous("a"), appender("a")] {
        let shown = create.access & WRITE_DATA != 0 || create.access & GENERIC_WRITE != 0;
        let f = t.open(create)?;
        for (place, status) in [
            (Place::Kernel, NtStatus::ACCESS_VIOLATION),
            (Place::NoAccess, NtStatus::ACCESS_VIOLATION),
            (Place::Misaligned, NtStatus::DATATYPE_MISALIGNMENT),
        ] {
            let transfer = Transfer::write(f, at(0), b"x").offset_at(place);
            match shown {
                true => t.leaves(State::E0, transfer, status)?,
                false => t.transfer(transfer, refused(status)).map(|_| ())?,
            }
        }
    }
    t.holds("a", b"")
}

fn nt_v_08_a_ragged_length_is_told_before_a_ragged_offset_is_looked_at(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    // Both are INVALID_PARAMETER; the key, which comes after them, tells that they came first.
    t.leaves(
        State::E0,
        Transfer::write(f, at(0), &[1; 100]).key(1).key_at(Place::Misaligned),
        NtStatus::INVALID_PARAMETER,
    )
}

fn nt_v_08_a_ragged_length_is_told_before_a_bad_key(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    let transfer = Transfer::write(f, at(0), &[1; 100]).key(1).key_at(Place::Kernel);
    t.leaves(State::E0, transfer, NtStatus::INVALID_PARAMETER)?;
    t.leaves(State::E0, Transfer::write(f, at(0), &[1; 512]).key(1).key_at(Place::Kernel), NtStatus::ACCESS_VIOLATION)
}

fn nt_v_10_a_ragged_offset_is_told_before_a_bad_event(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(noncached("a"))?;
    let bad = t.open(sync("b"))?;
    t.transfer(Transfer::write(f, at(4), &[1; 512]).event(bad), refused(NtStatus::INVALID_PARAMETER))?;
    t.transfer(Transfer::write(f, at(0), &[1; 512]).event(bad), refused(NtStatus::OBJECT_TYPE_MISMATCH))?;
    // Exempt: -1 on any handle, -2 and none on a synchronous one.
    for offset in [END, POINTER, NULL] {
        t.transfer(Transfer::write(f, offset, &[1; 512]).event(bad), refused(NtStatus::OBJECT_TYPE_MISMATCH))?;
    }
    t.ends(f, 0)
}

fn nt_v_11_a_key_must_be_readable_and_aligned(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for (place, status) in [
        (Place::Kernel, NtStatus::ACCESS_VIOLATION),
        (Place::NoAccess, NtStatus::ACCESS_VIOLATION),
        (Place::Misaligned, NtStatus::DATATYPE_MISALIGNMENT),
    ] {
        t.leaves(State::E0, Transfer::write(f, at(0), b"x").key(1).key_at(place), status)?;
        // It is told before the offset's value.
        t.leaves(State::E0, Transfer::write(f, at(-9), b"x").key(1).key_at(place), status)?;
    }
    Ok(())
}

fn nt_v_12_a_bad_offset_is_refused_before_the_event_is_reset(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), asynchronous("a")] {
        let f = t.open(create)?;
        for offset in [-3, -4, -5, i64::MIN] {
            t.leaves(State::E0, Transfer::write(f, at(offset), b"x"), NtStatus::INVALID_PARAMETER)?;
        }
        // Even a bad event is told later.
        let bad = t.odd_handle(false)?;
        t.transfer(Transfer::write(f, at(-3), b"x").event(bad), refused(NtStatus::INVALID_PARAMETER))?;
    }
    Ok(())
}

fn nt_v_13_an_asynchronous_handle_has_no_position_to_name(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.leaves(State::E0, Transfer::write(f, POINTER, b"x"), NtStatus::INVALID_PARAMETER)?;
    let f = t.open(appender("a").options(0))?;
    t.write(f, POINTER, b"x", pended(NtStatus::SUCCESS, 1))
}

fn nt_v_14_an_appenders_offset_is_replaced_before_it_is_looked_at(t: &Run<'_>) -> Outcome {
    let f = t.open(appender("a"))?;
    for offset in [at(-3), at(-20), at(i64::MIN), at(i64::MAX), POINTER, NULL, at(7)] {
        t.writes(f, offset, b"ab")?;
    }
    t.holds("a", b"ababababababab")?;
    let f = t.open(appender("b").options(0))?;
    for offset in [at(-3), at(i64::MAX), POINTER, NULL] {
        t.write(f, offset, b"ab", pended(NtStatus::SUCCESS, 2))?;
    }
    t.holds("b", b"abababab")
}

fn nt_v_15_an_event_must_be_one_that_may_be_set(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let refuse = |event: Handle, status| t.transfer(Transfer::write(f, at(0), b"x").event(event), refused(status));
    refuse(t.odd_handle(false)?, NtStatus::INVALID_HANDLE)?;
    refuse(t.odd_handle(true)?, NtStatus::OBJECT_TYPE_MISMATCH)?;
    refuse(f, NtStatus::OBJECT_TYPE_MISMATCH)?;
    t.ends(f, 0)?;
    t.as_user()?;
    // SYNCHRONIZE and EVENT_QUERY_STATE do not set an event.
    refuse(t.event_with(0x10_0001, true, false)?, NtStatus::ACCESS_DENIED)?;
    t.ends(f, 0)?;
    let event = t.event_with(0x10_0002, true, false)?;
    t.transfer(Transfer::write(f, at(0), b"x").event(event), success(1))?;
    t.signalled(event, true)
}

fn nt_v_16_the_event_is_reset_at_the_start(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    let event = t.event(true)?;
    t.transfer(Transfer::write(f, NULL, b"x").event(event), refused(NtStatus::INVALID_PARAMETER))?;
    t.signalled(event, false)?;
    t.transfer(Transfer::write(f, at(0), b"x").event(event), pended(NtStatus::SUCCESS, 1))?;
    t.signalled(event, true)
}

fn nt_v_18_the_position_is_taken_for_minus_two_and_for_none(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"0123456789")?;
    for offset in [NULL, POINTER] {
        t.seek(f, 3)?;
        t.writes(f, offset, b"ab")?;
        t.stands(f, 5)?;
        t.seek(f, 7)?;
        t.reads(f, offset, 2, b"78")?;
        t.stands(f, 9)?;
    }
    t.holds("a", b"012ab56789")?;
    // Not on an append-only handle (NT-O-09).
    let f = t.open(sync("a").access(READ_DATA | APPEND_DATA | SYNCHRONIZE))?;
    t.writes(f, NULL, b"x")?;
    t.holds("a", b"012ab56789x")
}

fn nt_v_19_a_missing_offset_is_refused_after_the_event_is_reset(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.leaves(State::E1, Transfer::write(f, NULL, b"x"), NtStatus::INVALID_PARAMETER)?;
    t.leaves(State::E1, Transfer::read(f, NULL, 1), NtStatus::INVALID_PARAMETER)
}

fn nt_w_19_a_status_block_is_required_and_the_rest_is_not(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abc")?;
    let event = t.event(true)?;
    let done = t.call(&Transfer::write(f, NULL, b"def").block(Place::Null).event(event))?;
    t.equal("the write", done.returned, Word::Status(NtStatus::ACCESS_VIOLATION))?;
    t.signalled(event, true)?;
    t.holds("a", b"abc")
}
