//! A compiled AVStream driver (tests/drivers/t_avs.c) from AddDevice to its removal, by kernel code written in Rust.

mod avs;

use avs::*;
use nt_abi::ks::*;
use nt_machine::{NtError, NtStatus};

const TAKE: u32 = 0;
const PIECES: u32 = 1;
const CLONE: u32 = 2;
const STUCK: u32 = 3;
const LOCK: u32 = 4;
const FAIL: u32 = 5;
const IDLE: u32 = 6;

fn refused(status: NtStatus) -> Result<u64, NtError> {
    Err(status.error())
}

#[test]
fn ks_av_02_a_device_is_added_started_opened_and_removed() {
    let avs = Avs::new();
    let start = avs.take_lines();
    assert!(start.contains(&"device add, started 0".to_owned()), "{start:?}");
    assert!(start.contains(&"device start, started 0".to_owned()), "{start:?}");
    assert!(start.contains(&"bag item 1 freed".to_owned()), "KS-AV-04: {start:?}");
    let by_guid = avs.open("\\{5d1f7a10-0003-4b53-a101-6e74696f0003}").expect("the GUID as text");
    assert_eq!(avs.take_lines(), ["filter create, context 1111"], "the device's context is the filter's");
    let by_string = avs.open("\\centric").expect("a reference string");
    assert!(avs.open("\\nothing").is_err());
    assert!(avs.open("").is_ok(), "the first factory needs no string");
    drop((by_guid, by_string));
    avs.end();
}

#[test]
fn ks_st_02_a_pin_goes_up_and_down_in_single_steps() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    avs.take_lines();
    let pin = filter.pin(0, false).expect("pin");
    assert_eq!(
        avs.take_lines(),
        [
            "pin 0 format, old -1, new 0, range 1",
            "pin 0 format, old -1, new 0, range 0",
            "pin 0 create, context 2222, state 0 0, reset 1, header 0, format 64"
        ],
        "KS-PN-07: each range is offered before Create; KS-PN-09: what a new pin says"
    );
    pin.set_state(KSSTATE_RUN).expect("run");
    let up = [
        "pin 0 state 1 from 0, device 3, client 1",
        "pin 0 state 2 from 1, device 3, client 2",
        "pin 0 state 3 from 2, device 3, client 3",
    ];
    assert_eq!(avs.take_lines(), up, "KS-ST-04: the client's state is the step's, the device's what was asked for");
    pin.set_state(KSSTATE_RUN).expect("again");
    assert!(avs.take_lines().is_empty(), "KS-ST-06");
    pin.set_state(KSSTATE_STOP).expect("stop");
    let down = [
        "pin 0 state 2 from 3, device 0, client 2",
        "pin 0 state 1 from 2, device 0, client 1",
        "pin 0 state 0 from 1, device 0, client 0",
    ];
    assert_eq!(avs.take_lines(), down);
    drop(pin);
    assert_eq!(avs.take_lines(), ["pin 0 close, state 0", "bag item 0 freed"]);
    drop(filter);
    assert_eq!(avs.take_lines(), ["filter close"]);
    avs.end();
}

