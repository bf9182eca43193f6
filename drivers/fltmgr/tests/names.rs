//! File names by the rules of fltmgr.md section 10.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_fltmgr::name::{self, Name, Source};
use nt_fltmgr::{CallbackData, PostOp, PreOp};
use nt_ke::Mutex;
use nt_ob::Handle;
use std::sync::Arc;
use support::*;

const OPENED: u32 = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT;
const NORMALIZED: u32 = FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT;

type Answers = Arc<Mutex<Vec<Result<String, NtStatus>>>>;

fn text(name: nt_abi::NtResult<Name>) -> Result<String, NtStatus> {
    name.map(|name| name.name()).map_err(NtStatus::from)
}

fn ask(data: CallbackData, options: u32) -> Result<String, NtStatus> {
    text(data.file_name(options))
}

/// A filter that asks for names in the pre and post callbacks of creates.
fn asking(world: &World, options: &'static [u32]) -> (Watching, Answers, Answers) {
    let (pre, post) = (Answers::default(), Answers::default());
    let (before, after) = (pre.clone(), post.clone());
    let watching = world.watch(Watch {
        pre: Box::new(move |data| {
            before.lock().extend(options.iter().map(|options| ask(data, *options)));
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            after.lock().extend(options.iter().map(|options| ask(data, *options)));
            PostOp::Finished
        }),
        ..Watch::new("Asks", "200000", &[IRP_MJ_CREATE])
    });
    (watching, pre, post)
}

fn take(answers: &Answers) -> Vec<Result<String, NtStatus>> {
    std::mem::take(&mut *answers.lock())
}

fn directory(world: &World, name: &str) {
    let (handle, _) = world.try_open(name, GENERIC_READ, 1, FILE_CREATE).expect("a directory");
    nt_io::event::close(&world.frame(), handle).expect("closed");
}

#[test]
fn flt_n_01_a_name_is_a_counted_structure_of_the_format_asked_for() {
    let world = filtered();
    let file = world.sync_file("n01");
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let object = file.object();
    let frame = world.frame();
    let of = |options| name::of_open_file(&frame, &own.instance, *object, options);
    for format in [FLT_FILE_NAME_NORMALIZED, FLT_FILE_NAME_OPENED] {
        let made = of(format | FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY).expect("a name");
        let info = made.info();
        assert_eq!(info.get(FLT_FILE_NAME_INFORMATION::Size), 0x78);
        assert_eq!(info.get(FLT_FILE_NAME_INFORMATION::Format), format);
        assert_eq!(info.get(FLT_FILE_NAME_INFORMATION::NamesParsed), 0, "not parsed yet");
        assert_eq!(made.name(), format!("{}\\n01", world.volume.name));
        assert_eq!(made.text(FLT_FILE_NAME_INFORMATION::Volume), world.volume.name);
        let raw = made.clone().into_raw();
        drop(made);
        assert!(name::release(raw), "the reference taken is still there");
    }
    let bad = [0, 4, FLT_FILE_NAME_QUERY_DEFAULT, FLT_FILE_NAME_OPENED | 0x500];
    for options in bad {
        assert_eq!(text(of(options)), Err(NtStatus::INVALID_PARAMETER), "{options:#x}");
    }
}

