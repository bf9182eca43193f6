//! One rule at a time on a compiled AVStream driver: resets, pins, states, properties, methods (tests/drivers/t_avs.c).

mod avs;

use avs::*;
use nt_abi::ks::*;
use nt_machine::{KernelFile, NtError, NtStatus};

const TAKE: u32 = 0;
const CLONE: u32 = 2;
const IDLE: u32 = 6;

fn refused<T>(status: NtStatus) -> Result<T, NtError> {
    Err(status.error())
}

/// A driver, its first filter, and a pin of a kind.
struct Bench {
    pin: KernelFile,
    filter: KernelFile,
    avs: Avs,
}

impl Bench {
    fn new(id: u32) -> Self {
        let avs = Avs::new();
        let filter = avs.open("").expect("filter");
        let pin = filter.pin(id, false).expect("pin");
        avs.take_lines();
        Self { pin, filter, avs }
    }
    fn running(mode: u32) -> Self {
        let bench = Self::new(0);
        set_mode(&bench.pin, mode);
        bench.pin.set_state(KSSTATE_RUN).expect("run");
        bench.avs.take_lines();
        bench
    }
    /// The filter's side of a request about a pin property.
    fn get(&self, set: GUID, id: u32, length: usize, room: usize) -> (NtStatus, u64) {
        raw_property(&self.pin, set, id, KSPROPERTY_TYPE_GET, length, room).0
    }
    fn end(self) {
        let Self { pin, filter, avs } = self;
        drop((pin, filter));
        avs.end();
    }
}

#[test]
fn ks_rs_01_a_reset_request_is_one_word_of_two_values() {
    let bench = Bench::new(0);
    assert_eq!(raw_reset(&bench.pin, &[0; 3]).0, NtStatus::INVALID_PARAMETER);
    assert_eq!(raw_reset(&bench.pin, &2_u32.to_le_bytes()).0, NtStatus::INVALID_PARAMETER);
    assert_eq!(raw_reset(&bench.pin, &KSRESET_BEGIN.to_le_bytes()), (NtStatus::SUCCESS, 0));
    bench.end();
}

#[test]
fn ks_rs_03_in_reset_requests_are_refused_and_properties_work() {
    let bench = Bench::running(TAKE);
    reset(&bench.pin, KSRESET_BEGIN).expect("begin");
    assert_eq!(bench.pin.ks_stream_write(&[b"x"]), refused(NtStatus::DEVICE_NOT_READY));
    assert_eq!(counts(&bench.pin).bytes, 0, "a property");
    bench.pin.set_state(KSSTATE_PAUSE).expect("a state");
    bench.end();
}

#[test]
fn ks_rs_04_states_do_not_end_a_reset() {
    let bench = Bench::running(TAKE);
    reset(&bench.pin, KSRESET_BEGIN).expect("begin");
    for state in [KSSTATE_STOP, KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN] {
        bench.pin.set_state(state).expect("a state");
    }
    assert_eq!(bench.pin.ks_stream_write(&[b"x"]), refused(NtStatus::DEVICE_NOT_READY));
    bench.end();
}

#[test]
fn ks_rs_05_the_end_of_a_reset_accepts_data_in_the_state_that_was() {
    let bench = Bench::running(TAKE);
    reset(&bench.pin, KSRESET_BEGIN).expect("begin");
    reset(&bench.pin, KSRESET_END).expect("end");
    assert_eq!(bench.pin.ks_stream_write(&[b"abc"]), Ok(3), "still running");
    bench.end();
}

#[test]
fn ks_rs_06_a_second_begin_and_a_bare_end_do_nothing() {
    let bench = Bench::running(IDLE);
    let one = Pending::write(&bench.avs, &bench.pin, &[b"abc"]);
    reset(&bench.pin, KSRESET_END).expect("an end without a begin");
    assert_eq!((one.result(), bench.avs.take_lines().len()), (None, 0));
    reset(&bench.pin, KSRESET_BEGIN).expect("begin");
    assert_eq!(bench.avs.take_lines().len(), 1);
    reset(&bench.pin, KSRESET_BEGIN).expect("and again");
    assert!(bench.avs.take_lines().is_empty());
    drop(one);
    bench.end();
}

