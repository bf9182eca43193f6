//! FLT_PARAMETERS of every major, both ways, between packets that a test builds and a driver that records them.
mod support;

use nt_abi::flt::{FLT_IO_PARAMETER_BLOCK, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER};
use nt_abi::io::*;
use nt_abi::mm::MDL;
use nt_abi::{Bytes, Field, NtStatus};
use nt_cell::Foreign;
use nt_fltmgr::data::IOPB_WORDS;
use nt_fltmgr::parameters::Access;
use nt_fltmgr::{CallbackData, FltMgr, MiniFilter, PostOp, PreOp};
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastControl, NativeDriver, OwnedIrp};
use nt_io::irp::{self, IoStatus, Irp};
use nt_ke::Mutex;
use std::sync::Arc;
use support::*;

type Words = [u64; 6];
/// {stack words, system buffer, user buffer, MDL} as the lowest driver saw them.
type Arrived = ([u64; 4], [u64; 3]);
/// {union words, system buffer?, decoded: MDL, buffer and length words, access}.
type Shown = (Words, bool, Option<(Option<usize>, usize, Option<usize>, Access)>);

#[derive(Default)]
struct Seen {
    arrived: Mutex<Option<Arrived>>,
    shown: Mutex<Option<Shown>>,
    after: Mutex<Option<Words>>,
    fast: Mutex<u32>,
}

struct Bottom(Arc<Seen>);

fn stack_words(stack: irp::Stack) -> [u64; 4] {
    std::array::from_fn(|index| stack.get(IO_STACK_LOCATION::Parameters.index(index)))
}

fn buffers(packet: Irp) -> [u64; 3] {
    [packet.addr_at(IRP::AssociatedIrp_SystemBuffer), packet.addr_at(IRP::UserBuffer), packet.addr_at(IRP::MdlAddress)]
}

impl NativeDriver for Bottom {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        *self.0.arrived.lock() = Some((stack_words(irp.stack()), buffers(irp.irp())));
        irp.complete(NtStatus::SUCCESS, 1)
    }
    fn has_fast_io(&self) -> bool {
        true
    }
    fn fast_device_control(&self, call: &FastControl) -> Option<IoStatus> {
        *self.0.fast.lock() += 1;
        Some(IoStatus::new(NtStatus::SUCCESS, call.code.into()))
    }
}

/// Records the union, and changes the words that the test names.
struct Changer {
    seen: Arc<Seen>,
    majors: Vec<u8>,
    change: Mutex<Vec<(usize, u64)>>,
}

fn union(data: CallbackData) -> Words {
    let words = data.iopb().view::<IOPB_WORDS>();
    std::array::from_fn(|index| words.get(IOPB_WORDS::Words.index(3 + index)))
}

fn place<V>(field: Field<FLT_IO_PARAMETER_BLOCK, V>) -> usize {
    (field.offset() - 0x18) / 8
}

impl MiniFilter for Changer {
    fn name(&self) -> &str {
        "Changer"
    }
    fn altitude(&self) -> &str {
        "300000"
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        self.majors.iter().map(|major| (*major, 0)).collect()
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        let decoded = data.decode();
        let decoded = decoded.map(|d| (d.mdl.map(place), place(d.buffer), d.length.map(place), d.access));
        let system = data.flags() & FLTFL_CALLBACK_DATA_SYSTEM_BUFFER != 0;
        *self.seen.shown.lock() = Some((union(data), system, decoded));
        let change = self.change.lock();
        let words = data.iopb().view::<IOPB_WORDS>();
        for (index, value) in change.iter() {
            words.set(IOPB_WORDS::Words.index(3 + index), *value);
            data.set_dirty();
        }
        PreOp::WithCallback(0)
    }
    fn post_operation(&self, data: CallbackData, _context: u64) -> PostOp {
        *self.seen.after.lock() = Some(union(data));
        PostOp::Finished
    }
}

struct Rig {
    seen: Arc<Seen>,
    changer: Arc<Changer>,
    top: Device,
}

