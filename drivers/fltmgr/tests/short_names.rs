//! What filters see of files that are opened by their short names: rules FLT-N-01, FLT-N-02, FLT-N-06 of fltmgr.md section 10.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_fltmgr::name::{self, Name};
use nt_fltmgr::{CallbackData, PostOp, PreOp};
use nt_io::info::class;
use nt_io::irp::IoStatus;
use nt_ke::Mutex;
use nt_ob::Handle;
use std::sync::Arc;
use support::*;

const OPENED: u32 = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT;
const NORMALIZED: u32 = FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT;
const SHORT: u32 = FLT_FILE_NAME_SHORT | FLT_FILE_NAME_QUERY_DEFAULT;

type Answer = Result<String, NtStatus>;

fn text(name: nt_abi::NtResult<Name>) -> Answer {
    name.map(|name| name.name()).map_err(NtStatus::from)
}

fn world() -> World {
    let world = filtered();
    world.volume.set_short_names(true);
    let (handle, _) = world.try_open("Program Files", GENERIC_READ, 1, FILE_CREATE).expect("a directory");
    nt_io::event::close(&world.frame(), handle).expect("closed");
    drop(world.sync_file("Program Files\\A long name.text"));
    world
}

/// A filter that asks for all three names before and after each create.
fn asking(world: &World) -> (Watching, Arc<Mutex<Vec<[Answer; 3]>>>) {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (Arc::clone(&answers), Arc::clone(&answers));
    let all = |data: CallbackData| [OPENED, NORMALIZED, SHORT].map(|options| text(data.file_name(options)));
    let watching = world.watch(Watch {
        pre: Box::new(move |data| {
            before.lock().push(all(data));
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            after.lock().push(all(data));
            PostOp::Finished
        }),
        ..Watch::new("Asks", "200000", &[IRP_MJ_CREATE])
    });
    (watching, answers)
}

#[test]
fn flt_n_06_a_normalized_name_has_no_short_components() {
    let world = world();
    let at = |path: &str| Ok(format!("{}{path}", world.volume.name));
    let long = || at("\\Program Files\\A long name.text");
    let (asked, answers) = asking(&world);
    drop(world.file("PROGRA~1\\alongn~1.TEX", GENERIC_READ | SYNCHRONIZE, SYNC));
    let not_yet = Err(NtStatus::FLT_INVALID_NAME_REQUEST);
    let both = std::mem::take(&mut *answers.lock());
    assert_eq!(both[0], [at("\\PROGRA~1\\alongn~1.TEX"), long(), not_yet.clone()]);
    assert_eq!(both[1], [at("\\PROGRA~1\\ALONGN~1.TEX"), long(), Ok("ALONGN~1.TEX".to_owned())]);
    // A file that is not there, in a directory that is named by its short name.
    let missing = world.try_open("PROGRA~1\\missing", GENERIC_READ, 0, FILE_OPEN);
    assert_eq!(missing.err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    let both = std::mem::take(&mut *answers.lock());
    assert_eq!(both[0][..2], [at("\\PROGRA~1\\missing"), at("\\Program Files\\missing")]);
    // Streams keep their names.
    drop(world.file("PROGRA~1\\ALONGN~1.TEX:s:$DATA", GENERIC_READ | SYNCHRONIZE, SYNC));
    let both = std::mem::take(&mut *answers.lock());
    assert_eq!(both[0][1], at("\\Program Files\\A long name.text:s"));
    assert_eq!(
        both[1],
        [at("\\PROGRA~1\\ALONGN~1.TEX:s"), at("\\Program Files\\A long name.text:s"), Ok("ALONGN~1.TEX".into())]
    );
    // A file without a short name says so.
    drop(world.file("plain.txt", GENERIC_READ | SYNCHRONIZE, SYNC));
    assert_eq!(answers.lock()[1][2], Err(NtStatus::OBJECT_NAME_NOT_FOUND));
    drop(asked);
}

#[test]
fn flt_n_01_a_short_name_that_is_set_is_the_one_that_is_told_from_then_on() {
    let world = world();
    world.run_as(nt_se::TokenSpec::administrator().with_privilege(nt_abi::se::SE_RESTORE_PRIVILEGE));
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.file("PROGRA~1\\ALONGN~1.TEX", 0x1_0100 | SYNCHRONIZE, SYNC);
    let object = file.object();
    let asked = |options: u32| text(name::of_open_file(&world.frame(), &own.instance, *object, options));
    let opened = |path: &str| Ok(format!("{}\\PROGRA~1\\{path}", world.volume.name));
    assert_eq!((asked(SHORT), asked(OPENED)), (Ok("ALONGN~1.TEX".into()), opened("ALONGN~1.TEX")));
    let units: Vec<u8> = "MINE.X".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(file.set(class::SHORT_NAME, &[&12_u32.to_le_bytes()[..], &units].concat()), NtStatus::SUCCESS);
    assert_eq!((asked(SHORT), asked(OPENED)), (Ok("MINE.X".into()), opened("MINE.X")));
    assert_eq!(asked(NORMALIZED), Ok(format!("{}\\Program Files\\A long name.text", world.volume.name)));
}

#[test]
fn flt_n_06_a_file_system_that_normalizes_nothing_is_asked_for_its_directories() {
    let world = world();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&answers);
    // What stands below does not know the class.
    let _older = world.watch(Watch {
        pre: Box::new(|data| {
            let class = data.iopb().get(FLT_IO_PARAMETER_BLOCK::QueryFileInformation_FileInformationClass);
            match class {
                class::NORMALIZED_NAME => PreOp::Complete(IoStatus::new(NtStatus::INVALID_PARAMETER, 0)),
                _ => PreOp::NoCallback,
            }
        }),
        ..Watch::new("Older", "100000", &[IRP_MJ_QUERY_INFORMATION])
    });
    let _asks = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(text(data.file_name(NORMALIZED)));
            PreOp::WithCallback(0)
        }),
        ..Watch::new("Asks", "200000", &[IRP_MJ_CREATE, IRP_MJ_SET_INFORMATION])
    });
    let file = world.file("PROGRA~1\\alongn~1.TEX", 0x100 | SYNCHRONIZE, SYNC);
    assert_eq!(file.set(class::BASIC, &[0; 40]), NtStatus::SUCCESS);
    let long = format!("{}\\Program Files\\A long name.text", world.volume.name);
    assert_eq!(*answers.lock(), [Ok(long.clone()), Ok(long)], "before it is open, and while it is");
}

