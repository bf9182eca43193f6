//! Header lists on their way back, and what the verifier says of the driver that sends them (ks.md sections 7 and 23).
mod device;
mod stream;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::Findings;
use nt_abi::NtStatus;
use nt_abi::io::IRP;
use nt_abi::ks::*;
use nt_cell::Addr;
use nt_ke::Mode;
use nt_ks::probe;
use nt_ks::streamio::StreamRequest;
use stream::*;
use support::*;

const WRITE: u32 = KSPROBE_STREAMWRITE;
const LOCK: u32 = KSPROBE_ALLOCATEMDL | KSPROBE_PROBEANDLOCK;

/// A driver that fills `used` bytes of each header in its list, and ends the read like this.
fn reading(used: &'static [u32], status: NtStatus, information: u64) -> Kind {
    Kind::new(move |irp| {
        probe::probe_stream_irp(irp.irp(), KSPROBE_STREAMREAD | LOCK, 0).expect("a good list");
        let list = probe::list(irp.irp());
        for (index, used) in used.iter().enumerate() {
            let at = index * KSSTREAM_HEADER::SIZE;
            list.store::<u32>(at + KSSTREAM_HEADER::DataUsed.offset(), *used).expect("pool");
        }
        irp.complete(status, information)
    })
}

fn read_user(world: &World, kind: Kind, list: &UserList) -> (NtStatus, (NtStatus, u64)) {
    let stream = Stream::new(world, kind);
    let (mode, flags) = (Mode::User, KSSTREAM_READ);
    let request = StreamRequest { mode, flags, headers: list.addr(), length: list.length, ..stream.request() };
    (stream.go_as(Mode::User, &request), stream.result())
}

fn empty(count: usize) -> UserList {
    UserList::new(&vec![Head::of(16, 0); count])
}

#[test]
fn ks_h_06_information_bytes_of_the_list_go_back() {
    let world = World::new();
    let list = empty(2);
    let said = read_user(&world, reading(&[5, 6], NtStatus::SUCCESS, 112), &list);
    assert_eq!((said, list.used()), ((NtStatus::SUCCESS, (NtStatus::SUCCESS, 112)), vec![5, 6]));
    // More than the list: the bytes behind it stay.
    let list = empty(2);
    let behind = list.block.region().sub(112, 64);
    let before = behind.to_vec().expect("block");
    read_user(&world, reading(&[7, 8], NtStatus::SUCCESS, 176), &list);
    assert_eq!((list.used(), behind.to_vec().expect("block")), (vec![7, 8], before));
}

#[test]
fn ks_h_07_after_an_error_nothing_goes_back() {
    let world = World::new();
    let list = empty(2);
    let said = read_user(&world, reading(&[5, 6], NtStatus::IO_DEVICE_ERROR, 112), &list);
    assert_eq!((said.0, list.used()), (NtStatus::IO_DEVICE_ERROR, vec![0, 0]));
}

#[test]
fn ks_h_08_a_partial_read_gives_back_the_headers_that_were_used() {
    let world = World::new();
    let list = empty(3);
    let said = read_user(&world, reading(&[5, 6, 7], NtStatus::SUCCESS, 112), &list);
    assert_eq!((said, list.used()), ((NtStatus::SUCCESS, (NtStatus::SUCCESS, 112)), vec![5, 6, 0]));
}

#[test]
fn ks_h_24_a_read_of_nothing_is_a_success() {
    let world = World::new();
    let list = empty(1);
    let said = read_user(&world, reading(&[0], NtStatus::SUCCESS, 56), &list);
    assert_eq!((said, list.used()), ((NtStatus::SUCCESS, (NtStatus::SUCCESS, 56)), vec![0]));
}

#[test]
fn ks_h_22_what_extends_a_header_is_carried_along() {
    let world = World::new();
    let kind = Kind::new(|irp| {
        probe::probe_stream_irp(irp.irp(), WRITE | LOCK, 128).expect("a good list");
        let list = probe::list(irp.irp());
        let options = list.load::<u32>(KSSTREAM_HEADER::OptionsFlags.offset()).expect("pool");
        assert_eq!(options, KSSTREAM_HEADER_OPTIONSF_FRAMEINFO | KSSTREAM_HEADER_OPTIONSF_METADATA);
        assert_eq!(list.sub(56, 72).to_vec().expect("pool"), vec![0xA5; 72]);
        irp.complete(NtStatus::SUCCESS, 16)
    });
    let stream = Stream::new(&world, kind);
    let options = KSSTREAM_HEADER_OPTIONSF_FRAMEINFO | KSSTREAM_HEADER_OPTIONSF_METADATA;
    let list = UserList::new(&[Head { size: 128, options, ..Head::of(16, 16) }]);
    list.region().sub(56, 72).fill(0xA5).expect("block");
    let (mode, headers, length) = (Mode::User, list.addr(), list.length);
    let request = StreamRequest { mode, headers, length, ..stream.request() };
    assert_eq!(stream.go_as(Mode::User, &request), NtStatus::SUCCESS);
}