#[test]
fn ks_pn_07_each_range_that_matches_is_offered_before_create() {
    let bench = Bench::new(0);
    drop(bench.filter.pin(0, false).expect("pin"));
    let lines = bench.avs.take_lines();
    let expected = ["pin 0 format, old -1, new 0, range 1", "pin 0 format, old -1, new 0, range 0"];
    assert_eq!(lines[..2], expected, "NO_MATCH tries the next range");
    assert!(lines[2].starts_with("pin 0 create"));
    let bad = pin_with(&bench.filter, 0, &format(666));
    assert_eq!(bad.map(drop), refused(NtStatus::INVALID_DEVICE_STATE), "another error is the create's");
    assert!(bench.avs.take_lines().iter().all(|line| !line.contains("create")));
    let none = pin_with(&bench.filter, 0, &with_major(&format(1), KSPROPSETID_Pin));
    assert_eq!(none.map(drop), refused(NtStatus::NO_MATCH), "no range at all");
    bench.end();
}

#[test]
fn ks_pn_09_a_new_pin_is_stopped_and_has_its_filters_context() {
    let bench = Bench::new(0);
    drop(bench.filter.pin(0, false).expect("pin"));
    let lines = bench.avs.take_lines();
    let expected = "pin 0 create, context 2222, state 0 0, reset 1, header 0, format 64";
    assert!(lines.iter().any(|line| line == expected), "{lines:?}");
    bench.end();
}

#[test]
fn ks_pn_10_the_header_size_is_56_unless_the_driver_says_more() {
    let bench = Bench::new(0);
    let (set, id) = (KSPROPSETID_StreamInterface, KSPROPERTY_STREAMINTERFACE_HEADERSIZE);
    assert_eq!(property(&bench.pin, set, id, KSPROPERTY_TYPE_GET, 4), Ok(56_u32.to_le_bytes().to_vec()));
    bench.end();
}

#[test]
fn ks_pn_11_a_create_that_fails_leaves_no_instance() {
    let bench = Bench::new(0);
    for _ in 0..3 {
        assert!(pin_with(&bench.filter, 0, &format(666)).is_err());
    }
    let two = bench.filter.pin(0, false).expect("the second of two instances");
    assert_eq!(about_pin(&bench.filter, KSPROPERTY_PIN_CINSTANCES, 0, 8).expect("counts")[4..], [2, 0, 0, 0]);
    drop(two);
    bench.end();
}

#[test]
fn ks_pn_12_a_pin_that_denies_user_mode_is_the_kernels() {
    let bench = Bench::new(0);
    drop(bench.filter.pin(2, false).expect("kernel code may"));
    assert_eq!(bench.avs.pin_by_user(2), NtStatus::ACCESS_DENIED);
    assert_eq!(bench.avs.pin_by_user(0), NtStatus::SUCCESS, "and other pins are for everybody");
    bench.end();
}

#[test]
fn ks_pn_14_a_proposal_changes_nothing() {
    let bench = Bench::new(0);
    let before = get_format(&bench.pin);
    let propose = |format: &[u8]| set_format(&bench.pin, KSPROPERTY_CONNECTION_PROPOSEDATAFORMAT, format);
    assert_eq!(propose(&format(7)), Ok(()));
    assert_eq!(propose(&with_major(&format(7), KSPROPSETID_Pin)), refused(NtStatus::NO_MATCH));
    assert!(get_format(&bench.pin) == before && bench.avs.take_lines().is_empty());
    bench.end();
}

#[test]
fn ks_pn_15_an_intersection_tries_the_callers_ranges_in_order() {
    let bench = Bench::new(0);
    let (other, good) = (with_major(&format(0), KSPROPSETID_Pin), format(0));
    let ask = |ranges: &[&[u8]], room| intersection(&bench.filter, 0, ranges, room);
    assert_eq!(ask(&[&other], 64).0, (NtStatus::NO_MATCH, 0));
    let (said, found) = ask(&[&other, &good], 64);
    assert_eq!(said, (NtStatus::SUCCESS, 64));
    assert_eq!(found[8..12], [1, 0, 0, 0], "the pin's first range");
    assert_eq!(ask(&[&with_major(&good, GUID_NULL)], 64).0, (NtStatus::SUCCESS, 64), "a wildcard on the caller's side");
    bench.end();
}