#[test]
fn ks_st_03_a_pin_without_the_standard_transport_jumps() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(5, false).expect("pin");
    avs.take_lines();
    pin.set_state(KSSTATE_RUN).expect("run");
    assert_eq!(avs.take_lines(), ["pin 5 state 3 from 0, device 3, client 3"]);
    pin.set_state(KSSTATE_STOP).expect("stop");
    assert_eq!(avs.take_lines(), ["pin 5 state 0 from 3, device 0, client 0"]);
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_st_05_a_step_up_that_fails_is_undone() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(2, false).expect("pin");
    avs.take_lines();
    assert_eq!(pin.set_state(KSSTATE_RUN), Err(NtStatus::INVALID_DEVICE_STATE.error()));
    let calls: Vec<_> = avs.take_lines().iter().map(|line| line[..20].to_owned()).collect();
    let expected = [
        "pin 2 state 1 from 0",
        "pin 2 state 2 from 1",
        "pin 2 state 3 from 2",
        "pin 2 state 1 from 2",
        "pin 2 state 0 from 1",
    ];
    assert_eq!(calls, expected, "the pin ends in the state in which it was");
    pin.set_state(KSSTATE_PAUSE).expect("it still works");
    drop((pin, filter));
    let down: Vec<_> =
        avs.take_lines().iter().filter(|line| line.contains("state")).map(|line| line[..20].to_owned()).collect();
    assert_eq!(
        down[2..4],
        ["pin 2 state 1 from 2", "pin 2 state 0 from 1"],
        "KS-PN-22: a close goes down the same way"
    );
    avs.end();
}

#[test]
fn ks_av_08_data_is_processed_when_it_comes_and_when_the_pin_rises() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    assert_eq!(pin.ks_stream_write(&[b"hello ", b"world"]), Ok(11));
    let state = counts(&pin);
    assert_eq!((state.bytes, state.sum), (11, sum(b"hello world")), "KS-AV-10: called again while there are frames");
    assert_eq!(pin.ioctl_write_stream(&[b"!"]), Ok(1));
    assert_eq!(counts(&pin).sum, sum(b"hello world!"));
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_av_22_a_frame_is_consumed_in_pieces() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, PIECES);
    assert_eq!(pin.ks_stream_write(&[b"abcdefgh", b"ij", b"k"]), Ok(11));
    assert_eq!((counts(&pin).bytes, counts(&pin).sum), (11, sum(b"abcdefghijk")));
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_av_35_a_source_pin_fills_the_room_of_its_frames() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(1, true).expect("pin");
    pin.set_state(KSSTATE_RUN).expect("run");
    assert_eq!(pin.ks_stream_read(&[4, 20]), Ok(vec![b"abcd".to_vec(), b"abcdefghij".to_vec()]));
    assert_eq!(pin.ks_stream_write(&[b"x"]), refused(NtStatus::INVALID_DEVICE_REQUEST), "KS-I-10");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_av_26_a_clone_keeps_its_frame_until_it_is_deleted() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, CLONE);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    let two = Pending::write(&avs, &pin, &[b"de"]);
    assert_eq!((one.result(), two.result()), (None, None), "both frames have clones");
    assert_eq!(release(&pin, 7), Ok(()), "KS-AV-27: the second clone is the one of the second frame");
    assert_eq!((one.result(), two.result()), (None, Some((NtStatus::SUCCESS, 2))));
    assert_eq!(release(&pin, 0), Ok(()));
    assert_eq!(one.result(), Some((NtStatus::SUCCESS, 3)));
    assert_eq!(release(&pin, 0), Err(NtStatus::NOT_FOUND.error()));
    drop((pin, filter, one, two));
    avs.end();
}

#[test]
fn ks_av_28_a_cancelled_frame_leaves_its_clone_without_one() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, CLONE);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    avs.take_lines();
    one.cancel();
    assert_eq!(one.result(), Some((NtStatus::CANCELLED, 0)));
    assert_eq!(avs.take_lines(), ["clone cancelled, irql 2"], "the callback runs at DISPATCH_LEVEL");
    assert_eq!(release(&pin, 4), Err(NtStatus::DEVICE_NOT_READY.error()), "KS-AV-19: there is nothing to lock");
    assert_eq!(release(&pin, 0), Ok(()), "and it must still be deleted");
    drop((pin, filter, one));
    avs.end();
}