fn rig(world: &World, majors: Vec<u8>) -> Rig {
    let seen = Arc::new(Seen::default());
    let driver =
        driver::create_native(&world.kernel, "\\Driver\\Bottom", Arc::new(Bottom(seen.clone()))).expect("driver");
    let spec = DeviceSpec { name: Some("\\Device\\Bottom"), kind: 8, ..DeviceSpec::default() };
    let made = device::create(&world.kernel, driver.body(), &spec).expect("device").body();
    device::ready(made);
    let manager = FltMgr::of(&world.kernel).expect("room");
    nt_fltmgr::Volume::attach(&world.kernel, &manager, made, "\\Device\\Bottom").expect("attach");
    let changer = Arc::new(Changer { seen: seen.clone(), majors, change: Mutex::new(Vec::new()) });
    nt_fltmgr::register_native(&world.kernel, changer.clone()).expect("register");
    Rig { seen, changer, top: device::top_of_stack(made) }
}

const WORDS: [u64; 4] = [0x11, 0x22, 0x33, 0x44];

impl Rig {
    /// Sends a packet with these words and buffers; returns what was seen, and the buffers of the packet in the end.
    fn send(&self, major: u8, minor: u8, words: [u64; 4], given: [u64; 3]) -> (Shown, Arrived, Words, [u64; 3]) {
        let packet = irp::allocate(self.top.get(DEVICE_OBJECT::StackSize)).expect("packet");
        packet.set_addr(IRP::AssociatedIrp_SystemBuffer, given[0]);
        packet.set_addr(IRP::UserBuffer, given[1]);
        packet.set_addr(IRP::MdlAddress, given[2]);
        let stack = irp::next(packet);
        stack.set(IO_STACK_LOCATION::MajorFunction, major);
        stack.set(IO_STACK_LOCATION::MinorFunction, minor);
        for (index, word) in words.iter().enumerate() {
            stack.set(IO_STACK_LOCATION::Parameters.index(index), *word);
        }
        let status = nt_io::send::call_driver(self.top, packet);
        assert_eq!(status, NtStatus::SUCCESS);
        let after = buffers(packet);
        packet.set_ptr(IRP::MdlAddress, None);
        irp::release(packet);
        let shown = self.seen.shown.lock().take().expect("shown");
        let arrived = self.seen.arrived.lock().take().expect("arrived");
        (shown, arrived, self.seen.after.lock().take().expect("after"), after)
    }
}

/// Kernel memory that stands for a buffer, and an MDL of it.
fn memory() -> (Foreign<Bytes>, Foreign<MDL>) {
    let block = pool_buffer(&[0; 64]);
    (block, nt_mm::mdl::for_pool(block, 64).expect("mdl"))
}

const METHOD: u64 = 0x33 & !3;

