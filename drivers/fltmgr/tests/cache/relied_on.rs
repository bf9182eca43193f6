//! What filters rely on.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_cell::Addr;
use nt_fltmgr::generated::{self, Transfer};
use nt_fltmgr::{CallbackData, MiniFilter, PostOp, PreOp};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_ke::Mutex;
use std::sync::Arc;

/// A filter of writes and reads with registration flags.
struct Skips(&'static str, &'static str, u32, Mutex<Vec<(bool, u32)>>);

impl MiniFilter for Skips {
    fn name(&self) -> &str {
        self.0
    }
    fn altitude(&self) -> &str {
        self.1
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        vec![(IRP_MJ_READ, self.2), (IRP_MJ_WRITE, self.2), (IRP_MJ_SET_INFORMATION, self.2)]
    }
    fn pre_operation(&self, data: CallbackData) -> PreOp {
        let transfer = data.major() != IRP_MJ_SET_INFORMATION;
        self.3.lock().push((data.is_fast_io(), if transfer { data.irp_flags() & 3 } else { 0x100 }));
        PreOp::NoCallback
    }
    fn post_operation(&self, _data: CallbackData, _context: u64) -> PostOp {
        PostOp::Finished
    }
}

#[test]
fn nt_cc_82_registration_flags_choose_among_transfers() {
    let scene = Scene::new();
    let (paging, cached, other) = (
        FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO,
        FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO,
        FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO,
    );
    let make = |name, altitude, flags| {
        let filter = Arc::new(Skips(name, altitude, flags, Mutex::default()));
        nt_fltmgr::register_native(&scene.world.kernel, filter.clone()).expect("register");
        filter
    };
    let no_paging = make("NoPaging", "300000", paging);
    let no_cached = make("NoCached", "300001", cached);
    let nothing = make("Nothing", "300002", paging | cached | other);
    let file = scene.open("F1", "cc82", 0);
    let raw = scene.open("F2", "cc82", NONCACHED);
    file.write(&[1; 0x200], None); // a packet
    file.write(&[2; 0x200], None); // fast
    scene.round(); // a paging write, and the news of it
    raw.read(0x200, Some(0)); // noncached
    let seen = |filter: &Arc<Skips>| std::mem::take(&mut *filter.3.lock());
    assert_eq!(seen(&no_paging), [(false, 0), (true, 0), (false, 0x100), (false, 1)]);
    assert_eq!(seen(&no_cached), [(false, 3), (false, 0x100), (false, 1)]);
    assert_eq!(seen(&nothing), [(false, 0x100)], "the set-information is not covered");
}

fn own_write(
    scene: &Scene,
    from: &Arc<nt_fltmgr::Instance>,
    file: &File<'_>,
    data: &[u8],
    at: i64,
    flags: u32,
) -> IoStatus {
    let block = pool_buffer(data);
    let request = Transfer { flags, ..plain_write(*file.object(), Some(at), Addr::from(block), data.len() as u32) };
    let done = generated::transfer(&scene.world.frame(), from, &request, None).map_err(NtStatus::from).expect("sent");
    nt_ex::pool::free(block);
    done
}

#[test]
fn nt_cc_83_a_filters_paging_write_goes_below_it_and_past_the_cache() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc83", 0);
    file.write(&[1; 0x1000], None);
    scene.round();
    file.set(class::END_OF_FILE, &0x2000_i64.to_le_bytes());
    let own = scene.world.watch(Watch::new("Own", "200000", &[IRP_MJ_WRITE]));
    let below = Arc::new(Skips("Below", "100000", 0, Mutex::default()));
    nt_fltmgr::register_native(&scene.world.kernel, below.clone()).expect("register");
    scene.events();
    let done = own_write(&scene, &own.instance, &file, &[2; 0x1000], 0x1000, FLTFL_IO_OPERATION_PAGING);
    assert_eq!(done, IoStatus::new(NtStatus::SUCCESS, 0x1000));
    assert_eq!((scene.take().len(), own.watch.pres().len(), below.3.lock().clone()), (0, 0, vec![(false, 3)]));
    assert_eq!(scene.sizes(&file), (0x2000, 0x2000), "as a mapping's: the valid data moves");
    let past = own_write(&scene, &own.instance, &file, &[3; 0x1000], 0x2000, FLTFL_IO_OPERATION_PAGING);
    assert_eq!((past.information, scene.sizes(&file).0), (0, 0x2000), "the end does not");
    own_write(&scene, &own.instance, &file, &[4; 0x1000], 0, FLTFL_IO_OPERATION_PAGING);
    assert_eq!((file.read(4, Some(0)).1, scene.medium(&file, 0, 4)), (vec![1; 4], vec![4; 4]), "the cache is not told");
}

#[test]
fn nt_cc_84_a_filters_noncached_write_meets_its_own_nested_paging_writes() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc84", 0);
    file.write(&[1; 0x1000], None);
    let own = scene.world.watch(Watch::new("Own", "200000", &[IRP_MJ_WRITE]));
    scene.events();
    let done = own_write(&scene, &own.instance, &file, &[2; 0x200], 0, FLTFL_IO_OPERATION_NON_CACHED);
    assert_eq!(done, IoStatus::new(NtStatus::SUCCESS, 0x200));
    assert_eq!(own.watch.pres(), [IRP_MJ_WRITE], "it re-enters itself");
    let events = scene.events();
    let sent = events.iter().find(|event| event.irp_flags == 0x43).expect("from the top of the stack");
    assert_eq!(sent.thread, 'U');
    assert_eq!(scene.medium(&file, 0, 0x400), [vec![2; 0x200], vec![1; 0x200]].concat());
}

#[test]
fn nt_cc_85_the_requestor_of_a_paging_write_is_not_who_wrote() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc85", 0);
    file.write(b"12345", None);
    scene.events();
    scene.round();
    assert_eq!(scene.paging_writes()[0].process, 4);
    file.write(b"54321", Some(0));
    scene.events();
    scene.flush(&file);
    assert_eq!(scene.paging_writes()[0].process, scene.world.process.id());
}

#[test]
fn nt_cc_20_the_issuing_thread_is_accounted_only() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc20", 0);
    file.write(&[1; 0x1000], None);
    scene.round();
    let row = nt_cc::exports::EXPORTS.iter().find(|row| row.name == "CcCopyWriteEx").expect("exported");
    assert!(matches!(row.entry, nt_cell::Entry::Raises(_)));
    // What the export does with all but the thread: the paging write is its sender's.
    let kernel = &scene.world.kernel;
    let other = scene.world.processes.create_thread(kernel, &scene.world.process).expect("thread");
    let object = *file.object();
    let block = pool_buffer(b"12345");
    let region = nt_cell::Region::pool(block, 5);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _entered = nt_ke::enter(kernel, &other, nt_ke::Mode::Kernel);
            nt_cc::copy_write(object, 0, region, true).map_err(NtStatus::from)
        });
        assert_eq!(writer.join().expect("no panic"), Ok(true));
    });
    scene.events();
    scene.flush(&file);
    assert_eq!(scene.paging_writes()[0].thread, 'U', "who flushes, not who wrote");
    nt_ex::pool::free(block);
}