#[test]
fn ks_av_20_a_locked_frame_is_cancelled_when_the_lock_is_dropped() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, LOCK);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    one.cancel();
    assert_eq!(one.result(), None, "locked");
    assert_eq!(release(&pin, 1), Ok(()));
    assert_eq!(one.result(), Some((NtStatus::CANCELLED, 0)));
    // The driver is done with it first: the request ends as if nobody had cancelled it.
    set_mode(&pin, CLONE);
    let two = Pending::write(&avs, &pin, &[b"de"]);
    assert_eq!(release(&pin, 4), Ok(()), "the clone is locked");
    two.cancel();
    assert_eq!(two.result(), None);
    assert_eq!(release(&pin, 0), Ok(()));
    assert_eq!(
        two.result().map(|(status, _)| status),
        Some(NtStatus::CANCELLED),
        "no reference was left when the lock went"
    );
    drop((pin, filter, one, two));
    avs.end();
}

#[test]
fn ks_av_31_a_status_code_is_the_requests_end() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, FAIL);
    assert_eq!(pin.ks_stream_write(&[b"abc"]), refused(NtStatus::IO_DEVICE_ERROR));
    set_mode(&pin, TAKE);
    assert_eq!(pin.ks_stream_write(&[b"abc"]), Ok(3), "the next one is another request");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_av_10_pending_rests_until_something_happens() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, IDLE);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    assert_eq!((one.result(), counts(&pin).calls), (None, 1), "STATUS_PENDING: not again by itself");
    let two = Pending::write(&avs, &pin, &[b"de"]);
    assert_eq!(counts(&pin).calls, 1, "KS-AV-08: a frame was at the leading edge already");
    set_mode(&pin, TAKE);
    release(&pin, 2).expect("KsPinAttemptProcessing");
    assert_eq!((one.result(), two.result()), (Some((NtStatus::SUCCESS, 3)), Some((NtStatus::SUCCESS, 2))));
    assert_eq!(counts(&pin).sum, sum(b"abcde"));
    drop((pin, filter, one, two));
    avs.end();
}

#[test]
fn ks_av_09_flags_say_when_arrivals_start_processing() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let every = running(&filter, 5, IDLE);
    let one = Pending::write(&avs, &every, &[b"abc"]);
    let two = Pending::write(&avs, &every, &[b"de"]);
    assert_eq!(counts(&every).calls, 2, "every arrival");
    let never = running(&filter, 4, TAKE);
    let three = Pending::write(&avs, &never, &[b"fgh"]);
    assert_eq!((counts(&never).calls, three.result()), (0, None), "none");
    release(&never, 2).expect("an attempt");
    assert_eq!(three.result(), Some((NtStatus::SUCCESS, 3)), "only an attempt");
    drop((every, never, filter, one, two, three));
    avs.end();
}

#[test]
fn ks_av_11_asynchronous_processing_runs_in_a_worker() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 3, TAKE);
    for _ in 0..20 {
        assert_eq!(pin.ks_stream_write(&[b"abc"]), Ok(3));
    }
    assert_eq!(counts(&pin).bytes, 60);
    let idle = running(&filter, 0, IDLE);
    let one = Pending::write(&avs, &idle, &[b"abc"]);
    set_mode(&idle, TAKE);
    release(&idle, 3).expect("an attempt that does not wait");
    one.wait();
    assert_eq!(one.result(), Some((NtStatus::SUCCESS, 3)));
    drop((pin, idle, filter, one));
    avs.end();
}

#[test]
fn ks_st_14_pause_processes_unless_the_pin_says_run_only() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    for (id, processes) in [(0, true), (3, false)] {
        let pin = filter.pin(id, false).expect("pin");
        pin.set_state(KSSTATE_PAUSE).expect("pause");
        let one = Pending::write(&avs, &pin, &[b"abc"]);
        assert_eq!(one.result().is_some(), processes, "pin {id}");
        pin.set_state(KSSTATE_RUN).expect("run");
        one.wait();
        assert_eq!(one.result(), Some((NtStatus::SUCCESS, 3)), "KS-AV-08: what was primed is processed");
    }
    drop(filter);
    avs.end();
}