/// {major, minor, stack words, given buffers: system, user, MDL; the union; decoded}.
#[expect(clippy::type_complexity, reason = "one row a kind of request")]
fn rows() -> Vec<(u8, u8, [u64; 4], [u64; 3], Words, Option<(Option<usize>, usize, Option<usize>, Access)>)> {
    use Access::{Read, Write};
    const S: u64 = 0x5000;
    const U: u64 = 0x6000;
    let [a, b, c, d] = WORDS;
    let w = WORDS;
    let control = |method: u64| [a, b, METHOD | method, d];
    let neither = Some((Some(5), 4, Some(0), Write));
    vec![
        (IRP_MJ_CREATE, 0, w, [S, 0, 0], [a, b, c, d, S, 0], None),
        (IRP_MJ_READ, 0, w, [0, U, 0], [a, b, c, U, 0, 0], Some((Some(4), 3, Some(0), Write))),
        (IRP_MJ_WRITE, 0, w, [S, 0, 0], [a, b, c, S, 0, 0], Some((Some(4), 3, Some(0), Read))),
        (IRP_MJ_QUERY_INFORMATION, 0, w, [S, 0, 0], [a, b, S, 0, 0, 0], Some((None, 2, Some(0), Write))),
        (IRP_MJ_SET_INFORMATION, 0, w, [S, 0, 0], [a, b, c, d, S, 0], Some((None, 4, Some(0), Read))),
        (IRP_MJ_QUERY_EA, 0, w, [0, U, 0], [a, b, c, d, U, 0], Some((Some(5), 4, Some(0), Write))),
        (IRP_MJ_SET_EA, 0, w, [0, U, 0], [a, U, 0, 0, 0, 0], Some((Some(2), 1, Some(0), Read))),
        (IRP_MJ_FLUSH_BUFFERS, 0, w, [0; 3], [0; 6], None),
        (IRP_MJ_QUERY_VOLUME_INFORMATION, 0, w, [S, 0, 0], [a, b, S, 0, 0, 0], Some((None, 2, Some(0), Write))),
        (IRP_MJ_SET_VOLUME_INFORMATION, 0, w, [S, 0, 0], [a, b, S, 0, 0, 0], Some((None, 2, Some(0), Read))),
        (IRP_MJ_DIRECTORY_CONTROL, 1, w, [0, U, 0], [a, b, c, d, U, 0], Some((Some(5), 4, Some(0), Write))),
        (IRP_MJ_DIRECTORY_CONTROL, 2, w, [0, U, 0], [a, b, 0, 0, U, 0], Some((Some(5), 4, Some(0), Write))),
        (IRP_MJ_FILE_SYSTEM_CONTROL, 0, control(3), [0, U, 0], [a, b, METHOD | 3, d, U, 0], neither),
        (
            IRP_MJ_FILE_SYSTEM_CONTROL,
            0,
            control(0),
            [S, U, 0],
            [a, b, METHOD, S, 0, 0],
            Some((None, 3, Some(0), Write)),
        ),
        (IRP_MJ_FILE_SYSTEM_CONTROL, 1, w, [0; 3], [a, b, 0, 0, 0, 0], None),
        (
            IRP_MJ_DEVICE_CONTROL,
            0,
            control(1),
            [S, U, 0],
            [a, b, METHOD | 1, S, U, 0],
            Some((Some(5), 4, Some(0), Read)),
        ),
        (IRP_MJ_DEVICE_CONTROL, 0, control(2), [S, U, 0], [a, b, METHOD | 2, S, U, 0], neither),
        (IRP_MJ_INTERNAL_DEVICE_CONTROL, 0, control(3), [0, U, 0], [a, b, METHOD | 3, d, U, 0], neither),
        (IRP_MJ_LOCK_CONTROL, 1, w, [0; 3], [a, b, c, 0, 0, 0], None),
        (IRP_MJ_CLEANUP, 0, w, [0; 3], [0; 6], None),
        (IRP_MJ_QUERY_SECURITY, 0, w, [0, U, 0], [a, b, U, 0, 0, 0], Some((Some(3), 2, Some(1), Write))),
        (IRP_MJ_SET_SECURITY, 0, w, [0; 3], [a, b, 0, 0, 0, 0], None),
        (IRP_MJ_QUERY_QUOTA, 0, w, [S, 0, 0], [a, b, c, d, S, 0], Some((Some(5), 4, Some(0), Write))),
        (IRP_MJ_SET_QUOTA, 0, w, [S, 0, 0], [a, S, 0, 0, 0, 0], Some((Some(2), 1, Some(0), Read))),
        (IRP_MJ_SYSTEM_CONTROL, 0, w, [0; 3], [a, b, c, d, 0, 0], None),
        (IRP_MJ_PNP, 0, w, [0; 3], [a, b, c, d, 0, 0], None),
    ]
}

#[test]
fn flt_d_01_every_major_shows_the_packets_words_and_buffers() {
    let world = filtered();
    let rig = rig(&world, (0..28).filter(|major| !matches!(major, 0x16 | 0x18)).collect());
    for (major, minor, words, given, expected, decoded) in rows() {
        let ((shown, system, _), arrived, after, buffers) = rig.send(major, minor, words, given);
        let case = format!("major {major:#x}, minor {minor}");
        assert_eq!(shown, expected, "{case}");
        let in_system = decoded.is_some_and(|(_, buffer, _, _)| expected[buffer] == 0x5000);
        assert_eq!(system, in_system, "{case}: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER");
        assert_eq!((arrived, after, buffers), ((words, given), shown, given), "{case}: untouched below and after");
    }
}

#[test]
fn flt_d_12_decode_parameters_names_the_members_of_every_major() {
    let world = filtered();
    let rig = rig(&world, (0..28).filter(|major| !matches!(major, 0x16 | 0x18)).collect());
    for (major, minor, words, given, _, expected) in rows() {
        let ((_, _, decoded), ..) = rig.send(major, minor, words, given);
        assert_eq!(decoded, expected, "major {major:#x}, minor {minor}, code {:#x}", words[2]);
    }
}

