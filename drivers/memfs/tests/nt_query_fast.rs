//! Queries by fast routines tell what the packet tells: nt-fs.md section 13.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::{IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_QUERY_OPEN};
use nt_abi::io::{FILE_OBJECT, IRP_MJ_QUERY_INFORMATION};
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, Foreign};
use nt_ex::pool::Scratch;
use nt_io::byname::{Named, nt_query_attributes_file, nt_query_full_attributes_file, nt_query_information_by_name};
use nt_io::fast::FastQuery;
use nt_io::info::{class, exchange, system_buffer};
use nt_io::irp::IoStatus;
use nt_io::observe::{Observer, Request};
use nt_ob::Handle;
use std::sync::Arc;
use support::names::*;
use support::*;

const OK: NtStatus = NtStatus::SUCCESS;
const ATTRIBUTES: u32 = 0x80;
/// The classes that have a routine, with their sizes.
const CLASSES: [(u32, usize); 3] = [(class::BASIC, 40), (class::STANDARD, 24), (class::NETWORK_OPEN, 56)];

fn object(file: &File<'_>) -> Foreign<FILE_OBJECT> {
    let kind = nt_ob::types::ObjectType::File;
    let found = nt_io::event::reference(&file.world.frame(), file.handle, kind, 0, nt_ke::Mode::Kernel);
    found.expect("a file").0.body().view()
}

type Answer = (IoStatus, Vec<u8>);

/// The answer of the fast routine, and of a packet.
fn both(file: &File<'_>, class: u32, length: usize) -> (Option<Answer>, Answer) {
    let (frame, device) = (file.world.frame(), file.world.volume.device);
    let bytes = |buffer: &Scratch| buffer.region().to_vec().expect("pool");
    let buffer = system_buffer(length).expect("pool");
    let query = FastQuery { file: object(file), class, wait: true, buffer: buffer.region(), device };
    let fast = nt_io::fast::query(query).map(|result| (result, bytes(&buffer)));
    let buffer = system_buffer(length).expect("pool");
    let major = IRP_MJ_QUERY_INFORMATION;
    let packet = exchange(&frame, object(file), device, major, class, buffer.block(), length as u32, |_| {});
    (fast, (packet.result, bytes(&buffer)))
}

#[test]
fn nt_qry_25_fast_routines_tell_what_the_packet_tells() {
    let world = World::new();
    world.put("f", &[1; 3000]);
    world.put("f:stream", b"of a stream");
    let linked = world.sync_file("linked");
    assert_eq!(linked.set(class::LINK, &name_information(0, Handle::NULL, &full("other"))), OK);
    let written = world.sync_file("written");
    assert_eq!(written.write(b"and not yet flushed", Some(0)), success(19));
    let doomed = world.to_delete_new("doomed");
    assert_eq!(doomed.set(class::DISPOSITION, &[1]), OK);
    let plain = |name: &str| world.open_file(name, ATTRIBUTES | SYNCHRONIZE, SYNC);
    let directory = world.directory("dir");
    for file in [&plain("f"), &plain("f:stream"), &linked, &written, &doomed, &directory] {
        for (class, length) in CLASSES {
            let (fast, packet) = both(file, class, length);
            assert_eq!(fast.expect("taken"), packet, "class {class}");
            assert_eq!(packet.0, IoStatus::new(OK, length as u64));
        }
    }
    assert_eq!(both(&plain("f"), class::INTERNAL, 8).0, None, "a class without a routine");
    // What cannot be told is left to the packet, which says why.
    let volume = world.volume(GENERIC_READ | GENERIC_WRITE);
    let lost = plain("f");
    assert_eq!(volume.control(0x9_0020, &[], 0).0, OK, "FSCTL_DISMOUNT_VOLUME");
    let (fast, packet) = both(&lost, class::BASIC, 40);
    assert_eq!((fast, packet.0.status), (None, NtStatus::VOLUME_DISMOUNTED));
}

/// The requests of a machine as a report has them: {major, fast, status}.
#[derive(Default)]
struct Requests {
    begun: nt_ke::Mutex<Vec<(u8, bool)>>,
    ended: nt_ke::Mutex<Vec<(u8, bool, NtStatus)>>,
}

