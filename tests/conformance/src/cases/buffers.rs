//! Buffers that are not what they seem (NT-B).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_b_01_a_null_buffer_is_an_invalid_user_buffer,
    nt_b_01_on_either_kind_of_handle,
    nt_b_02_a_read_into_null_is_an_access_violation,
    nt_b_02_a_read_into_a_page_that_cannot_be_touched,
    nt_b_02_a_read_into_a_read_only_page,
    nt_b_03_a_buffer_that_is_half_there_fails_whole,
    nt_b_03_over_bytes_that_are_there,
    nt_b_04_kernel_addresses_are_refused,
    a_page_that_cannot_be_touched_is_an_invalid_user_buffer,
    a_failed_write_does_not_stop_the_next,
    a_misaligned_buffer_is_as_good_as_any,
];

fn nt_b_01_a_null_buffer_is_an_invalid_user_buffer(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.leaves(State::E2, Transfer::write(f, at(0), &[1; 14]).buffer(Place::Null), NtStatus::INVALID_USER_BUFFER)?;
    // Once more with a cache map, where fast I/O is tried first.
    t.writes(f, at(0), b"abc")?;
    t.leaves(State::E2, Transfer::write(f, at(0), &[1; 14]).buffer(Place::Null), NtStatus::INVALID_USER_BUFFER)?;
    t.holds("a", b"abc")
}

fn nt_b_01_on_either_kind_of_handle(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    let transfer = Transfer::write(f, at(0), &[1; 14]).buffer(Place::Null);
    let seen = t.call(&transfer)?;
    // NT-C-13: this volume marks each request of an asynchronous handle pending, so the error arrives that way.
    t.equal("the write", seen, pended(NtStatus::INVALID_USER_BUFFER, 0))?;
    t.ends(f, 0)
}

fn nt_b_02_a_read_into_null_is_an_access_violation(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.leaves(State::E0, Transfer::read(f, at(0), 3).buffer(Place::Null), NtStatus::ACCESS_VIOLATION)?;
    let f = t.open(asynchronous("a"))?;
    t.leaves(State::E0, Transfer::read(f, at(0), 3).buffer(Place::Null), NtStatus::ACCESS_VIOLATION)
}

fn nt_b_02_a_read_into_a_page_that_cannot_be_touched(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.leaves(State::E0, Transfer::read(f, at(0), 3).buffer(Place::NoAccess), NtStatus::ACCESS_VIOLATION)
}

fn nt_b_02_a_read_into_a_read_only_page(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    t.leaves(State::E0, Transfer::read(f, at(0), 3).buffer(Place::ReadOnly), NtStatus::ACCESS_VIOLATION)
}

fn nt_b_03_a_buffer_that_is_half_there_fails_whole(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), noncached("b")] {
        let f = t.open(create)?;
        for _ in 0..2 {
            let transfer = Transfer::write(f, at(0), &[7; 1024]).buffer(Place::HalfThere);
            t.leaves(State::E2, transfer, NtStatus::INVALID_USER_BUFFER)?;
            t.ends(f, 0)?;
        }
        // What had been copied lies past the end, and does not come back with it.
        t.set_end(f, 2048)?;
        t.reads(f, at(0), 2048, &[0; 2048])?;
    }
    Ok(())
}

fn nt_b_03_over_bytes_that_are_there(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), &[1; 2000])?;
    let transfer = Transfer::write(f, at(1500), &[7; 1000]).buffer(Place::HalfThere);
    t.leaves(State::E2, transfer, NtStatus::INVALID_USER_BUFFER)?;
    t.reads(f, at(0), 1500, &[1; 1500])
}

fn nt_b_04_kernel_addresses_are_refused(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), asynchronous("a"), noncached("a")] {
        let f = t.open(create)?;
        let transfer = Transfer::write(f, at(0), &[1; 512]).buffer(Place::Kernel);
        t.leaves(State::E0, transfer, NtStatus::ACCESS_VIOLATION)?;
        let transfer = Transfer::read(f, at(0), 512).buffer(Place::Kernel);
        t.leaves(State::E0, transfer, NtStatus::ACCESS_VIOLATION)?;
    }
    t.holds("a", b"")
}

fn a_page_that_cannot_be_touched_is_an_invalid_user_buffer(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.leaves(State::E2, Transfer::write(f, at(0), &[1; 14]).buffer(Place::NoAccess), NtStatus::INVALID_USER_BUFFER)
}

fn a_failed_write_does_not_stop_the_next(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    for round in 0..3 {
        let transfer = Transfer::write(f, NULL, &[7; 100]).buffer(Place::NoAccess);
        t.transfer(transfer, refused(NtStatus::INVALID_USER_BUFFER))?;
        t.writes(f, NULL, b"ok")?;
        t.stands(f, 2 * (round + 1))?;
    }
    t.holds("a", b"okokok")
}

fn a_misaligned_buffer_is_as_good_as_any(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.transfer(Transfer::write(f, at(0), b"odd address").buffer(Place::Misaligned), success(11))?;
    t.holds("a", b"odd address")
}
