//! Cached writes.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::io::*;
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, Region};
use nt_fltmgr::PreOp;
use nt_ke::Mutex;
use std::sync::Arc;

fn kernel_buffer(bytes: &[u8]) -> (nt_cell::Foreign<nt_abi::Bytes>, Region) {
    let block = pool_buffer(bytes);
    (block, Region::pool(block, bytes.len()))
}

#[test]
fn nt_cc_10_sizes_position_and_marks_in_their_order() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc10", 0);
    file.write(&[1; 100], None);
    scene.forget(&file);
    let object = file.object().body();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let allocation = move || {
        let header = header(object).expect("a stream");
        header.get(nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER::AllocationSize)
    };
    scene.on(move |event, _| {
        if event.major == IRP_MJ_READ {
            let grown = allocation() >= event.sizes.0;
            sink.lock().push((event.sizes, grown, object.get(FILE_OBJECT::CurrentByteOffset)));
        }
        None
    });
    // A packet: the page is not there, and the end moves past the allocation.
    assert_eq!(file.write(&[2; 5000], Some(50)), success(5000));
    assert_eq!(*seen.lock(), [((5050, 100), true, 100)], "allocation and EOF first; position and VDL not yet");
    assert_eq!((scene.sizes(&file), file.position()), ((5050, 5050), 5050));
    let marks = FO_FILE_MODIFIED | FO_FILE_SIZE_CHANGED;
    assert_eq!(file.object().get(FILE_OBJECT::Flags) & marks, marks);
}

#[test]
fn nt_cc_11_between_the_sizes_lie_zeros() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc11", 0);
    file.write(&[1; 100], None);
    scene.forget(&file);
    let (device, object) = (scene.world.volume.device, file.object().body());
    let medium = Arc::new(Mutex::new(Vec::new()));
    let sink = medium.clone();
    scene.on(move |event, _| {
        if event.major == IRP_MJ_READ && event.thread == 'U' {
            let (block, region) = kernel_buffer(&[0xEE; 4096]);
            let frame = nt_ke::current();
            let packet = nt_io::irp::allocate(device.get(DEVICE_OBJECT::StackSize)).expect("a packet");
            packet.set(IRP::Flags, nt_io::paging::SYNCHRONOUS);
            packet.set_addr(IRP::UserBuffer, region.addr());
            packet.set_addr(IRP::Tail_Thread, frame.thread.object());
            packet.set_ptr(IRP::Tail_OriginalFileObject, Some(object));
            let stack = nt_io::irp::next(packet);
            stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_READ);
            stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(object));
            stack.set(IO_STACK_LOCATION::Read_Length, 4096);
            let done = nt_io::file::send_for_result(&frame, packet, device);
            sink.lock().extend(region.sub(0, done.information as usize).to_vec().expect("own block"));
            nt_ex::pool::free(block);
        }
        None
    });
    assert_eq!(file.write(&[2; 900], Some(100)), success(900));
    let medium = medium.lock().clone();
    assert_eq!(medium.len(), 1000, "the new end of file");
    assert!(medium[..100] == [1; 100] && medium[100..].iter().all(|byte| *byte == 0));
}

#[test]
fn nt_cc_12_a_copy_that_fails_takes_the_sizes_back() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc12", 0);
    file.write(&[1; 100], None);
    let user = UserBlock::new(8192).expect("arena");
    user.region().fill(9).expect("arena");
    // The second half of the source is not there.
    let source = Region::user(user.addr(), 4096).expect("arena");
    let (block, target) = kernel_buffer(&[7; 64]);
    let bad = Addr::user(0x10);
    assert_eq!(file.raw_write(bad, 5000, Some(50)).returned, NtStatus::INVALID_USER_BUFFER);
    assert_eq!((scene.sizes(&file), scene.map(&file).expect("cached").sizes().file), ((100, 100), 100));
    // A fault of the page that has to be read is the write's status.
    scene.forget(&file);
    scene.on(|event, _| {
        let read = event.major == IRP_MJ_READ;
        read.then_some(PreOp::Complete(nt_io::irp::IoStatus::new(NtStatus::IO_DEVICE_ERROR, 0)))
    });
    assert_eq!(file.write(&[2; 100], Some(50)), refused(NtStatus::IO_DEVICE_ERROR));
    scene.off();
    assert_eq!((scene.sizes(&file), file.bytes_of("cc12")), ((100, 100), vec![1; 100]));
    let _kept = (source, target);
    nt_ex::pool::free(block);
}

