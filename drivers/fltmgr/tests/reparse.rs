//! Filters and reparse points: what they see of one that is followed, their own, and opens that they send elsewhere.
mod support;

use nt_abi::NtStatus;
use nt_abi::flt::FLT_IO_PARAMETER_BLOCK;
use nt_abi::io::*;
use nt_fltmgr::{CallbackData, PostOp, PreOp, calls};
use nt_io::create::CreateSpec;
use nt_io::irp::IoStatus;
use nt_ke::Mutex;
use std::sync::Arc;
use support::reparse::*;
use support::*;

const OPENS: &[u8] = &[IRP_MJ_CREATE];

fn text(data: CallbackData) -> String {
    let file = data.file().expect("a file object");
    String::from_utf16(&nt_rtl::unicode::units(file.at(FILE_OBJECT::FileName)).expect("readable")).expect("text")
}

/// What a filter saw of creates: the name, in the post callback the result, and the reparse point's tag and rest.
type Seen = (String, Option<(IoStatus, Option<(u32, u16)>)>);
type Log = Arc<Mutex<Vec<Seen>>>;

fn seeing(world: &World, name: &'static str, altitude: &'static str) -> (Watching, Log) {
    let log = Log::default();
    let (before, after) = (Arc::clone(&log), Arc::clone(&log));
    let own = world.watch(Watch {
        pre: Box::new(move |data| {
            before.lock().push((text(data), None));
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            after.lock().push((text(data), Some((data.status(), data.tag()))));
            PostOp::Finished
        }),
        ..Watch::new(name, altitude, OPENS)
    });
    (own, log)
}

fn ends(status: NtStatus, information: u64) -> IoStatus {
    IoStatus::new(status, information)
}

/// Reparse data that nobody freed.
fn left_over(world: &World) -> usize {
    let tag = nt_ex::pool::tag(b"RamR");
    nt_ex::pool::outstanding(world.kernel.id())
        .iter()
        .filter(|(there, ..)| *there == tag)
        .map(|(_, count, _)| *count)
        .sum()
}

#[test]
fn nt_rep_21_each_restart_is_a_create_of_its_own_to_every_filter() {
    let world = filtered();
    world.folder("d");
    world.put("d\\f", b"x");
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    world.symlink("link", "junction\\f", true);
    let (_own, log) = seeing(&world, "Own", "200000");
    drop(world.open_file("link", 0x80 | SYNCHRONIZE, SYNC));
    let (symlink, mount) = (u64::from(SYMLINK), u64::from(MOUNT));
    let pre = |name: &str| (name.to_owned(), None);
    let post = |name: &str, end: IoStatus, tag: Option<(u32, u16)>| (name.to_owned(), Some((end, tag)));
    assert_eq!(
        *log.lock(),
        [
            pre("\\link"),
            post("\\link", ends(NtStatus::REPARSE, symlink), Some((SYMLINK, 0))),
            pre("\\junction\\f"),
            post("\\junction\\f", ends(NtStatus::REPARSE, mount), Some((MOUNT, 4))),
            pre("\\d\\f"),
            post("\\d\\f", ends(NtStatus::SUCCESS, 1), None),
        ]
    );
    assert_eq!(left_over(&world), 0);
}

#[test]
fn nt_rep_18_a_filter_that_knows_the_tag_opens_the_file() {
    let world = filtered();
    world.linked("own", &guid_data(OURS, 7, b"where it is"));
    let open = || world.try_open("own", READ_DATA | SYNCHRONIZE, SYNC, 1);
    let (_above, log) = seeing(&world, "Above", "300000");
    assert_eq!(open().err(), Some(NtStatus::IO_REPARSE_TAG_NOT_HANDLED));
    assert_eq!(log.lock().pop(), Some(("\\own".into(), Some((ends(NtStatus::REPARSE, OURS.into()), Some((OURS, 0)))))));
    let _owner = world.watch(Watch {
        post: Box::new(|data| {
            if data.status().status == NtStatus::REPARSE && data.tag().is_some_and(|(tag, _)| tag == OURS) {
                let iopb = data.iopb();
                let options = iopb.get(FLT_IO_PARAMETER_BLOCK::Create_Options);
                iopb.set(FLT_IO_PARAMETER_BLOCK::Create_Options, options | FILE_OPEN_REPARSE_POINT);
                data.set_dirty();
                nt_fltmgr::calls::data::reissue_synchronously(data).expect("sent again");
            }
            PostOp::Finished
        }),
        ..Watch::new("Owner", "180000", OPENS)
    });
    let (handle, made) = open().expect("its owner opens it");
    assert_eq!(made, 1);
    drop(world.adopt(handle));
    assert_eq!(log.lock().pop().and_then(|(_, end)| end).map(|(end, _)| end), Some(ends(NtStatus::SUCCESS, 1)));
    assert_eq!(left_over(&world), 0);
}

