//! Status blocks, events and the fast path (NT-C, NT-K).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_machine::NtStatus;

cases![
    nt_c_02_an_error_of_a_synchronous_handle_is_in_the_return_value_only,
    nt_c_04_an_error_that_pended_is_told_in_full,
    nt_c_06_with_an_event_the_file_is_not_signalled,
    nt_c_06_without_an_event_the_file_is_signalled,
    nt_c_10_calls_that_fail_later_reset_the_event_too,
    nt_c_13_what_pends_is_final_when_the_call_returns,
    nt_c_14_an_asynchronous_read_at_the_end,
    nt_c_14_a_first_synchronous_read_at_the_end,
    nt_c_14_a_read_of_nothing_at_the_end,
    nt_k_01_the_first_write_of_a_handle_is_a_packet,
    nt_k_01_an_asynchronous_handle_has_no_fast_path,
    nt_k_03_what_the_fast_path_refuses_goes_as_a_packet,
    nt_k_04_the_fast_path_leaves_the_file_event_alone,
    nt_k_05_the_end_of_file_shows_in_the_status_block_on_the_fast_path,
    nt_k_08_zero_bytes_by_the_fast_path,
    nt_k_09_the_fast_path_extends_the_file_and_moves_the_position,
    a_synchronization_event_wakes_one_wait,
    a_successful_call_signals_its_event,
    an_event_serves_many_calls,
];

fn nt_c_02_an_error_of_a_synchronous_handle_is_in_the_return_value_only(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("D:\\a"))?;
    let event = t.event(true)?;
    t.transfer(Transfer::write(f, at(0), &[1; 100_000]).event(event), refused(NtStatus::DISK_FULL))?;
    t.signalled(event, false)?;
    t.writes(f, at(0), b"abc")?;
    t.transfer(Transfer::write(f, at(0), &[1; 100_000]).event(event), refused(NtStatus::DISK_FULL))?;
    t.signalled(event, false)
}

fn nt_c_04_an_error_that_pended_is_told_in_full(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("D:\\a"))?;
    let event = t.event(false)?;
    let full = Transfer::write(f, at(0), &[1; 100_000]);
    t.transfer(full.clone().event(event), pended(NtStatus::DISK_FULL, 0))?;
    t.signalled(event, true)?;
    t.transfer(full, pended(NtStatus::DISK_FULL, 0))?;
    t.signalled(f, true)
}

fn nt_c_06_with_an_event_the_file_is_not_signalled(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    let event = t.event(false)?;
    for _ in 0..2 {
        t.transfer(Transfer::write(f, at(0), b"abc").event(event), pended(NtStatus::SUCCESS, 3))?;
        t.signalled(event, true)?;
        t.signalled(f, false)?;
    }
    Ok(())
}

fn nt_c_06_without_an_event_the_file_is_signalled(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.write(f, at(0), b"abc", pended(NtStatus::SUCCESS, 3))?;
    t.signalled(f, true)?;
    t.transfer(Transfer::read(f, at(0), 3), pended(NtStatus::SUCCESS, 3))?;
    t.signalled(f, true)
}

fn nt_c_10_calls_that_fail_later_reset_the_event_too(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let event = t.event(true)?;
    t.transfer(Transfer::write(f, at(i64::MAX), b"ab").event(event), refused(NtStatus::INVALID_PARAMETER))?;
    t.signalled(event, false)?;
    let g = t.open(asynchronous("a"))?;
    let event = t.event(true)?;
    t.transfer(Transfer::write(g, NULL, b"ab").event(event), refused(NtStatus::INVALID_PARAMETER))?;
    t.signalled(event, false)
}

fn nt_c_13_what_pends_is_final_when_the_call_returns(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    let event = t.event(false)?;
    t.transfer(Transfer::write(f, at(0), b"abc").event(event), pended(NtStatus::SUCCESS, 3))?;
    t.signalled(event, true)?;
    t.holds("a", b"abc")?;
    let bytes = t.transfer(Transfer::read(f, at(1), 9).event(event), pended(NtStatus::SUCCESS, 2))?;
    t.equal("the bytes", &bytes[..], b"bc")?;
    t.stands(f, 0)
}

fn nt_c_14_an_asynchronous_read_at_the_end(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a"))?;
    t.write(f, at(0), b"abc", pended(NtStatus::SUCCESS, 3))?;
    for offset in [3, 4, 1000] {
        let event = t.event(false)?;
        t.transfer(Transfer::read(f, at(offset), 4).event(event), pended(NtStatus::END_OF_FILE, 0))?;
        t.signalled(event, true)?;
    }
    Ok(())
}

fn nt_c_14_a_first_synchronous_read_at_the_end(t: &Run<'_>) -> Outcome {
    t.as_nt()?;
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    // A fresh handle has no cache map: its read is a packet (NT-K-01), and the status block keeps its bytes.
    let f = t.open(sync("a"))?;
    t.read(f, at(3), 4, refused(NtStatus::END_OF_FILE))
}