#[test]
fn nt_cc_13_a_page_is_read_for_a_partial_write_below_the_valid_data_only() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc13", 0);
    file.write(&pattern(0, 0x3000), None);
    scene.forget(&file);
    let reads = |offset, bytes: &[u8]| {
        scene.events();
        file.write(bytes, Some(offset));
        let lines = scene.take();
        lines.into_iter().filter(|line| line.contains("> READ")).collect::<Vec<_>>()
    };
    assert_eq!(reads(0x1000, &[5; 0x1000]), [""; 0], "a whole page is not read");
    assert_eq!(reads(0x2010, &[6; 0x10]), ["U> READ F1 2000+1000 43"], "all of the page, in the writer's thread");
    assert_eq!(reads(0x2010, &[7; 0x10]), [""; 0], "once");
    assert_eq!(reads(0, &[]), [""; 0], "nothing for nothing");
    assert_eq!(reads(0x3010, &[8; 0x10]), [""; 0], "past the valid data");
    let bytes = file.bytes_of("cc13");
    assert_eq!((&bytes[..0x1000], &bytes[0x2000..0x2010]), (&pattern(0, 0x1000)[..], &pattern(0x2000, 0x10)[..]));
}

#[test]
fn nt_cc_14_the_read_comes_before_the_copy_fails_and_without_waiting() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc14", 0);
    file.write(&[1; 0x1000], None);
    let object = *file.object();
    scene.forget(&file);
    let nothing = Region::user(0x10, 10).expect("user addresses");
    let failed = nt_cc::copy_write(object, 0, nothing, true).map_err(NtStatus::from);
    assert_eq!(failed, Err(NtStatus::INVALID_USER_BUFFER));
    assert_eq!(scene.take(), ["U> READ F1 0+1000 43", "U< READ F1 1000"]);
    scene.forget(&file);
    let (block, ten) = kernel_buffer(b"0123456789");
    assert_eq!(nt_cc::copy_write(object, 0, ten, false).map_err(NtStatus::from), Ok(false), "not resident");
    assert_eq!(scene.take(), ["S> READ F1 0+1000 43", "S< READ F1 1000"], "but on its way");
    assert_eq!(nt_cc::copy_write(object, 0, ten, false).map_err(NtStatus::from), Ok(true), "resident");
    assert_eq!(scene.take(), [""; 0], "and no paging write");
    nt_ex::pool::free(block);
    // The names of ntoskrnl.exe raise for NULL.
    let row = nt_cc::exports::EXPORTS.iter().find(|row| row.name == "CcCopyWrite").expect("exported");
    assert!(matches!(row.entry, nt_cell::Entry::Raises(_)));
}

#[test]
fn nt_cc_15_too_much_dirty_data_puts_writers_off() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc15", 0);
    // The lazy writer's own round, whenever it comes, leaves the pages dirty.
    scene.fail_paging_writes(NtStatus::DEVICE_NOT_READY);
    file.write(&[1; 0x4000], None);
    let object = *file.object();
    let may = || nt_cc::can_write(object, 0x1000, false, false);
    assert!(may());
    scene.manager().set_dirty_limit(4);
    assert!(!may(), "of the system");
    scene.off();
    scene.round();
    assert!(may());
    scene.manager().set_dirty_limit(1 << 20);
    scene.fail_paging_writes(NtStatus::DEVICE_NOT_READY);
    file.write(&[1; 0x4000], Some(0));
    nt_cc::set_dirty_page_threshold(object, 4);
    assert!(!may(), "of the file");
    scene.off();
    // A caller that waits sleeps until a round has made room, and a synchronous writer is one.
    scene.events();
    file.write(&[1; 0x4000], Some(0));
    assert!(nt_cc::can_write(object, 0x1000, true, false));
    assert!(scene.take().iter().any(|line| line.starts_with("S> WRITE F1")));
    file.write(&[1; 0x4000], Some(0));
    assert_eq!(file.write(&[2; 0x1000], Some(0x4000)), success(0x1000));
    // The post routine may run at once.
    let ran = Arc::new(Mutex::new(false));
    let done = ran.clone();
    scene.round();
    nt_cc::defer_write(object, 0x1000, false, move || *done.lock() = true);
    scene.world.kernel.drain();
    assert!(*ran.lock());
}

