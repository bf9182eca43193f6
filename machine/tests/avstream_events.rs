//! Events of an AVStream pin: enabled, generated, disabled, and gone with the pin (tests/drivers/t_avs.c).

mod avs;

use avs::*;
use nt_abi::ks::*;
use nt_machine::NtStatus;

const TAKE: u32 = 0;

#[test]
fn ks_ev_01_enabling_takes_a_record_of_the_items_length() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let mut event = Wanted::object();
    assert_eq!(event.enable_with(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE, 31), (NtStatus::BUFFER_TOO_SMALL, 0));
    assert_eq!(event.enable_with(&pin, T_EVENTS, 1, KSEVENT_TYPE_ENABLE, 32), (NtStatus::BUFFER_TOO_SMALL, 0));
    assert_eq!(event.enable_with(&pin, T_EVENTS, 1, KSEVENT_TYPE_ENABLE, 40), (NtStatus::SUCCESS, 0));
    assert_eq!(event.enable_with(&pin, T_EVENTS, 0, 0, 32).0, NtStatus::INVALID_PARAMETER);
    drop((pin, filter, event));
    avs.end();
}

#[test]
fn ks_ev_02_user_mode_names_handles_only() {
    let avs = Avs::new();
    assert_eq!(avs.enable_by_user(KSEVENTF_EVENT_HANDLE, true), NtStatus::SUCCESS);
    assert_eq!(avs.enable_by_user(KSEVENTF_EVENT_HANDLE, false), NtStatus::INVALID_HANDLE);
    for kind in [KSEVENTF_EVENT_OBJECT, KSEVENTF_SEMAPHORE_OBJECT, KSEVENTF_DPC, KSEVENTF_WORKITEM, 0x40] {
        assert_eq!(avs.enable_by_user(kind, true), NtStatus::INVALID_PARAMETER, "{kind:#x}");
    }
    avs.end();
}

#[test]
fn ks_ev_03_kernel_code_names_objects_too() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let (mut event, mut semaphore) = (Wanted::object(), Wanted::semaphore(3));
    assert_eq!(event.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    assert_eq!(semaphore.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    assert_eq!((event.state(), semaphore.state()), (0, 0));
    release(&pin, 9).expect("generated");
    assert_eq!((event.state(), semaphore.state()), (1, 3), "KS-EV-09: a semaphore by its adjustment");
    drop((pin, filter, event, semaphore));
    avs.end();
}

#[test]
fn ks_ev_04_an_event_stays_and_a_one_shot_goes() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let (mut stays, mut once) = (Wanted::semaphore(1), Wanted::semaphore(1));
    assert_eq!(stays.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    assert_eq!(once.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ONESHOT), NtStatus::SUCCESS);
    for _ in 0..3 {
        release(&pin, 9).expect("generated");
    }
    assert_eq!((stays.state(), once.state()), (3, 1));
    assert_eq!(once.disable(&pin), NtStatus::UNSUCCESSFUL, "it is gone");
    assert_eq!(stays.disable(&pin), NtStatus::SUCCESS);
    release(&pin, 9).expect("generated");
    assert_eq!(stays.state(), 3, "KS-EV-14: never again");
    drop((pin, filter, stays, once));
    avs.end();
}

#[test]
fn ks_ev_05_an_event_is_the_address_of_its_record() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let (mut one, mut two) = (Wanted::semaphore(1), Wanted::semaphore(1));
    assert_eq!(one.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    assert_eq!(two.disable(&pin), NtStatus::UNSUCCESSFUL, "the same contents at another address");
    assert_eq!(two.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    assert_eq!(one.disable_length(&pin, 31), NtStatus::INVALID_BUFFER_SIZE);
    assert_eq!(one.disable_length(&pin, 0), NtStatus::SUCCESS, "no record: all of the file object");
    release(&pin, 9).expect("generated");
    assert_eq!((one.state(), two.state()), (0, 0));
    assert_eq!(one.disable(&pin), NtStatus::UNSUCCESSFUL);
    drop((pin, filter, one, two));
    avs.end();
}

#[test]
fn ks_ev_08_unknown_sets_and_events_have_their_statuses() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let mut event = Wanted::object();
    assert_eq!(event.enable(&pin, T_SET, 0, KSEVENT_TYPE_ENABLE), NtStatus::PROPSET_NOT_FOUND);
    assert_eq!(event.enable(&pin, T_EVENTS, 9, KSEVENT_TYPE_ENABLE), NtStatus::NOT_FOUND);
    drop((pin, filter, event));
    avs.end();
}