#[test]
fn ks_h_25_type_specific_flags_and_reserved_pass_unchanged() {
    let world = World::new();
    let words = [KSSTREAM_HEADER::TypeSpecificFlags.offset(), KSSTREAM_HEADER::Reserved.offset()];
    let kind = Kind::new(move |irp| {
        probe::probe_stream_irp(irp.irp(), KSPROBE_STREAMREAD, 56).expect("a good list");
        let list = probe::list(irp.irp());
        assert_eq!(words.map(|at| list.load::<u32>(at).expect("pool")), [0x1234_5678, 0x9ABC_DEF0]);
        irp.complete(NtStatus::SUCCESS, 56)
    });
    let list = empty(1);
    list.region().store::<u32>(words[0], 0x1234_5678).expect("block");
    list.region().store::<u32>(words[1], 0x9ABC_DEF0).expect("block");
    assert_eq!(read_user(&world, kind, &list).0, NtStatus::SUCCESS);
    assert_eq!(words.map(|at| list.region().load::<u32>(at).expect("block")), [0x1234_5678, 0x9ABC_DEF0]);
}

#[test]
fn ks_v_07_a_list_that_changed_before_the_end_of_a_write_is_reported() {
    let world = World::new();
    for (mode, changed) in [(Mode::Kernel, false), (Mode::Kernel, true), (Mode::User, true)] {
        let kind = Kind::new(move |irp| {
            probe::probe_stream_irp(irp.irp(), WRITE | LOCK, 56).expect("a good list");
            if changed {
                let at = KSSTREAM_HEADER::DataUsed.offset();
                probe::list(irp.irp()).store::<u32>(at, 0).expect("list");
            }
            irp.complete(NtStatus::SUCCESS, 8)
        });
        let stream = Stream::new(&world, kind);
        let findings = Findings::listen(&world);
        let user = UserList::new(&[Head::of(8, 8)]);
        let headers = if mode == Mode::User { user.addr() } else { stream.list.addr() };
        assert_eq!(stream.go_as(mode, &StreamRequest { mode, headers, ..stream.request() }), NtStatus::SUCCESS);
        assert_eq!(findings.rules(), if changed { vec!["KS-V-07"] } else { vec![] }, "{mode:?}");
    }
}

#[test]
fn ks_v_08_a_count_that_cannot_be_is_reported() {
    let world = World::new();
    for (count, good) in [(0, true), (56, true), (112, true), (55, false), (60, false), (168, false)] {
        let findings = Findings::listen(&world);
        let list = empty(2);
        read_user(&world, reading(&[1, 1], NtStatus::SUCCESS, count), &list);
        assert_eq!(findings.rules(), if good { vec![] } else { vec!["KS-V-08"] }, "a read of two headers: {count}");
    }
    for (count, good) in [(0, true), (8, true), (9, false)] {
        let findings = Findings::listen(&world);
        let kind = Kind::new(move |irp| {
            probe::probe_stream_irp(irp.irp(), WRITE, 56).expect("a good list");
            irp.complete(NtStatus::SUCCESS, count)
        });
        let stream = Stream::new(&world, kind);
        assert_eq!(stream.go(&stream.request()), NtStatus::SUCCESS);
        assert_eq!(findings.rules(), if good { vec![] } else { vec!["KS-V-08"] }, "a write of eight bytes: {count}");
    }
}

/// What the verifier says when a driver's probes ended, one after the other, the request is complete.
fn probing(flags: &'static [u32]) -> Vec<String> {
    let world = World::new();
    let kind = Kind::new(move |irp| {
        for flags in flags {
            probe::probe_stream_irp(irp.irp(), WRITE | flags, 56).expect("a good list");
        }
        assert_eq!(irp.irp().ptr(IRP::MdlAddress).is_some(), !flags.is_empty());
        irp.complete(NtStatus::SUCCESS, 8)
    });
    let stream = Stream::new(&world, kind);
    let findings = Findings::listen(&world);
    let user = UserList::new(&[Head::of(8, 8)]);
    let (mode, headers) = (Mode::User, Addr::user(user.block.addr()));
    assert_eq!(stream.go_as(mode, &StreamRequest { mode, headers, ..stream.request() }), NtStatus::SUCCESS);
    findings.rules()
}

#[test]
fn ks_v_09_mdls_that_were_never_locked_are_reported() {
    assert!(probing(&[LOCK]).is_empty());
    assert_eq!(probing(&[KSPROBE_ALLOCATEMDL]), ["KS-V-09"]);
}

#[test]
fn ks_p_21_a_driver_that_does_not_lock_must_see_to_its_mdls() {
    assert_eq!(probing(&[KSPROBE_ALLOCATEMDL]), ["KS-V-09"], "the I/O manager would unlock what was never locked");
    assert!(probing(&[KSPROBE_ALLOCATEMDL, LOCK]).is_empty(), "a lock before the end is in time");
}