fn to(world: &World, name: &str) -> Vec<u16> {
    device_name(world, name)
}

fn redirecting(world: &World, altitude: &'static str, from: &'static str, target: Vec<u16>) -> Watching {
    world.watch(Watch {
        pre: Box::new(move |data| {
            if text(data) != from {
                return PreOp::NoCallback;
            }
            data.redirect(&target).expect("a name")
        }),
        ..Watch::new("Redirect", altitude, OPENS)
    })
}

#[test]
fn a_filter_sends_an_open_to_another_name_and_every_filter_sees_both() {
    let world = filtered();
    world.folder("d");
    world.put("d\\real", b"the other file");
    let (_above, above) = seeing(&world, "Above", "300000");
    let (_below, below) = seeing(&world, "Below", "100000");
    let _redirect = redirecting(&world, "200000", "\\asked", to(&world, "d\\real"));
    assert_eq!(world.get("asked"), Some(b"the other file".to_vec()));
    let names = |log: &Log| log.lock().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(
        names(&above)[..4],
        ["\\asked", "\\device", "\\d\\real", "\\d\\real"].map(|name| match name {
            "\\device" => format!("{}\\d\\real", world.volume.name),
            name => name.to_owned(),
        })
    );
    assert_eq!(above.lock()[1].1, Some((ends(NtStatus::REPARSE, 0), None)));
    assert_eq!(names(&below), ["\\d\\real", "\\d\\real"]);
    // What is made is made there.
    let _second = redirecting(&world, "190000", "\\new", "\\??\\C:\\d\\made".encode_utf16().collect());
    world.put("new", b"1");
    assert_eq!(world.get("d\\made"), Some(b"1".to_vec()));
    assert_eq!(
        world.try_open("new", 0x80 | SYNCHRONIZE, SYNC | 0x20_0000, 1).map(|(h, _)| drop(world.adopt(h))),
        Ok(())
    );
}

#[test]
fn nt_rep_23_a_filter_that_never_stops_is_stopped() {
    let world = filtered();
    let (_above, above) = seeing(&world, "Above", "300000");
    let _redirect = redirecting(&world, "200000", "\\round", to(&world, "round"));
    let end = world.try_open("round", 0x80 | SYNCHRONIZE, SYNC, 1).err();
    assert_eq!((end, above.lock().len()), (Some(NtStatus::REPARSE_POINT_NOT_RESOLVED), 2 * 64));
    let _nowhere = redirecting(&world, "190000", "\\odd", "no absolute name".encode_utf16().collect());
    assert_eq!(world.try_open("odd", 0x80 | SYNCHRONIZE, SYNC, 1).err(), Some(NtStatus::OBJECT_NAME_INVALID));
}

#[test]
fn flt_g_08_a_create_of_a_filters_own_stays_below_it_on_every_restart() {
    let world = filtered();
    let other = nt_memfs::mount(&world.kernel, 2, None).expect("a second volume");
    world.folder("d");
    world.put("d\\f", b"x");
    world.directory_link("junction", &mount_data("\\??\\C:\\d"));
    world.directory_link("away", &mount_data("\\??\\D:\\"));
    let (_above, above) = seeing(&world, "Above", "300000");
    let own = world.watch(Watch::new("Own", "200000", &[IRP_MJ_CREATE, IRP_MJ_CLEANUP, IRP_MJ_CLOSE]));
    let (_below, below) = seeing(&world, "Below", "100000");
    let create = |name: &str| {
        let spec =
            CreateSpec { name: to(&world, name), access: 0x80 | SYNCHRONIZE, options: SYNC, ..CreateSpec::default() };
        calls::create(&world.frame(), Some(&own.instance), &spec).map(drop)
    };
    create("junction\\f").expect("through the junction");
    assert_eq!((above.lock().len(), own.watch.pres().len(), below.lock().len()), (0, 0, 4));
    assert_eq!(create("away\\f").map_err(|refused| refused.status), Err(NtStatus::MOUNT_POINT_NOT_RESOLVED));
    assert_eq!((above.lock().len(), own.watch.pres().len()), (0, 0));
    // From the top it is another volume's file that is not there.
    let end = world.try_open("away\\f", 0x80 | SYNCHRONIZE, SYNC, 1).err();
    assert_eq!(end, Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    drop(other);
    assert_eq!(left_over(&world), 0);
}