#[test]
fn ks_st_12_a_stopped_pin_has_no_request() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, IDLE);
    let all: Vec<_> = (0..4).map(|_| Pending::write(&avs, &pin, &[b"abc"])).collect();
    pin.set_state(KSSTATE_PAUSE).expect("pause");
    pin.set_state(KSSTATE_ACQUIRE).expect("acquire");
    assert!(all.iter().all(|one| one.result().is_none()), "KS-ST-10, KS-ST-11: frames stay queued down to ACQUIRE");
    assert_eq!(pin.ks_stream_write(&[b"x"]), refused(NtStatus::INVALID_DEVICE_REQUEST), "and no new one is taken");
    pin.set_state(KSSTATE_STOP).expect("stop");
    assert!(all.iter().all(|one| one.result() == Some((NtStatus::CANCELLED, 0))));
    drop((pin, filter, all));
    avs.end();
}

#[test]
fn ks_st_10_run_goes_on_with_the_frame_where_pause_left_it() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 3, IDLE);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    pin.set_state(KSSTATE_PAUSE).expect("pause");
    set_mode(&pin, TAKE);
    let two = Pending::write(&avs, &pin, &[b"de"]);
    release(&pin, 2).expect("an attempt");
    assert_eq!((one.result(), two.result()), (None, None), "consumption has stopped");
    pin.set_state(KSSTATE_RUN).expect("run");
    one.wait();
    two.wait();
    assert_eq!(counts(&pin).sum, sum(b"abcde"), "in order");
    drop((pin, filter, one, two));
    avs.end();
}

#[test]
fn ks_rs_02_a_reset_cancels_what_is_queued_and_tells_the_driver() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, IDLE);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    avs.take_lines();
    reset(&pin, KSRESET_BEGIN).expect("begin");
    assert_eq!(one.result(), Some((NtStatus::CANCELLED, 0)), "before the reset request ends");
    assert_eq!(avs.take_lines(), ["pin 0 reset 0, state 0"], "KS-RS-07: the state is there when the driver is called");
    assert_eq!(pin.ks_stream_write(&[b"x"]), refused(NtStatus::DEVICE_NOT_READY), "KS-RS-03");
    reset(&pin, KSRESET_BEGIN).expect("twice");
    assert!(avs.take_lines().is_empty(), "KS-RS-06");
    for state in [KSSTATE_STOP, KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN] {
        pin.set_state(state).expect("a state");
    }
    assert_eq!(pin.ks_stream_write(&[b"x"]), refused(NtStatus::DEVICE_NOT_READY), "KS-RS-04: a state ends no reset");
    avs.take_lines();
    reset(&pin, KSRESET_END).expect("end");
    assert_eq!(avs.take_lines(), ["pin 0 reset 1, state 1"]);
    set_mode(&pin, TAKE);
    assert_eq!(pin.ks_stream_write(&[b"x"]), Ok(1), "KS-RS-05");
    drop((pin, filter, one));
    avs.end();
}

#[test]
fn ks_pn_08_a_kind_of_pin_has_as_many_instances_as_it_may() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let one = filter.pin(0, false).expect("one");
    let two = filter.pin(0, false).expect("two");
    assert_eq!(filter.pin(0, false).map(drop), Err(NtStatus::INVALID_DEVICE_STATE.error()));
    drop(one);
    let three = filter.pin(0, false).expect("a slot is free");
    assert_eq!(filter.pin(9, false).map(drop), Err(NtStatus::INVALID_PARAMETER.error()), "KS-PR-19");
    drop((two, three, filter));
    avs.end();
}