#[test]
fn ks_pn_16_an_intersection_says_its_size() {
    let bench = Bench::new(0);
    let good = format(0);
    assert_eq!(intersection(&bench.filter, 0, &[&good], 0).0, (NtStatus::BUFFER_OVERFLOW, 64));
    assert_eq!(intersection(&bench.filter, 0, &[&good], 10).0, (NtStatus::BUFFER_TOO_SMALL, 64));
    bench.end();
}

#[test]
fn ks_pn_17_without_a_handler_only_bare_formats_intersect() {
    let bench = Bench::new(0);
    let mut special = format(0);
    special[48..64].copy_from_slice(&KSPROPSETID_Pin.to_bytes());
    assert_eq!(intersection(&bench.filter, 0, &[&special], 64).0.0, NtStatus::NO_MATCH);
    let (_, found) = intersection(&bench.filter, 0, &[&format(0)], 64);
    assert_eq!((&found[..4], found.len()), (&[64, 0, 0, 0][..], 64));
    bench.end();
}

#[test]
fn ks_pn_21_a_pin_that_declares_no_framing_says_so() {
    let bench = Bench::new(0);
    for id in [KSPROPERTY_CONNECTION_ALLOCATORFRAMING, KSPROPERTY_CONNECTION_ALLOCATORFRAMING_EX] {
        assert_eq!(bench.get(KSPROPSETID_Connection, id, 24, 24).0, NtStatus::NOT_FOUND);
    }
    let framed = bench.filter.pin(5, false).expect("pin");
    let framing = |id, room| raw_property(&framed, KSPROPSETID_Connection, id, KSPROPERTY_TYPE_GET, 24, room);
    let old = KSPROPERTY_CONNECTION_ALLOCATORFRAMING;
    assert_eq!(framing(old, 0).0, (NtStatus::BUFFER_OVERFLOW, 24));
    assert_eq!(framing(old, 20).0, (NtStatus::BUFFER_TOO_SMALL, 24));
    let (said, raw) = framing(old, 24);
    assert_eq!(said, (NtStatus::SUCCESS, 24));
    assert_eq!(
        (raw[8], raw[12..16].to_vec()),
        (3, 4096_u32.to_le_bytes().to_vec()),
        "frames and size of the first item"
    );
    drop(framed);
    bench.end();
}

#[test]
fn ks_al_06_the_whole_framing_can_be_asked_for() {
    let bench = Bench::new(5);
    let framing = |room| bench.get(KSPROPSETID_Connection, KSPROPERTY_CONNECTION_ALLOCATORFRAMING_EX, 24, room);
    assert_eq!(framing(0), (NtStatus::BUFFER_OVERFLOW, 24 + 88));
    assert_eq!(framing(112), (NtStatus::SUCCESS, 112));
    bench.end();
}

#[test]
fn ks_pn_22_a_close_goes_down_step_by_step_and_cancels() {
    let bench = Bench::running(IDLE);
    let one = Pending::write(&bench.avs, &bench.pin, &[b"abc"]);
    let Bench { pin, filter, avs } = bench;
    avs.take_lines();
    drop(pin);
    let lines = avs.take_lines();
    let down: Vec<_> = lines.iter().map(|line| line.split(',').next().unwrap_or_default()).collect();
    let expected = ["pin 0 state 2 from 3", "pin 0 state 1 from 2", "pin 0 state 0 from 1", "pin 0 close"];
    assert_eq!(down[..4], expected, "Close comes last: nothing was in the queue any more");
    assert_eq!(one.result(), None, "the client closed its last handle, so nobody is told (NT-Q-14)");
    drop((one, filter));
    avs.end();
}

#[test]
fn ks_st_04_the_clients_state_is_the_step_and_the_devices_the_goal() {
    let bench = Bench::new(2);
    assert!(bench.pin.set_state(KSSTATE_RUN).is_err());
    let lines = bench.avs.take_lines();
    assert_eq!(lines[0], "pin 2 state 1 from 0, device 3, client 1");
    assert_eq!(lines[2], "pin 2 state 3 from 2, device 3, client 3");
    bench.pin.set_state(KSSTATE_ACQUIRE).expect("acquire");
    assert_eq!(bench.avs.take_lines(), ["pin 2 state 1 from 0, device 1, client 1"], "rolled back before");
    bench.end();
}