#[test]
fn flt_n_02_where_the_file_system_cannot_be_asked_the_request_is_invalid() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "210000", &[]));
    let frame = world.frame();
    let file = world.sync_file("n02");
    let object = file.object();
    let source = |forbidden| Source {
        instance: &own.instance,
        file: *object,
        opening: false,
        parent: false,
        unsafe_to_ask: forbidden,
    };
    assert_eq!(text(name::query(&frame, source(true), OPENED)), Err(NtStatus::FLT_INVALID_NAME_REQUEST));
    frame.thread.enter_guarded_region();
    let guarded = text(name::of_open_file(&frame, &own.instance, *object, OPENED));
    frame.thread.leave_guarded_region();
    assert_eq!(guarded, Err(NtStatus::FLT_INVALID_NAME_REQUEST), "all APCs are disabled");
    frame.thread.set_top_level(1);
    let inside = text(name::of_open_file(&frame, &own.instance, *object, OPENED));
    frame.thread.set_top_level(0);
    assert_eq!(inside, Err(NtStatus::FLT_INVALID_NAME_REQUEST), "inside another file system's request");
    assert!(name::query(&frame, source(false), OPENED).is_ok());
    assert!(name::query(&frame, source(true), OPENED).is_ok(), "the cache answers");
    let all = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY;
    assert_eq!(text(name::query(&frame, source(true), all)), Err(NtStatus::FLT_INVALID_NAME_REQUEST));
    let (asked, pre, _) = asking(&world, &[FLT_FILE_NAME_SHORT | FLT_FILE_NAME_QUERY_DEFAULT]);
    drop(world.sync_file("n02b"));
    assert_eq!(take(&pre), [Err(NtStatus::FLT_INVALID_NAME_REQUEST)], "a short name before the create");
    drop(asked);
}

#[test]
fn flt_n_02_not_after_cleanup_and_not_in_paging_requests() {
    let world = filtered();
    let answers = Answers::default();
    let seen = answers.clone();
    let own = world.watch(Watch {
        pre: Box::new(move |data| {
            seen.lock().push(ask(data, OPENED));
            PreOp::NoCallback
        }),
        ..Watch::new("Asks", "200000", &[IRP_MJ_WRITE, IRP_MJ_CLOSE])
    });
    let above = world.watch(Watch::new("Above", "300000", &[]));
    let file = world.sync_file("n02p");
    let object = file.object();
    let block = pool_buffer(&[1; 512]);
    let request = nt_fltmgr::generated::Transfer {
        flags: FLTFL_IO_OPERATION_PAGING | FLTFL_IO_OPERATION_NON_CACHED,
        ..plain_write(*object, Some(0), block.into(), 512)
    };
    nt_fltmgr::generated::transfer(&world.frame(), &above.instance, &request, None).expect("sent");
    assert_eq!(take(&answers), [Err(NtStatus::FLT_INVALID_NAME_REQUEST)], "a paging write");
    drop(object);
    drop(file);
    assert_eq!(take(&answers), [Err(NtStatus::FLT_INVALID_NAME_REQUEST)], "the close comes after the cleanup");
    nt_ex::pool::free(block);
    drop(own);
}

#[test]
fn flt_n_03_cache_only_misses_until_somebody_asked_and_filesystem_only_asks_again() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let asked = world.watch(Watch::new("Below", "100000", &[IRP_MJ_QUERY_INFORMATION]));
    let file = world.sync_file("n03");
    let object = file.object();
    let frame = world.frame();
    let of = |method| text(name::of_open_file(&frame, &own.instance, *object, FLT_FILE_NAME_OPENED | method));
    assert_eq!(of(FLT_FILE_NAME_QUERY_CACHE_ONLY), Err(NtStatus::FLT_NAME_CACHE_MISS));
    assert!(of(FLT_FILE_NAME_QUERY_DEFAULT).is_ok() && of(FLT_FILE_NAME_QUERY_DEFAULT).is_ok());
    assert_eq!(asked.watch.pres().len(), 1, "the second came from the cache");
    assert!(of(FLT_FILE_NAME_QUERY_CACHE_ONLY).is_ok());
    assert!(of(FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY).is_ok() && of(FLT_FILE_NAME_QUERY_FILESYSTEM_ONLY).is_ok());
    assert_eq!(asked.watch.pres().len(), 2);
    let other = world.sync_file("n03b");
    let other = other.object();
    let source = Source { instance: &own.instance, file: *other, opening: false, parent: false, unsafe_to_ask: true };
    let always = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_ALWAYS_ALLOW_CACHE_LOOKUP;
    assert_eq!(text(name::query(&frame, source, always)), Err(NtStatus::FLT_NAME_CACHE_MISS));
}