#[test]
fn flt_n_06_a_destination_is_normalized_too() {
    let world = world();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("PROGRA~1\\ALONGN~1.TEX");
    let object = file.object();
    let of = |name: &str, options: u32| {
        let units: Vec<u16> = name.encode_utf16().collect();
        text(name::destination(&world.frame(), &own.instance, *object, Handle::NULL, &units, options))
    };
    let at = |path: &str| Ok(format!("{}{path}", world.volume.name));
    assert_eq!(of("other", NORMALIZED), at("\\Program Files\\other"));
    assert_eq!(of("\\??\\C:\\PROGRA~1\\ALONGN~1.TEX", NORMALIZED), at("\\Program Files\\A long name.text"));
    assert_eq!(of("\\??\\C:\\PROGRA~1\\other", OPENED), at("\\PROGRA~1\\other"));
}

#[test]
fn flt_n_06_a_tunnelled_name_is_found_after_the_create() {
    let world = world();
    world.volume.set_tunnelling(true);
    let (names, told) = (Arc::new(Mutex::new(Vec::<Name>::new())), Arc::new(Mutex::new(Vec::new())));
    let (before, kept, after) = (Arc::clone(&names), Arc::clone(&names), Arc::clone(&told));
    let _asks = world.watch(Watch {
        pre: Box::new(move |data| {
            before.lock().extend(data.file_name(NORMALIZED).ok());
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            let name = kept.lock().pop().expect("a name");
            let now = name::tunneled(&nt_ke::current(), data, name.info()).expect("an answer");
            after.lock().push((name.name(), now.map(|now| now.name())));
            PostOp::Finished
        }),
        ..Watch::new("Asks", "200000", &[IRP_MJ_CREATE])
    });
    let at = |path: &str| format!("{}\\Program Files\\{path}", world.volume.name);
    let take = || std::mem::take(&mut *told.lock());
    let delete = || drop(world.file("PROGRA~1\\ALONGN~1.TEX", 0x1_0000 | SYNCHRONIZE, SYNC | 0x1000));
    delete();
    assert_eq!(take(), [(at("A long name.text"), None)], "what is there has its name");
    drop(world.file("PROGRA~1\\ALONGN~1.TEX", GENERIC_READ | SYNCHRONIZE, SYNC));
    assert_eq!(take(), [(at("ALONGN~1.TEX"), Some(at("A long name.text")))], "what comes again gets it again");
    delete();
    world.volume.set_tunnelling(false);
    take();
    drop(world.file("PROGRA~1\\ALONGN~1.TEX", GENERIC_READ | SYNCHRONIZE, SYNC));
    drop(world.file("PROGRA~1\\a name that is long", GENERIC_READ | SYNCHRONIZE, SYNC));
    assert_eq!(take(), [(at("ALONGN~1.TEX"), None), (at("a name that is long"), None)], "nothing is tunnelled");
    let missing = world.try_open("PROGRA~1\\missing", GENERIC_READ, 0, FILE_OPEN);
    assert_eq!(missing.err(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    assert_eq!(take(), [(at("missing"), None)], "nothing was made");
}