#[test]
fn ks_st_06_the_same_state_again_calls_nobody() {
    let bench = Bench::new(0);
    bench.pin.set_state(KSSTATE_STOP).expect("stopped already");
    bench.pin.set_state(KSSTATE_PAUSE).expect("pause");
    bench.avs.take_lines();
    bench.pin.set_state(KSSTATE_PAUSE).expect("paused already");
    assert!(bench.avs.take_lines().is_empty());
    bench.end();
}

#[test]
fn ks_st_11_acquire_keeps_the_frames_and_stop_gives_them_back() {
    let bench = Bench::running(IDLE);
    let one = Pending::write(&bench.avs, &bench.pin, &[b"abc"]);
    bench.pin.set_state(KSSTATE_ACQUIRE).expect("acquire");
    assert_eq!(one.result(), None);
    assert_eq!(bench.pin.ks_stream_write(&[b"x"]), refused(NtStatus::INVALID_DEVICE_REQUEST));
    bench.pin.set_state(KSSTATE_STOP).expect("stop");
    assert_eq!(one.result(), Some((NtStatus::CANCELLED, 0)));
    drop(one);
    bench.end();
}

#[test]
fn ks_av_13_a_filter_advances_each_pin_by_what_it_used() {
    let avs = Avs::new();
    let filter = avs.open("\\centric").expect("filter");
    let pin = filter.pin(0, false).expect("pin");
    pin.set_state(KSSTATE_RUN).expect("run");
    avs.take_lines();
    assert_eq!(pin.ks_stream_write(&[b"abcde", b"f"]), Ok(6));
    let bytes: Vec<_> = avs.take_lines().iter().filter_map(|line| line.split(", ").nth(2).map(str::to_owned)).collect();
    assert_eq!(bytes, ["5 bytes", "1 bytes", "1 bytes"]);
    assert_eq!(counts(&pin).sum, sum(b"abcdef"));
    drop((pin, filter));
    avs.end();
}

#[test]
fn ks_av_19_a_pointer_without_a_frame_cannot_be_locked() {
    let bench = Bench::running(CLONE);
    let one = Pending::write(&bench.avs, &bench.pin, &[b"abc"]);
    assert_eq!(release(&bench.pin, 4), Ok(()), "a clone on its frame");
    assert_eq!(release(&bench.pin, 8), Ok(()), "and unlocked again");
    one.cancel();
    assert_eq!(release(&bench.pin, 4), refused(NtStatus::DEVICE_NOT_READY));
    drop(one);
    bench.end();
}

#[test]
fn ks_pr_02_a_request_is_at_least_a_property() {
    let bench = Bench::new(0);
    for length in [0, 8, 23] {
        assert_eq!(bench.get(T_SET, 0, length, 4).0, NtStatus::INVALID_BUFFER_SIZE);
    }
    bench.end();
}

#[test]
fn ks_pr_04_a_buffer_that_is_too_short_is_told_the_size() {
    let bench = Bench::new(0);
    assert_eq!(bench.get(T_SET, 1, 24, 0), (NtStatus::BUFFER_OVERFLOW, 16));
    assert_eq!(bench.get(T_SET, 1, 24, 15), (NtStatus::BUFFER_TOO_SMALL, 16));
    let set = |room| raw_property(&bench.pin, T_SET, 0, KSPROPERTY_TYPE_SET, 24, room).0;
    assert_eq!((set(0).0, set(3)), (NtStatus::BUFFER_TOO_SMALL, (NtStatus::BUFFER_TOO_SMALL, 4)));
    bench.end();
}

#[test]
fn ks_pr_05_unknown_sets_ids_and_directions_have_their_statuses() {
    let bench = Bench::new(0);
    assert_eq!(bench.get(T_METHODS, 0, 24, 4).0, NtStatus::PROPSET_NOT_FOUND);
    assert_eq!(bench.get(T_SET, 77, 24, 4).0, NtStatus::NOT_FOUND);
    assert_eq!(bench.get(T_SET, 2, 24, 4).0, NtStatus::NOT_FOUND, "no get handler");
    assert_eq!(
        raw_property(&bench.pin, T_SET, 1, KSPROPERTY_TYPE_SET, 24, 16).0.0,
        NtStatus::NOT_FOUND,
        "no set handler"
    );
    bench.end();
}