#[test]
fn ks_ev_10_all_entries_of_an_id_are_generated_and_of_the_set_if_one_is_named() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let (mut zero, mut one, mut other) = (Wanted::semaphore(1), Wanted::semaphore(1), Wanted::semaphore(1));
    assert_eq!(zero.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    for each in [&mut one, &mut other] {
        assert_eq!(each.enable_with(&pin, T_EVENTS, 1, KSEVENT_TYPE_ENABLE, 40).0, NtStatus::SUCCESS);
    }
    release(&pin, 10).expect("generated with no set");
    assert_eq!((zero.state(), one.state(), other.state()), (0, 1, 1));
    release(&pin, 9).expect("generated with the set");
    assert_eq!((zero.state(), one.state(), other.state()), (1, 1, 1));
    drop((pin, filter, zero, one, other));
    avs.end();
}

#[test]
fn ks_ev_13_the_close_of_a_file_object_lets_its_events_go() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let mut event = Wanted::handle(&pin);
    let before = event.references();
    assert_eq!(event.enable(&pin, T_EVENTS, 0, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    assert_eq!(event.references(), before + 1, "KS-EV-02: the object of a handle is counted");
    drop(pin);
    assert_eq!(event.references(), before);
    drop((event, filter));
    avs.end();
}

#[test]
fn ks_ev_15_what_events_there_are_can_be_asked_for() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, TAKE);
    let mut event = Wanted::object();
    assert_eq!(event.enable_with(&pin, GUID_NULL, 0, KSEVENT_TYPE_SETSUPPORT, 0), (NtStatus::BUFFER_OVERFLOW, 16));
    assert_eq!(event.enable_with(&pin, GUID_NULL, 0, KSEVENT_TYPE_SETSUPPORT, 8), (NtStatus::BUFFER_TOO_SMALL, 16));
    assert_eq!(event.enable_with(&pin, GUID_NULL, 0, KSEVENT_TYPE_SETSUPPORT, 16), (NtStatus::SUCCESS, 16));
    assert_eq!(event.enable_with(&pin, T_SET, 0, KSEVENT_TYPE_SETSUPPORT, 0).0, NtStatus::PROPSET_NOT_FOUND);
    assert_eq!(event.enable_with(&pin, T_EVENTS, 1, KSEVENT_TYPE_BASICSUPPORT, 0).0, NtStatus::SUCCESS);
    assert_eq!(event.enable_with(&pin, T_EVENTS, 2, KSEVENT_TYPE_BASICSUPPORT, 0).0, NtStatus::NOT_FOUND);
    drop((pin, filter, event));
    avs.end();
}

#[test]
fn ks_ev_16_the_end_of_a_stream_is_told_once_a_frame_before_its_request_ends() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, 6);
    let mut end = Wanted::semaphore(1);
    let id = KSEVENT_CONNECTION_ENDOFSTREAM;
    assert_eq!(end.enable(&pin, KSEVENTSETID_Connection, id, KSEVENT_TYPE_ENABLE), NtStatus::SUCCESS);
    let plain = Pending::write(&avs, &pin, &[b"abc"]);
    let last = Pending::last(&avs, &pin, &[b"de", b"fgh"]);
    assert_eq!(end.state(), 0, "nothing was consumed");
    set_mode(&pin, TAKE);
    release(&pin, 2).expect("an attempt");
    assert_eq!((plain.result(), last.result()), (Some((NtStatus::SUCCESS, 3)), Some((NtStatus::SUCCESS, 5))));
    assert_eq!(end.state(), 1, "KS-H-16: it may carry data");
    drop((pin, filter, end, plain, last));
    avs.end();
}

#[test]
fn ks_h_16_the_last_frame_may_carry_data() {
    let avs = Avs::new();
    let filter = avs.open("").expect("filter");
    let pin = running(&filter, 0, 6);
    let last = Pending::last(&avs, &pin, &[b"abc"]);
    set_mode(&pin, TAKE);
    release(&pin, 2).expect("an attempt");
    assert_eq!((last.result(), counts(&pin).sum), (Some((NtStatus::SUCCESS, 3)), sum(b"abc")));
    drop((pin, filter, last));
    avs.end();
}