#[test]
fn ks_pn_13_a_format_is_changed_by_the_driver_or_not_at_all() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    avs.take_lines();
    let good = format(1);
    set_format(&pin, KSPROPERTY_CONNECTION_DATAFORMAT, &good).expect("a new format");
    assert_eq!(avs.take_lines(), ["pin 0 format, old 0, new 1, range 1"]);
    assert_eq!(get_format(&pin), good);
    let bad = set_format(&pin, KSPROPERTY_CONNECTION_DATAFORMAT, &format(666));
    assert_eq!(bad, Err(NtStatus::INVALID_DEVICE_STATE.error()));
    assert_eq!(get_format(&pin), good, "a refusal keeps the old one");
    avs.take_lines();
    set_format(&pin, KSPROPERTY_CONNECTION_PROPOSEDATAFORMAT, &format(7)).expect("it would be taken");
    assert!(avs.take_lines().is_empty() && get_format(&pin) == good, "KS-PN-14: a proposal changes nothing");
    let fixed = filter.pin(2, false).expect("pin");
    let refusal = set_format(&fixed, KSPROPERTY_CONNECTION_DATAFORMAT, &good);
    assert_eq!(refusal, Err(NtStatus::INVALID_DEVICE_REQUEST.error()), "KSPIN_FLAG_FIXED_FORMAT");
    drop((pin, fixed, filter));
    avs.end();
}

#[test]
fn ks_h_13_a_fifo_pin_ends_its_requests_in_order() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 4, CLONE);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    release(&pin, 2).expect("an attempt");
    let two = Pending::write(&avs, &pin, &[b"de"]);
    release(&pin, 2).expect("an attempt");
    release(&pin, 7).expect("the second frame is done first");
    assert_eq!((one.result(), two.result()), (None, None), "and held");
    release(&pin, 0).expect("the first one");
    assert_eq!((one.result(), two.result()), (Some((NtStatus::SUCCESS, 3)), Some((NtStatus::SUCCESS, 2))));
    drop((pin, filter, one, two));
    avs.end();
}

#[test]
fn ks_av_15_a_gate_that_is_off_keeps_the_pin_from_processing() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    release(&pin, 5).expect("off");
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    assert_eq!((one.result(), counts(&pin).calls), (None, 0));
    release(&pin, 6).expect("on");
    assert_eq!(one.result(), None, "an open gate starts nothing by itself");
    release(&pin, 2).expect("an attempt");
    assert_eq!(one.result(), Some((NtStatus::SUCCESS, 3)));
    drop((pin, filter, one));
    avs.end();
}

#[test]
fn ks_v_12_a_process_routine_that_gets_nowhere_is_stopped_and_reported() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, STUCK);
    let one = Pending::write(&avs, &pin, &[b"abc"]);
    assert_eq!(avs.findings(), ["KS-V-12"]);
    assert!(counts(&pin).calls >= 1000);
    set_mode(&pin, TAKE);
    release(&pin, 2).expect("an attempt");
    assert_eq!(one.result(), Some((NtStatus::SUCCESS, 3)));
    drop((pin, filter, one));
    avs.end();
}