#[test]
fn flt_n_04_names_before_a_create_are_what_it_asks_for() {
    let world = filtered();
    directory(&world, "Dir");
    let (_asks, pre, post) = asking(&world, &[OPENED, NORMALIZED]);
    let at = |path: &str| Ok(format!("{}{path}", world.volume.name));
    assert!(world.try_open("dIR\\new.txt", GENERIC_READ, 0, FILE_CREATE).is_ok());
    assert_eq!(take(&pre), [at("\\dIR\\new.txt"), at("\\Dir\\new.txt")], "the last component may be missing");
    assert_eq!(take(&post), [at("\\Dir\\new.txt"), at("\\Dir\\new.txt")]);
    assert!(world.try_open("none\\x", GENERIC_READ, 0, FILE_OPEN).is_err());
    let missing = take(&pre);
    assert_eq!(missing, [at("\\none\\x"), Err(NtStatus::OBJECT_NAME_NOT_FOUND)], "the opened name needs no file");
    let (handle, _) = world.try_open("Dir", GENERIC_READ, 1, FILE_OPEN).expect("the directory");
    take(&pre);
    let spec = nt_io::create::CreateSpec {
        access: GENERIC_READ,
        root: handle,
        name: "NEW.txt".encode_utf16().collect(),
        ..nt_io::create::CreateSpec::default()
    };
    nt_io::create::nt_create_file(&world.frame(), &spec).expect("relative");
    assert_eq!(take(&pre), [at("\\Dir\\NEW.txt"), at("\\Dir\\new.txt")], "relative to an open directory");
}

#[test]
fn flt_n_05_a_name_is_parsed_into_its_parts() {
    let world = filtered();
    directory(&world, "Docs");
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("Docs\\Report.txt");
    let object = file.object();
    let frame = world.frame();
    let made = name::of_open_file(&frame, &own.instance, *object, NORMALIZED).expect("a name");
    name::parse_info(made.info()).expect("parsed");
    let part = |field| made.text(field);
    assert_eq!(part(FLT_FILE_NAME_INFORMATION::Volume), "\\Device\\HarddiskVolume1");
    assert_eq!(part(FLT_FILE_NAME_INFORMATION::Share), "");
    assert_eq!(part(FLT_FILE_NAME_INFORMATION::ParentDir), "\\Docs\\");
    assert_eq!(part(FLT_FILE_NAME_INFORMATION::FinalComponent), "Report.txt");
    assert_eq!(part(FLT_FILE_NAME_INFORMATION::Extension), "txt");
    assert_eq!(part(FLT_FILE_NAME_INFORMATION::Stream), "");
    let all = FLTFL_FILE_NAME_PARSED_FINAL_COMPONENT
        | FLTFL_FILE_NAME_PARSED_EXTENSION
        | FLTFL_FILE_NAME_PARSED_STREAM
        | FLTFL_FILE_NAME_PARSED_PARENT_DIR;
    assert_eq!(made.info().get(FLT_FILE_NAME_INFORMATION::NamesParsed), all);
    let volume = "\\Device\\HarddiskVolume1";
    for (path, start, short, expected) in [
        (
            "\\Device\\HarddiskVolume1\\Docs\\Report.txt:s1",
            volume.len(),
            false,
            ["\\Docs\\", "Report.txt:s1", "txt", ":s1"],
        ),
        (
            "\\Device\\HarddiskVolume1\\Docs\\Report.txt:s1:$DATA",
            volume.len(),
            false,
            ["\\Docs\\", "Report.txt:s1:$DATA", "txt", ":s1:$DATA"],
        ),
        ("REPORT~1.TXT", 0, true, ["", "REPORT~1.TXT", "TXT", ""]),
        ("\\Device\\Mup\\Server\\Share\\a\\b", "\\Device\\Mup\\Server\\Share".len(), false, ["\\a\\", "b", "", ""]),
        ("\\Device\\HarddiskVolume1\\", volume.len(), false, ["\\", "", "", ""]),
        ("\\Device\\HarddiskVolume1\\x.y.z", volume.len(), false, ["\\", "x.y.z", "z", ""]),
        ("\\Device\\HarddiskVolume1", volume.len(), false, ["", "", "", ""]),
    ] {
        let units: Vec<u16> = path.encode_utf16().collect();
        let parts = name::parse(&units, start, short);
        let shown = [parts.parent, parts.component, parts.extension, parts.stream].map(|range| path[range].to_owned());
        assert_eq!(shown, expected, "{path}");
    }
}