fn nt_c_14_a_read_of_nothing_at_the_end(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    for offset in [at(3), at(99), NULL] {
        t.reads(f, offset, 0, b"")?;
    }
    let f = t.open(asynchronous("a"))?;
    t.read(f, at(99), 0, pended(NtStatus::SUCCESS, 0))
}

fn nt_k_01_the_first_write_of_a_handle_is_a_packet(t: &Run<'_>) -> Outcome {
    t.with_fast_io()?;
    t.with_events()?;
    for create in [sync("a"), sync("a")] {
        let f = t.open(create)?;
        let before = t.fast_transfers()?;
        t.writes(f, at(0), b"abc")?;
        t.equal("fast requests", t.fast_transfers()? - before, 0)?;
        t.writes(f, at(0), b"def")?;
        t.equal("fast requests", t.fast_transfers()? - before, 1)?;
    }
    Ok(())
}

fn nt_k_01_an_asynchronous_handle_has_no_fast_path(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(asynchronous("a"))?, t.open(noncached("a"))?);
    let before = t.fast_transfers()?;
    for _ in 0..3 {
        t.write(f, at(0), &[1; 512], pended(NtStatus::SUCCESS, 512))?;
        t.writes(g, at(0), &[1; 512])?;
    }
    t.equal("fast requests", t.fast_transfers()? - before, 0)
}

fn nt_k_03_what_the_fast_path_refuses_goes_as_a_packet(t: &Run<'_>) -> Outcome {
    t.with_fast_io()?;
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    let before = (t.transfers()?, t.fast_transfers()?);
    // More than 0x2000 past the end (NT-K-07).
    t.writes(f, at(50_000), b"def")?;
    t.equal("{attempts, taken}", (t.transfers()? - before.0, t.fast_transfers()? - before.1), (2, 0))?;
    t.stands(f, 50_003)?;
    t.ends(f, 50_003)
}

fn nt_k_04_the_fast_path_leaves_the_file_event_alone(t: &Run<'_>) -> Outcome {
    t.with_fast_io()?;
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"a")?;
    let event = t.event(false)?;
    let before = t.fast_transfers()?;
    t.transfer(Transfer::write(f, at(0), b"b").event(event), success(1))?;
    t.equal("fast requests", t.fast_transfers()? - before, 1)?;
    t.signalled(event, true)?;
    t.signalled(f, true)
}

fn nt_k_05_the_end_of_file_shows_in_the_status_block_on_the_fast_path(t: &Run<'_>) -> Outcome {
    t.with_fast_io()?;
    t.with_events()?;
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    let event = t.event(false)?;
    t.transfer(Transfer::read(f, at(3), 4).event(event), told(NtStatus::END_OF_FILE))?;
    t.signalled(event, true)
}

fn nt_k_08_zero_bytes_by_the_fast_path(t: &Run<'_>) -> Outcome {
    t.with_fast_io()?;
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    let before = t.fast_transfers()?;
    for offset in [at(0), at(100), NULL, END] {
        t.writes(f, offset, b"")?;
        t.stands(f, 3)?;
    }
    t.equal("fast requests", t.fast_transfers()? - before, 4)
}

fn nt_k_09_the_fast_path_extends_the_file_and_moves_the_position(t: &Run<'_>) -> Outcome {
    t.with_fast_io()?;
    let f = t.open(sync("a"))?;
    t.writes(f, at(0), b"abc")?;
    let before = t.fast_transfers()?;
    t.writes(f, NULL, b"def")?;
    t.stands(f, 6)?;
    t.ends(f, 6)?;
    t.writes(f, at(10), b"x")?;
    t.stands(f, 11)?;
    t.ends(f, 11)?;
    t.equal("fast requests", t.fast_transfers()? - before, 2)?;
    t.holds("a", b"abcdef\0\0\0\0x")
}

fn a_synchronization_event_wakes_one_wait(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    let event = t.event_with(0x1F_0003, false, false)?;
    for _ in 0..3 {
        t.transfer(Transfer::write(f, at(0), b"abc").event(event), success(3))?;
        t.signalled(event, true)?;
        t.signalled(event, false)?;
    }
    Ok(())
}

fn a_successful_call_signals_its_event(t: &Run<'_>) -> Outcome {
    for create in [sync("a"), noncached("b"), sync("c").with(WRITE_THROUGH)] {
        let f = t.open(create)?;
        for signalled in [false, true, false] {
            let event = t.event(signalled)?;
            t.transfer(Transfer::write(f, at(0), &[1; 512]).event(event), success(512))?;
            t.signalled(event, true)?;
            t.signalled(f, true)?;
        }
    }
    Ok(())
}

fn an_event_serves_many_calls(t: &Run<'_>) -> Outcome {
    let (f, g) = (t.open(sync("a"))?, t.open(asynchronous("a"))?);
    let event = t.event(false)?;
    for round in 0..20 {
        t.transfer(Transfer::write(f, at(round), b"a").event(event), success(1))?;
        t.signalled(event, true)?;
        t.transfer(Transfer::write(g, at(round), b"b").event(event), pended(NtStatus::SUCCESS, 1))?;
        t.signalled(event, true)?;
    }
    t.holds("a", &[b'b'; 20])
}