impl Observer for Requests {
    fn begin(&self, request: &Request) -> u64 {
        let mut begun = self.begun.lock();
        begun.push((request.major, request.fast));
        begun.len() as u64
    }
    fn end(&self, span: u64, status: NtStatus, _information: u64) {
        let (major, fast) = self.begun.lock()[span as usize - 1];
        self.ended.lock().push((major, fast, status));
    }
    fn finding(&self, _rule: &str, _severity: &str, _driver: &str, _message: &str) {}
    fn hop(&self, _span: u64, _hop: &nt_io::observe::Hop<'_>) {}
}

impl Requests {
    fn of(world: &World) -> Arc<Self> {
        let requests = Arc::new(Self::default());
        world.system().observe(Some(requests.clone()));
        requests
    }
    fn take(&self) -> Vec<(u8, bool, NtStatus)> {
        std::mem::take(&mut *self.ended.lock())
    }
}

#[test]
fn nt_qry_25_the_service_asks_the_fast_routine_and_no_packet() {
    let world = World::new();
    world.put("f", &[1; 3000]);
    let file = world.open_file("f", ATTRIBUTES | SYNCHRONIZE, SYNC);
    let requests = Requests::of(&world);
    for (class, length) in CLASSES {
        let (status, bytes, iosb) = file.try_query(class, length + 8);
        assert_eq!((status, iosb), (OK, Iosb::Is(OK, length as u64)));
        assert_eq!(requests.take(), [(IRP_MJ_QUERY_INFORMATION, true, OK)], "class {class}");
        assert_eq!((&bytes[..length], &bytes[length..]), (&both(&file, class, length).1.1[..], &[0xEE; 8][..]));
        requests.take();
    }
    let _status = file.query(class::INTERNAL, 8);
    assert_eq!(requests.take(), [(IRP_MJ_QUERY_INFORMATION, false, OK)]);
}

fn named(name: &str) -> Named {
    Named { root: Handle::NULL, name: full(name).encode_utf16().collect(), attributes: 0x40 }
}

#[test]
fn nt_qry_25_a_name_is_asked_for_and_not_opened() {
    let world = World::new();
    world.put("f", &[1; 3000]);
    world.put("f:stream", b"of a stream");
    drop(world.directory("dir"));
    let marked = world.to_delete_new("doomed");
    let doomed = world.shared("doomed", ATTRIBUTES, 7).expect("opens");
    assert_eq!(marked.set(class::DISPOSITION, &[1]), OK);
    let own = |name: &str, class: u32, length: usize| {
        world.open_file(name, ATTRIBUTES | SYNCHRONIZE, SYNC).query(class, length)
    };
    let block = UserBlock::new(96).expect("arena");
    let buffer = Addr::user(block.addr());
    let told = |length: usize| block.region().sub(0, length).to_vec().expect("arena");
    let requests = Requests::of(&world);
    let network = |name: &str| nt_query_full_attributes_file(&world.frame(), &named(name), buffer);
    let attributes = |name: &str| nt_query_attributes_file(&world.frame(), &named(name), buffer);
    let iosb = pattern_block();
    let by_name = |name: &str, class: u32, length: u32| {
        nt_query_information_by_name(&world.frame(), &named(name), Addr::user(iosb.addr()), buffer, length, class)
    };
    for name in ["f", "f:stream", "dir"] {
        requests.take();
        assert_eq!(network(name), OK, "{name}");
        let network = told(56);
        assert_eq!(attributes(name), OK, "{name}");
        let basic = told(40);
        assert_eq!(requests.take(), [(IRP_MJ_NETWORK_QUERY_OPEN, true, OK); 2], "{name}");
        assert_eq!(by_name(name, class::STAT, 72), OK, "{name}");
        let stat = told(72);
        assert_eq!(by_name(name, class::STAT_LX, 96), OK, "{name}");
        let linux = told(96);
        assert_eq!(requests.take(), [(IRP_MJ_QUERY_OPEN, true, OK); 2], "{name}");
        assert_eq!(iosb_at(&iosb), Iosb::Is(OK, 96));
        assert_eq!(own(name, class::NETWORK_OPEN, 56)[..52], network[..52], "{name}");
        assert_eq!(own(name, class::BASIC, 40)[..36], basic[..36], "{name}");
        assert_eq!(own(name, class::STAT, 72), stat, "{name}");
        assert_eq!(own(name, class::STAT_LX, 96), linux, "{name}");
    }
    // Errors are those of an open, and there is none either.
    let errors = [
        ("none", NtStatus::OBJECT_NAME_NOT_FOUND),
        ("none\\f", NtStatus::OBJECT_PATH_NOT_FOUND),
        ("a?", NtStatus::OBJECT_NAME_INVALID),
        ("f:none", NtStatus::OBJECT_NAME_NOT_FOUND),
        ("doomed", NtStatus::DELETE_PENDING),
    ];
    for (name, status) in errors {
        requests.take();
        assert_eq!((network(name), by_name(name, class::STAT, 72)), (status, status), "{name}");
        let asked = [(IRP_MJ_NETWORK_QUERY_OPEN, true, status), (IRP_MJ_QUERY_OPEN, true, status)];
        assert_eq!(requests.take(), asked, "{name}");
    }
    drop((doomed, marked));
    // Sharing does not matter to who only looks, and nothing stays open.
    let alone = world.shared("f", GENERIC_READ | GENERIC_WRITE | DELETE, 0).expect("opens");
    assert_eq!((network("f"), by_name("f", class::STAT, 72)), (OK, OK));
    assert_eq!(alone.set(class::DISPOSITION, &[1]), OK, "nobody else has it open");
}