#[test]
fn flt_n_06_a_rename_is_seen_in_the_next_normalized_name() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.file("n06", GENERIC_WRITE | SYNCHRONIZE | 0x1_0000, SYNC);
    let object = file.object();
    let frame = world.frame();
    let of = || text(name::of_open_file(&frame, &own.instance, *object, NORMALIZED));
    let at = |path: &str| Ok(format!("{}{path}", world.volume.name));
    assert_eq!(of(), at("\\n06"));
    let name: Vec<u8> = "Renamed".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut data = vec![0; 20];
    data[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
    data.extend(&name);
    assert_eq!(file.set(nt_io::info::class::RENAME, &data), NtStatus::SUCCESS);
    assert_eq!(of(), at("\\Renamed"), "the cache was not asked");
}

#[test]
fn flt_n_06_the_destination_of_a_rename_is_normalized_too() {
    let world = filtered();
    directory(&world, "Target");
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let file = world.sync_file("n06d");
    let object = file.object();
    let frame = world.frame();
    let of = |root, name: &str| {
        let units: Vec<u16> = name.encode_utf16().collect();
        text(name::destination(&frame, &own.instance, *object, root, &units, NORMALIZED))
    };
    let at = |path: &str| Ok(format!("{}{path}", world.volume.name));
    assert_eq!(of(Handle::NULL, "other"), at("\\other"), "in the same directory");
    assert_eq!(of(Handle::NULL, "\\??\\C:\\TARGET\\x"), at("\\Target\\x"));
    assert_eq!(of(Handle::NULL, "\\target\\x"), at("\\Target\\x"), "from the volume's root");
    let frame2 = world.frame();
    let (root, _) = world.try_open("Target", GENERIC_READ, 1, FILE_OPEN).expect("the directory");
    let relative = {
        let units: Vec<u16> = "y".encode_utf16().collect();
        text(name::destination(&frame2, &own.instance, *object, root, &units, NORMALIZED))
    };
    assert_eq!(relative, at("\\Target\\y"), "relative to a handle");
    assert_eq!(of(Handle::NULL, "\\missing\\x"), Err(NtStatus::OBJECT_NAME_NOT_FOUND));
}

#[test]
fn flt_n_07_an_open_file_has_a_name_without_callback_data() {
    let world = filtered();
    let own = world.watch(Watch::new("Own", "200000", &[]));
    let frame = world.frame();
    let file = world.sync_file("n07");
    let object = file.object();
    let made = name::of_open_file(&frame, &own.instance, *object, OPENED).expect("a name");
    let raw = made.into_raw();
    name::reference(raw);
    assert!(name::release(raw) && name::release(raw));
    let context = object.ptr(FILE_OBJECT::FsContext);
    object.set_ptr(FILE_OBJECT::FsContext, None);
    let closed = text(name::of_open_file(&frame, &own.instance, *object, OPENED));
    object.set_ptr(FILE_OBJECT::FsContext, context);
    assert_eq!(closed, Err(NtStatus::INVALID_PARAMETER), "not an open file");
}