#[test]
fn flt_d_03_changed_words_and_buffers_of_every_major_reach_the_driver_and_come_back() {
    let world = filtered();
    let rig = rig(&world, (0..28).filter(|major| !matches!(major, 0x16 | 0x18)).collect());
    for (major, minor, words, given, shown, decoded) in rows() {
        let case = format!("major {major:#x}, minor {minor}");
        let control =
            matches!(major, IRP_MJ_FILE_SYSTEM_CONTROL | IRP_MJ_DEVICE_CONTROL | IRP_MJ_INTERNAL_DEVICE_CONTROL);
        let mut change: Vec<(usize, u64)> = Vec::new();
        let mut expected = (words, given);
        // Every word that came from the stack location, but the control code, which names the method.
        for index in 0..4 {
            if shown[index] == words[index] && words[index] != 0 && !(control && index == 2) {
                change.push((index, words[index] + 0x100));
                expected.0[index] += 0x100;
            }
        }
        if let Some((_, buffer, _, _)) = decoded {
            change.push((buffer, 0x7000));
            let system = shown[buffer] == 0x5000;
            expected.1[usize::from(!system)] = 0x7000;
        }
        // A direct request keeps its output in the MDL.
        if control && matches!(words[2] & 3, 1 | 2) {
            change.retain(|(index, _)| *index < 3);
            expected.1 = given;
        }
        *rig.changer.change.lock() = change.clone();
        let (_, arrived, after, buffers) = rig.send(major, minor, words, given);
        assert_eq!(arrived, expected, "{case}: {change:x?}");
        assert_eq!((after, buffers), (shown, given), "{case}: the filter's own post and the caller see the original");
    }
}

#[test]
fn flt_d_08_a_post_callback_finds_the_mdl_that_was_swapped_in() {
    let world = filtered();
    let log = Log::default();
    let own = Arc::new(Mutex::new(None));
    let found = Arc::new(Mutex::new(Vec::new()));
    let (swap, store) = (own.clone(), found.clone());
    world.filter(
        "Swap",
        "200000",
        0,
        &log,
        move |_, data| {
            if data.major() != IRP_MJ_WRITE || data.irp_flags() & IRP_PAGING_IO != 0 {
                return PreOp::NoCallback;
            }
            if data.is_fast_io() {
                return PreOp::DisallowFastIo;
            }
            assert_eq!(data.swapped_mdl(), None, "in post callbacks only");
            let (block, mdl) = memory();
            nt_cell::Region::pool(block, 4).write_from(b"SWAP").expect("own block");
            *swap.lock() = Some((block, mdl));
            data.iopb().set_ptr(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, Some(block));
            data.iopb().set_ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress, Some(mdl));
            data.set_dirty();
            PreOp::WithCallback(0)
        },
        move |_, data| {
            let original = data.iopb().ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress);
            store.lock().push((data.swapped_mdl(), original));
            PostOp::Finished
        },
    );
    let file = world.sync_file("d08");
    assert_eq!(file.write(b"data", Some(0)), success(4));
    let (block, mdl) = own.lock().take().expect("swapped");
    assert_eq!(*found.lock(), [(Some(mdl), None)]);
    nt_ex::pool::free(block);
    assert_eq!(file.bytes_of("d08"), b"SWAP");
}

#[test]
fn flt_d_09_a_swapped_mdl_is_freed_after_the_post_callback_unless_retained() {
    let world = filtered();
    let log = Log::default();
    let mdls = Arc::new(Mutex::new(Vec::new()));
    let made = mdls.clone();
    world.filter(
        "Swap",
        "200000",
        0,
        &log,
        move |_, data| {
            if data.major() != IRP_MJ_WRITE || data.irp_flags() & IRP_PAGING_IO != 0 {
                return PreOp::NoCallback;
            }
            if data.is_fast_io() {
                return PreOp::DisallowFastIo;
            }
            let (block, mdl) = memory();
            made.lock().push((block, mdl));
            data.iopb().set_ptr(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, Some(block));
            data.iopb().set_ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress, Some(mdl));
            data.set_dirty();
            PreOp::WithCallback(0)
        },
        move |_, data| {
            assert!(nt_ex::pool::size_of_block(data.swapped_mdl().expect("swapped").addr()).is_some());
            if data.offset() == 8 {
                data.retain_swapped_mdl();
                assert_eq!(data.swapped_mdl(), None);
            }
            PostOp::Finished
        },
    );
    let file = world.sync_file("d09");
    for (offset, alive) in [(0, false), (8, true)] {
        assert_eq!(file.write(b"data", Some(offset)), success(4));
        let (block, mdl) = mdls.lock().pop().expect("swapped");
        assert_eq!(nt_ex::pool::size_of_block(mdl.addr()).is_some(), alive);
        if alive {
            nt_mm::mdl::release(mdl);
        }
        nt_ex::pool::free(block);
    }
}