#[test]
fn ks_av_12_a_filter_centric_filter_processes_all_its_pins_at_once() {
    let avs = Avs::new();
    let filter = avs.open("\\centric").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    avs.take_lines();
    assert_eq!(pin.set_state(KSSTATE_PAUSE), Ok(()));
    avs.take_lines();
    assert_eq!(pin.ks_stream_write(&[b"abcdef"]), Ok(6));
    let calls = ["centric process, 1 pins, 6 bytes, flags 0", "centric process, 1 pins, 2 bytes, flags 0"];
    assert_eq!(avs.take_lines(), calls, "KS-AV-13: by what was used, until the frame is empty");
    assert_eq!(counts(&pin).sum, sum(b"abcdef"));
    set_mode(&pin, STUCK);
    assert_eq!(pin.ks_stream_write(&[b"abcdef"]), Ok(6), "Terminate ends a frame before its end");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_d_17_a_device_that_was_not_started_opens_no_filter() {
    let avs = Avs::new();
    avs.pretend_not_started(true);
    assert_eq!(avs.open("").map(drop), Err(NtStatus::DEVICE_NOT_READY.error()));
    avs.pretend_not_started(false);
    avs.open("").expect("started");
    avs.end();
}

#[test]
fn ks_pr_18_a_drivers_properties_stand_beside_the_built_in_ones() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    set_mode(&pin, 5);
    assert_eq!(property(&pin, T_SET, 0, KSPROPERTY_TYPE_GET, 4), Ok(5_u32.to_le_bytes().to_vec()), "the driver's");
    let state = property(&pin, KSPROPSETID_Connection, KSPROPERTY_CONNECTION_STATE, KSPROPERTY_TYPE_GET, 4);
    assert_eq!(state, Ok(vec![0; 4]), "ours");
    let sets = property(&pin, GUID_NULL, 0, KSPROPERTY_TYPE_SETSUPPORT, 64).expect("sets");
    assert_eq!(sets.len(), 48, "KS-PR-14: one of the driver's, two of ours");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_pr_03_04_05_a_request_that_does_not_fit_is_told_what_would() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    let get = |set, id, room| raw_property(&pin, set, id, KSPROPERTY_TYPE_GET, 24, room).0;
    assert_eq!(get(T_SET, 0, 0), (NtStatus::BUFFER_OVERFLOW, 4));
    assert_eq!(get(T_SET, 0, 3), (NtStatus::BUFFER_TOO_SMALL, 4));
    assert_eq!(get(T_SET, 1, 15), (NtStatus::BUFFER_TOO_SMALL, 16));
    assert_eq!(get(T_SET, 3, 16), (NtStatus::INVALID_PARAMETER, 32), "KS-PR-03: MinProperty");
    assert_eq!(get(T_SET, 99, 16).0, NtStatus::NOT_FOUND);
    assert_eq!(get(T_SET, 2, 16).0, NtStatus::NOT_FOUND, "no handler for that direction");
    assert_eq!(get(T_METHODS, 0, 16).0, NtStatus::PROPSET_NOT_FOUND, "a method set is no property set");
    assert_eq!(raw_property(&pin, T_SET, 1, KSPROPERTY_TYPE_SET, 24, 16).0.0, NtStatus::NOT_FOUND);
    assert_eq!(raw_property(&pin, T_SET, 0, KSPROPERTY_TYPE_SET, 24, 3).0, (NtStatus::BUFFER_TOO_SMALL, 4));
    assert_eq!(raw_property(&pin, T_SET, 0, KSPROPERTY_TYPE_GET, 20, 4).0.0, NtStatus::INVALID_BUFFER_SIZE, "KS-PR-02");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_pr_12_basic_support_and_relations_come_from_the_item_after_the_support_handler() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    avs.take_lines();
    let both = KSPROPERTY_TYPE_GET | KSPROPERTY_TYPE_SET;
    let support = |id, room| raw_property(&pin, T_SET, id, KSPROPERTY_TYPE_BASICSUPPORT, 24, room);
    assert_eq!(support(0, 4), ((NtStatus::SUCCESS, 4), both.to_le_bytes().to_vec()));
    assert_eq!(avs.take_lines(), ["support handler"], "KS-PR-10: SOME_NOT_MAPPED leaves it to us");
    assert_eq!(support(1, 4).1, KSPROPERTY_TYPE_GET.to_le_bytes());
    assert_eq!(support(2, 4).1, KSPROPERTY_TYPE_SET.to_le_bytes());
    let (said, whole) = support(0, 40);
    assert_eq!((said, &whole[..8]), ((NtStatus::SUCCESS, 40), &[3, 0, 0, 0, 40, 0, 0, 0][..]));
    assert_eq!(support(0, 3).0.0, NtStatus::BUFFER_TOO_SMALL);
    let relations = |room| raw_property(&pin, T_SET, 0, KSPROPERTY_TYPE_RELATIONS, 24, room);
    assert_eq!(relations(0).0, (NtStatus::BUFFER_OVERFLOW, 56), "KS-PR-13");
    assert_eq!(relations(8).1, [56_u32.to_le_bytes(), 2_u32.to_le_bytes()].concat());
    assert_eq!(relations(20).0, (NtStatus::BUFFER_TOO_SMALL, 56));
    assert_eq!(relations(56).0, (NtStatus::SUCCESS, 56));
    assert_eq!(raw_property(&pin, T_SET, 1, KSPROPERTY_TYPE_DEFAULTVALUES, 24, 8).0.0, NtStatus::NOT_FOUND, "KS-PR-16");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_me_01_the_item_says_which_way_a_methods_data_goes() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    avs.take_lines();
    assert_eq!(method(&pin, 0, 0, Some(21)), ((NtStatus::SUCCESS, 4), 42), "MODIFY: both ways, KS-ME-03");
    assert_eq!(method(&pin, 1, 0, Some(5)), ((NtStatus::SUCCESS, 0), 5), "READ: nothing comes back");
    assert_eq!(method(&pin, 2, 0, Some(9)), ((NtStatus::SUCCESS, 4), 77), "WRITE: nothing goes in");
    assert_eq!(avs.take_lines(), ["method read 5", "method write sees 0"]);
    assert_eq!(method(&pin, 9, 0, Some(0)).0.0, NtStatus::NOT_FOUND, "KS-ME-06");
    assert_eq!(method(&pin, 1, 0, None).0, (NtStatus::BUFFER_OVERFLOW, 4), "KS-ME-02");
    assert_eq!(method(&pin, 0, KSMETHOD_TYPE_BASICSUPPORT, Some(0)), ((NtStatus::SUCCESS, 4), 3), "the item's flags");
    assert_eq!(method(&pin, 2, KSMETHOD_TYPE_BASICSUPPORT, Some(0)), ((NtStatus::SUCCESS, 4), 2));
    assert_eq!(method(&pin, 0, KSMETHOD_TYPE_SETSUPPORT, Some(0)).0, (NtStatus::SUCCESS, 0), "the set is known");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_pr_19_20_21_a_filter_tells_about_its_pins() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    assert_eq!(about_pin(&filter, KSPROPERTY_PIN_CTYPES, 0, 4), Ok(6_u32.to_le_bytes().to_vec()));
    assert_eq!(about_pin(&filter, KSPROPERTY_PIN_DATAFLOW, 1, 4), Ok(2_u32.to_le_bytes().to_vec()));
    assert_eq!(about_pin(&filter, KSPROPERTY_PIN_DATAFLOW, 6, 4), Err(NtStatus::INVALID_PARAMETER));
    let pin = filter.pin(0, false).expect("pin");
    assert_eq!(
        about_pin(&filter, KSPROPERTY_PIN_CINSTANCES, 0, 8),
        Ok([2_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat())
    );
    let ranges = about_pin(&filter, KSPROPERTY_PIN_DATARANGES, 0, 200).expect("ranges");
    assert_eq!((ranges.len(), &ranges[..8]), (8 + 128, &[136, 0, 0, 0, 2, 0, 0, 0][..]));
    for id in [KSPROPERTY_PIN_INTERFACES, KSPROPERTY_PIN_MEDIUMS] {
        assert_eq!(about_pin(&filter, id, 0, 100).expect("a list").len(), 32, "none declared: the standard one");
    }
    assert!(about_pin(&filter, KSPROPERTY_PIN_NAME, 0, 16).is_err(), "KS-PR-22");
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_av_every_check_of_the_driver_holds() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    for mode in [TAKE, PIECES, CLONE] {
        let pin = running(&filter, 0, mode);
        let frames: &[&[u8]] = if mode == CLONE { &[b"abcdefg"] } else { &[b"abcdefg", b"hij"] };
        let one = Pending::write(&avs, &pin, frames);
        drop((pin, one));
    }
    drop(filter);
    assert!(avs.good() >= 40, "{} checks only", avs.good());
    avs.end();
}