#[test]
fn ks_pr_06_information_is_what_the_handler_says() {
    let bench = Bench::new(0);
    assert_eq!(bench.get(T_SET, 0, 24, 4), (NtStatus::SUCCESS, 4));
    assert_eq!(raw_property(&bench.pin, T_SET, 0, KSPROPERTY_TYPE_SET, 24, 4).0, (NtStatus::SUCCESS, 0));
    bench.end();
}

#[test]
fn ks_pr_08_large_items_are_named_in_the_packet() {
    let bench = Bench::new(0);
    assert_eq!(bench.get(T_SET, 4, 24, 4), (NtStatus::SUCCESS, 4), "the handler finds its item in DriverContext[3]");
    bench.end();
}

#[test]
fn ks_pr_10_a_handler_may_pend_and_end_the_request_itself() {
    let bench = Bench::new(0);
    let (said, raw) = raw_property(&bench.pin, T_SET, 5, KSPROPERTY_TYPE_GET, 24, 4);
    assert_eq!((said, raw), ((NtStatus::SUCCESS, 4), 99_u32.to_le_bytes().to_vec()));
    bench.end();
}

#[test]
fn ks_pr_13_relations_are_a_list_of_identifiers() {
    let bench = Bench::new(0);
    let ask = |room| raw_property(&bench.pin, T_SET, 0, KSPROPERTY_TYPE_RELATIONS, 24, room);
    assert_eq!(ask(0).0, (NtStatus::BUFFER_OVERFLOW, 56));
    assert_eq!(ask(4), ((NtStatus::SUCCESS, 4), 56_u32.to_le_bytes().to_vec()));
    assert_eq!(ask(8).1, [56_u32.to_le_bytes(), 2_u32.to_le_bytes()].concat());
    assert_eq!(ask(20).0, (NtStatus::BUFFER_TOO_SMALL, 56));
    let (said, raw) = ask(56);
    assert_eq!((said, raw[8 + 16], raw[8 + 24 + 16]), ((NtStatus::SUCCESS, 56), 5, 6));
    bench.end();
}

#[test]
fn ks_pr_14_the_sets_of_a_pin_are_the_drivers_and_ours() {
    let bench = Bench::new(0);
    let ask = |set, room| raw_property(&bench.pin, set, 0, KSPROPERTY_TYPE_SETSUPPORT, 24, room);
    assert_eq!(ask(GUID_NULL, 0).0, (NtStatus::BUFFER_OVERFLOW, 48));
    assert_eq!(ask(GUID_NULL, 47).0, (NtStatus::BUFFER_TOO_SMALL, 48));
    let (said, raw) = ask(GUID_NULL, 48);
    assert_eq!((said, &raw[..16]), ((NtStatus::SUCCESS, 48), &T_SET.to_bytes()[..]));
    assert_eq!(ask(T_SET, 0).0.0, NtStatus::SUCCESS);
    assert_eq!(ask(T_METHODS, 0).0.0, NtStatus::PROPSET_NOT_FOUND);
    bench.end();
}