#[test]
fn nt_cc_16_deferred_writes_run_in_order_and_a_retry_first() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc16", 0);
    file.write(&[1; 0x4000], None);
    let object = *file.object();
    scene.fail_paging_writes(NtStatus::DEVICE_NOT_READY);
    scene.manager().set_dirty_limit(4);
    let order = Arc::new(Mutex::new(Vec::new()));
    for (number, retry) in [(1, false), (2, false), (3, false), (0, true)] {
        let order = order.clone();
        let post = move || {
            // The later ones would overtake it if they did not wait.
            (0..(4 - number) * 1_000_000).for_each(|_| std::hint::spin_loop());
            order.lock().push(number);
        };
        nt_cc::defer_write(object, 0x1000, retry, post);
    }
    scene.world.kernel.drain();
    assert!(order.lock().is_empty());
    let queue = scene.manager().deferred();
    scene.off();
    scene.round();
    scene.world.kernel.drain();
    assert_eq!((queue, order.lock().clone()), (4, vec![0, 1, 2, 3]));
}

#[test]
fn nt_cc_17_zeros_are_cached_written_through_or_sent() {
    let scene = Scene::new();
    let cached = scene.open("F1", "cc17", 0);
    let raw = scene.open("F2", "cc17", NONCACHED);
    cached.write(&[7; 0x3000], None);
    scene.round();
    scene.events();
    assert_eq!(nt_cc::zero_data(*cached.object(), 0x1000, 0x1800, true).map_err(NtStatus::from), Ok(true));
    assert_eq!(scene.take(), [""; 0], "dirty pages");
    assert_eq!(cached.read(0x800, Some(0x1000)).1, [0; 0x800]);
    scene.round();
    scene.events();
    assert_eq!(nt_cc::zero_data(*raw.object(), 0x2000, 0x2200, true).map_err(NtStatus::from), Ok(true));
    assert_eq!(scene.paging_writes().len(), 1, "the file object is uncached, its stream is not: written through");
    assert_eq!(scene.medium(&cached, 0x2000, 0x400), [vec![0; 0x200], vec![7; 0x200]].concat());
    let alone = scene.open("F3", "cc17b", NONCACHED);
    alone.write(&[7; 0x600], Some(0));
    scene.events();
    let odd = nt_cc::zero_data(*alone.object(), 0x10, 0x200, true).map_err(NtStatus::from);
    assert_eq!(odd, Err(NtStatus::INVALID_PARAMETER), "sectors");
    assert_eq!(nt_cc::zero_data(*alone.object(), 0x200, 0x300, true).map_err(NtStatus::from), Ok(true));
    assert_eq!(scene.take()[0], "U> WRITE F3 200+200 43", "the end is rounded up");
    assert_eq!(scene.medium(&alone, 0, 0x600), [vec![7; 0x200], vec![0; 0x200], vec![7; 0x200]].concat());
    // A gap that is longer than the cache should carry goes to the medium.
    cached.write(b"far", Some(64 << 20));
    assert!(scene.map(&cached).expect("cached").dirty_pages() < 16);
    assert_eq!(cached.read(16, Some(32 << 20)).1, [0; 16]);
}

#[test]
fn nt_cc_18_a_fast_write_faults_under_its_marker_and_writes_nothing() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc18", 0);
    file.write(&[1; 0x2000], None);
    scene.forget(&file);
    assert_eq!(file.write(&[2; 16], Some(16)), success(16));
    let events = scene.events();
    let fault = events.iter().find(|event| event.major == IRP_MJ_READ && !event.post).expect("a fault");
    assert_eq!((fault.top_level, events[0].fast), (4, true));
    assert!(events.iter().all(|event| event.major != IRP_MJ_WRITE || event.fast), "no paging write is nested");
    assert_eq!(scene.world.frame().thread.top_level(), 0);
    // Throttled, it is refused, so that nothing is written inside of it.
    scene.manager().set_dirty_limit(1);
    file.write(&[3; 0x2000], Some(0));
    let trace = scene.take();
    assert_eq!(trace[..2], ["U> FAST WRITE F1 0+2000", "U< FAST WRITE F1 C01C0004"], "{trace:?}");
    scene.manager().set_dirty_limit(1 << 20);
}