#[test]
fn flt_d_11_locking_the_users_buffer_gives_a_mdl_as_long_as_the_callback_data() {
    let world = filtered();
    let log = Log::default();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let store = kept.clone();
    let locks = Arc::new(Mutex::new((0, 0)));
    let (below, locked) = (locks.clone(), locks.clone());
    world.deciding("Below", "100000", &log, move |_, data| {
        if data.major() != IRP_MJ_WRITE || data.irp_flags() & IRP_PAGING_IO != 0 {
            return PreOp::NoCallback;
        }
        let mdl = data.iopb().ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress);
        below.lock().1 += usize::from(mdl.is_some());
        PreOp::NoCallback
    });
    world.deciding("Locks", "200000", &log, move |_, data| {
        if data.major() != IRP_MJ_WRITE || data.irp_flags() & IRP_PAGING_IO != 0 {
            return PreOp::NoCallback;
        }
        data.lock_user_buffer().expect("locked");
        let mdl = data.iopb().ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress).expect("an MDL");
        assert_eq!(nt_mm::mdl::region(mdl).expect("locked").to_vec().expect("readable"), b"lock");
        data.lock_user_buffer().expect("twice is nothing");
        assert_eq!(data.iopb().ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress), Some(mdl));
        store.lock().push(mdl);
        locked.lock().0 += 1;
        PreOp::NoCallback
    });
    let file = world.sync_file("d11");
    for _ in 0..2 {
        assert_eq!(file.write(b"lock", None), success(4)); // a packet, then fast I/O
    }
    assert_eq!(*locks.lock(), (2, 2), "the filter below sees it too: the callback data is dirty");
    assert!(kept.lock().iter().all(|mdl| nt_ex::pool::size_of_block(mdl.addr()).is_none()), "freed with the data");
    assert_eq!(file.bytes_of("d11"), b"locklock");
}

#[test]
fn flt_d_11_what_has_no_mdl_member_cannot_be_locked() {
    let world = filtered();
    struct Refused(Mutex<Vec<(u8, NtStatus)>>);
    impl MiniFilter for Refused {
        fn name(&self) -> &str {
            "Refused"
        }
        fn altitude(&self) -> &str {
            "250000"
        }
        fn operations(&self) -> Vec<(u8, u32)> {
            vec![(IRP_MJ_QUERY_INFORMATION, 0), (IRP_MJ_CLEANUP, 0)]
        }
        fn pre_operation(&self, data: CallbackData) -> PreOp {
            let status = data.lock_user_buffer().map_or_else(NtStatus::from, |()| NtStatus::SUCCESS);
            self.0.lock().push((data.major(), status));
            PreOp::NoCallback
        }
    }
    let filter = Arc::new(Refused(Mutex::new(Vec::new())));
    nt_fltmgr::register_native(&world.kernel, filter.clone()).expect("register");
    let file = world.sync_file("d11");
    file.eof();
    drop(file);
    let refused = NtStatus::INVALID_PARAMETER;
    assert_eq!(*filter.0.lock(), [(IRP_MJ_QUERY_INFORMATION, refused), (IRP_MJ_CLEANUP, refused)]);
}

#[test]
fn flt_o_02_a_fast_control_request_passes_when_no_filter_asked_for_control_requests() {
    for (majors, taken) in [(vec![IRP_MJ_WRITE], true), (vec![IRP_MJ_WRITE, IRP_MJ_DEVICE_CONTROL], false)] {
        let world = filtered();
        let rig = rig(&world, majors);
        let file = world.sync_file("o02");
        let object = *file.object();
        let call =
            FastControl { file: object, wait: true, input: (0, 0), output: (0, 0), code: 0x1234, device: rig.top };
        let expected = taken.then_some(IoStatus::new(NtStatus::SUCCESS, 0x1234));
        assert_eq!(nt_io::control::call_fast(&call), expected);
        assert_eq!(*rig.seen.fast.lock(), u32::from(taken));
    }
}