#[test]
fn ks_pr_15_a_list_is_given_by_the_room_there_is() {
    let bench = Bench::new(0);
    let ask = |room| about_pin_raw(&bench.filter, KSPROPERTY_PIN_INTERFACES, 0, room);
    assert_eq!(ask(0).0, (NtStatus::BUFFER_OVERFLOW, 32));
    assert_eq!(ask(4), ((NtStatus::SUCCESS, 4), 32_u32.to_le_bytes().to_vec()));
    assert_eq!(ask(8).1, [32_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat());
    assert_eq!((ask(31).0, ask(32).0), ((NtStatus::BUFFER_TOO_SMALL, 32), (NtStatus::SUCCESS, 32)));
    bench.end();
}

#[test]
fn ks_pr_16_defaults_and_serialised_values_are_not_there() {
    let bench = Bench::new(0);
    for flags in [KSPROPERTY_TYPE_DEFAULTVALUES, KSPROPERTY_TYPE_SERIALIZESIZE, KSPROPERTY_TYPE_SERIALIZERAW] {
        assert_eq!(raw_property(&bench.pin, T_SET, 1, flags, 24, 16).0.0, NtStatus::NOT_FOUND);
    }
    bench.end();
}

#[test]
fn ks_pr_20_lists_of_a_pin_are_padded_and_never_empty() {
    let bench = Bench::new(0);
    let ranges = about_pin(&bench.filter, KSPROPERTY_PIN_DATARANGES, 0, 200).expect("ranges");
    assert_eq!((ranges.len(), &ranges[..8]), (136, &[136, 0, 0, 0, 2, 0, 0, 0][..]));
    let mediums = about_pin(&bench.filter, KSPROPERTY_PIN_MEDIUMS, 0, 100).expect("mediums");
    assert_eq!(mediums[8..24], KSMEDIUMSETID_Standard.to_bytes());
    bench.end();
}

#[test]
fn ks_pr_21_instances_are_counted_for_each_filter() {
    let bench = Bench::new(0);
    let other = bench.avs.open("").expect("another filter");
    let count = |filter| about_pin(filter, KSPROPERTY_PIN_CINSTANCES, 0, 8).expect("counts");
    assert_eq!(count(&bench.filter), [2, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(count(&other), [2, 0, 0, 0, 0, 0, 0, 0]);
    drop(other);
    bench.end();
}

#[test]
fn ks_pr_22_what_is_optional_is_an_error_that_a_client_can_live_with() {
    let bench = Bench::new(0);
    for id in [KSPROPERTY_PIN_NAME, KSPROPERTY_PIN_CATEGORY, KSPROPERTY_PIN_PHYSICALCONNECTION] {
        assert_eq!(about_pin(&bench.filter, id, 0, 64), Err(NtStatus::NOT_FOUND));
    }
    bench.end();
}

#[test]
fn ks_me_02_a_method_request_that_does_not_fit_is_refused() {
    let bench = Bench::new(0);
    assert_eq!(raw_method(&bench.pin, T_METHODS, 0, 20, &[0; 4]).0.0, NtStatus::INVALID_BUFFER_SIZE);
    assert_eq!(raw_method(&bench.pin, T_METHODS, 3, 24, &[0; 4]).0, (NtStatus::INVALID_PARAMETER, 32), "MinMethod");
    assert_eq!(raw_method(&bench.pin, T_METHODS, 1, 24, &[]).0, (NtStatus::BUFFER_OVERFLOW, 4));
    assert_eq!(raw_method(&bench.pin, T_METHODS, 1, 24, &[0; 3]).0, (NtStatus::BUFFER_TOO_SMALL, 4));
    bench.end();
}

#[test]
fn ks_me_03_what_a_method_produced_is_what_its_handler_says() {
    let bench = Bench::new(0);
    let (said, raw) = raw_method(&bench.pin, T_METHODS, 2, 24, &[1; 12]);
    assert_eq!(said, (NtStatus::SUCCESS, 4));
    assert_eq!(raw, [&77_u32.to_le_bytes()[..], &[1; 8]].concat(), "no more than Information bytes come back");
    bench.end();
}

#[test]
fn ks_me_05_a_method_may_end_later() {
    let bench = Bench::new(0);
    let (said, raw) = raw_method(&bench.pin, T_METHODS, 4, 24, &[0; 4]);
    assert_eq!((said, raw), ((NtStatus::SUCCESS, 4), 99_u32.to_le_bytes().to_vec()));
    bench.end();
}

#[test]
fn ks_me_06_what_a_method_is_can_be_asked_for() {
    let bench = Bench::new(0);
    assert_eq!(method(&bench.pin, 0, KSMETHOD_TYPE_BASICSUPPORT, Some(0)), ((NtStatus::SUCCESS, 4), 3));
    assert_eq!(method(&bench.pin, 1, KSMETHOD_TYPE_BASICSUPPORT, Some(0)), ((NtStatus::SUCCESS, 4), 1));
    assert_eq!(raw_method(&bench.pin, T_SET, 0, 24, &[0; 4]).0.0, NtStatus::PROPSET_NOT_FOUND);
    assert_eq!(raw_method(&bench.pin, T_METHODS, 77, 24, &[0; 4]).0.0, NtStatus::NOT_FOUND);
    bench.end();
}