#[test]
fn nt_cc_87_what_fast_io_on_a_cached_file_needs() {
    let scene = Scene::new();
    let first = |file: &File<'_>, offset: i64, length: usize| {
        scene.events();
        file.write(&vec![5; length], Some(offset));
        let trace = scene.take();
        let fast = trace.iter().find(|line| line.contains("< FAST"));
        let packets = trace.iter().filter(|line| line.contains("> WRITE") && line.ends_with("a00")).count();
        (fast.map(|line| !line.ends_with("C01C0004")), packets)
    };
    let file = scene.open("F1", "cc87", 0);
    let other = scene.open("F2", "cc87", 0);
    assert_eq!(first(&file, 0, 0x1000), (None, 1), "a map of its own");
    assert_eq!(first(&file, 0, 16), (Some(true), 0));
    assert_eq!(first(&other, 0, 16), (None, 1), "another's does not count");
    let through = scene.open("F3", "cc87", 2);
    through.read(16, Some(0));
    assert_eq!(first(&through, 0, 16), (Some(false), 1), "write-through");
    assert_eq!(first(&file, 0x3010, 16), (Some(false), 1), "too far past the valid data: seen twice");
    assert_eq!(first(&file, 0x3ff8, 16), (Some(false), 1), "past the allocation");
    scene.forget(&file);
    assert_eq!(first(&file, 16, 16), (Some(true), 0), "whether the page is there is not asked");
    scene.on(|event, _| event.fast.then_some(PreOp::DisallowFastIo));
    assert_eq!(first(&file, 0, 16), (None, 1), "a filter's refusal");
    scene.off();
    other.lock(0, 16, 0, true);
    assert_eq!(file.write(b"x", Some(0)), refused(NtStatus::FILE_LOCK_CONFLICT), "another's lock");
    assert_eq!(first(&file, 100, 16), (Some(true), 0), "no conflict, no refusal");
    other.unlock(0, 16, 0);
}

#[test]
fn nt_cc_19_dirty_is_per_page_and_zero_past_the_end() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc19", 0);
    file.write(&[1; 0x3000], None);
    scene.round();
    file.write(b"x", Some(0x1800));
    assert_eq!(scene.map(&file).expect("cached").dirty_pages(), 1);
    file.write(&[2; 10], Some(0x3000));
    scene.events();
    scene.round();
    let sent = scene.paging_writes();
    let sent: Vec<_> = sent.iter().map(|event| (event.offset, event.length)).collect();
    assert_eq!(sent, [(0x1000, 0x1000), (0x3000, 0x1000)]);
    let tail = scene.open("F2", "cc19b", 0);
    tail.write(&[2; 10], None);
    scene.events();
    scene.round();
    let sent = scene.paging_writes();
    assert!(sent[0].bytes[..10] == [2; 10] && sent[0].bytes[10..].iter().all(|byte| *byte == 0));
    assert_eq!(scene.sizes(&tail), (10, 10), "the file system ignores what lies past the end");
}

#[test]
fn nt_cc_21_lent_pages_become_dirty_when_they_come_back() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc21", 0);
    file.write(&pattern(0, 0x3000), None);
    scene.forget(&file);
    let map = scene.map(&file);
    assert!(map.is_some());
    let object = *file.object();
    let (chain, told) = nt_cc::prepare_mdl_write(object, 0x800, 0x1000).map_err(NtStatus::from).expect("lent");
    assert_eq!((told.status, told.information, scene.manager().dirty_pages()), (NtStatus::SUCCESS, 0x1000, 0));
    assert!(!nt_cc::purge(scene.sections(&file), None), "lent pages cannot go");
    nt_mm::mdl::region(chain).expect("mapped").fill(9).expect("own pages");
    nt_cc::mdl_write_complete(object, 0x800, chain).map_err(NtStatus::from).expect("back");
    assert_eq!(scene.manager().dirty_pages(), 2);
    scene.round();
    let medium = scene.medium(&file, 0, 0x3000);
    assert_eq!((&medium[..0x800], &medium[0x800..0x1800]), (&pattern(0, 0x800)[..], &[9; 0x1000][..]));
    assert_eq!(medium[0x1800..], pattern(0x1800, 0x1800));
    let (chain, _) = nt_cc::mdl_read(object, 0x800, 0x10).map_err(NtStatus::from).expect("lent");
    assert_eq!(nt_mm::mdl::region(chain).expect("mapped").to_vec().expect("own pages"), [9; 0x10]);
    nt_cc::mdl_read_complete(object, chain).map_err(NtStatus::from).expect("back");
    assert_eq!(scene.manager().dirty_pages(), 0);
    let through = scene.open("F2", "cc21", 2);
    through.read(16, Some(0));
    let (chain, _) = nt_cc::prepare_mdl_write(*through.object(), 0, 0x1000).map_err(NtStatus::from).expect("lent");
    scene.events();
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    let failed = nt_cc::mdl_write_complete(*through.object(), 0, chain).map_err(NtStatus::from);
    assert_eq!(failed, Err(NtStatus::IO_DEVICE_ERROR), "write-through flushes inside the call");
    assert_eq!(scene.paging_writes().len(), 1);
    scene.off();
}
