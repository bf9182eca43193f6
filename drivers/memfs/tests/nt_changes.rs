//! What is told of which change: nt-fs.md section 10, rules NT-NFY-15 to NT-NFY-24; of renames, deletes and writes.
mod support;

use nt_abi::NtStatus;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::info::class;
use nt_io::notify::{CLASS_EXTENDED, CLASS_PLAIN};
use nt_ke::Mode;
use nt_ob::Handle;
use nt_se::{Descriptor, Sid};
use support::directory::{long, word};
use support::names::*;
use support::notify::*;
use support::security::{self, DACL, GROUP, WRITE_DAC, WRITE_OWNER, everyone};
use support::*;

const SECURITY: u32 = 0x100;
const ENUM_DIR: Iosb = Iosb::Is(NtStatus::NOTIFY_ENUM_DIR, 0);

#[test]
fn nt_nfy_15_files_and_directories_have_filters_of_their_own() {
    let world = World::new();
    let (files, dirs) = (world.watched("d"), world.watched("d"));
    let (of_file, of_dir) = (files.watch(FILE_NAME), dirs.watch(DIR_NAME));
    world.put("d\\f", b"");
    assert_eq!(of_file.told(), told(&[(ADDED, "f")]));
    assert!(of_dir.is_waiting());
    drop(world.directory("d\\sub"));
    assert_eq!(of_dir.told(), told(&[(ADDED, "sub")]));
    let (of_file, of_dir) = (files.watch(FILE_NAME), dirs.watch(DIR_NAME));
    assert_eq!(world.to_delete("d\\f").dispose(true), NtStatus::SUCCESS);
    assert_eq!(of_file.told(), told(&[(REMOVED, "f")]));
    assert!(of_dir.is_waiting());
    drop(world.file("d\\sub", DELETE | SYNCHRONIZE, SYNC | DIR | DELETE_ON_CLOSE));
    assert_eq!(of_dir.told(), told(&[(REMOVED, "sub")]));
    // A new name of a file is one more.
    let of_file = files.watch(FILE_NAME);
    world.put("other", b"");
    let file = world.to_delete("other");
    assert_eq!(file.link("d\\link", false), NtStatus::OBJECT_NAME_INVALID);
    drop(file);
    world.put("d\\first", b"");
    assert_eq!(of_file.told(), told(&[(ADDED, "first")]));
    let of_file = files.watch(FILE_NAME);
    assert_eq!(world.to_delete("d\\first").link("second", false), NtStatus::SUCCESS);
    assert_eq!(of_file.told(), told(&[(ADDED, "second")]));
}

#[test]
fn nt_nfy_16_without_the_tree_only_children_count() {
    let world = World::new();
    drop((world.directory("d"), world.directory("d\\sub")));
    let (dir, above) = (world.watched("d"), world.watched(""));
    let (own, parents) = (dir.watch(ALL), above.watch(ATTRIBUTES));
    world.put("d\\sub\\f", b"");
    let heard = dir.watch(ALL);
    assert_eq!(own.told(), told(&[(MODIFIED, "sub")]), "its child was written to, no more");
    world.attributes("d", 2);
    assert!(heard.is_waiting(), "its own attributes are its parent's business");
    assert_eq!(parents.told(), told(&[(MODIFIED, "d")]));
    world.attributes("d\\sub", 2);
    assert_eq!(heard.told(), told(&[(MODIFIED, "sub")]));
}

#[test]
fn nt_nfy_17_a_directory_that_got_or_lost_a_name_is_modified() {
    let world = World::new();
    drop((world.directory("d"), world.directory("d\\sub")));
    let dir = world.watched("d");
    let wait = dir.watch_tree(FILE_NAME | LAST_WRITE);
    drop(world.sync_file("d\\sub\\f"));
    assert_eq!(wait.told(), told(&[(MODIFIED, "sub"), (ADDED, "sub\\f")]));
    let wait = dir.watch_tree(0xFFF);
    assert_eq!(world.to_delete("d\\sub\\f").dispose(true), NtStatus::SUCCESS);
    assert_eq!(wait.told(), told(&[(MODIFIED, "sub"), (REMOVED, "sub\\f")]));
    let wait = dir.watch_tree(0xFFF);
    drop(world.sync_file("d\\f"));
    assert_eq!(wait.told(), told(&[(ADDED, "f")]), "the watched directory itself is its parent's business");
}

#[test]
fn nt_nfy_18_the_two_names_of_a_rename_stay_together() {
    let world = World::new();
    drop(world.directory("d"));
    world.put("d\\aa", b"");
    let dir = world.watched("d");
    let wait = dir.watch_sized(FILE_NAME, 64);
    assert_eq!(world.to_delete("d\\aa").rename("bb", false), NtStatus::SUCCESS);
    assert_eq!(wait.told(), told(&[(OLD_NAME, "aa"), (NEW_NAME, "bb")]), "one request");
    // Room for the old name only.
    let small = world.watched("d");
    let wait = small.watch_sized(FILE_NAME, 0x14);
    assert_eq!(world.to_delete("d\\bb").rename("cc", false), NtStatus::SUCCESS);
    assert_eq!(wait.iosb(), ENUM_DIR);
    // Two threads rename at once: each pair is whole.
    let wait = dir.watch_sized(FILE_NAME, 64);
    drop(wait);
    world.put("d\\x0", b"");
    world.put("d\\y0", b"");
    let big = world.watched("d");
    let first = big.watch_sized(FILE_NAME, 0x4000);
    let twin = |letter: char| {
        let (kernel, processes, process) =
            (world.kernel.clone(), world.processes.clone(), std::sync::Arc::clone(&world.process));
        std::thread::spawn(move || {
            let thread = processes.create_thread(&kernel, &process).expect("thread");
            let entered = nt_ke::enter(&kernel, &thread, Mode::User);
            let spec = nt_io::create::CreateSpec {
                access: DELETE | SYNCHRONIZE,
                name: full(&format!("d\\{letter}0")).encode_utf16().collect(),
                options: SYNC,
                disposition: 1,
                ..nt_io::create::CreateSpec::default()
            };
            let (handle, _) = nt_io::create::nt_create_file(entered.frame(), &spec).expect("a file");
            let (block, iosb) = (UserBlock::new(64).expect("arena"), UserBlock::new(16).expect("arena"));
            for at in 1..=50 {
                let data = name_information(0, Handle::NULL, &format!("{letter}{at}"));
                block.region().sub(0, data.len()).write_from(&data).expect("arena");
                let args = nt_io::info::InfoArguments {
                    handle,
                    iosb: Addr::user(iosb.addr()),
                    buffer: Addr::user(block.addr()),
                    length: data.len() as u32,
                    class: class::RENAME,
                };
                let done = nt_io::info::nt_set_information_file(entered.frame(), &args);
                assert_eq!(done, NtStatus::SUCCESS);
            }
            nt_io::event::close(entered.frame(), handle).expect("open");
            thread.end();
        })
    };
    let threads = [twin('x'), twin('y')];
    for thread in threads {
        thread.join().expect("a renamer");
    }
    let mut all = first.told();
    all.extend(big.watch_sized(FILE_NAME, 0x4000).told());
    assert_eq!(all.len(), 200);
    for pair in all.chunks_exact(2) {
        assert_eq!((pair[0].0, pair[1].0), (OLD_NAME, NEW_NAME));
        assert_eq!(pair[0].1[..1], pair[1].1[..1], "of one file: {pair:?}");
    }
}

#[test]
fn nt_nfy_19_a_write_is_told_when_the_writers_handle_goes() {
    let world = World::new();
    world.fill("d", &["f", "g", "h"]);
    let (dir, sizes, writes) = (world.watched("d"), world.watched("d"), world.watched("d"));
    let (both, size, write) = (dir.watch(SIZE | LAST_WRITE), sizes.watch(SIZE), writes.watch(LAST_WRITE));
    let file = world.sync_file("d\\f");
    assert_eq!(file.write(b"bytes", Some(0)), success(5));
    assert!(both.is_waiting() && size.is_waiting() && write.is_waiting(), "cached: not yet");
    drop(file);
    for wait in [both, size, write] {
        assert_eq!(wait.told(), told(&[(MODIFIED, "f")]));
    }
    // Nothing new in size.
    let (size, write) = (sizes.watch(SIZE), writes.watch(LAST_WRITE));
    let file = world.sync_file("d\\f");
    assert_eq!(file.write(b"BYTES", Some(0)), success(5));
    drop(file);
    assert!(size.is_waiting());
    assert_eq!(write.told(), told(&[(MODIFIED, "f")]));
    // A handle that only reads tells nothing.
    let write = writes.watch(LAST_WRITE);
    assert_eq!(world.get("d\\f"), Some(b"BYTES".to_vec()));
    assert!(size.is_waiting() && write.is_waiting());
    // A new end of file is a change of size.
    let file = world.sync_file("d\\g");
    assert_eq!(file.set(class::END_OF_FILE, &9_u64.to_le_bytes()), NtStatus::SUCCESS);
    drop(file);
    assert_eq!((size.told(), write.told()), (told(&[(MODIFIED, "g")]), told(&[(MODIFIED, "g")])));
    // At once: a noncached write that extends, and one that is written through.
    for (name, options) in [("d\\g", SYNC | NONCACHED), ("d\\h", SYNC | 2)] {
        let size = sizes.watch(SIZE);
        let file = world.file(name, GENERIC_WRITE | SYNCHRONIZE, options);
        assert_eq!(file.write(&[1; 512], Some(0)), success(512));
        assert_eq!(size.told(), told(&[(MODIFIED, &name[2..])]), "{options:x}");
        let size = sizes.watch(SIZE);
        drop(file);
        assert!(size.is_waiting(), "and once");
        let block = UserBlock::new(16).expect("arena");
        let _gone = nt_io::cancel::nt_cancel_io_file(&world.frame(), sizes.handle, Addr::user(block.addr()));
    }
}

/// FILE_OBJECT.Flags of an open.
fn flags_of(file: &File<'_>) -> u32 {
    let frame = file.world.frame();
    let found = nt_ps::table_of(&frame, file.handle, false).reference(file.handle).expect("open");
    found.object.body().view::<nt_abi::io::FILE_OBJECT>().get(nt_abi::io::FILE_OBJECT::Flags)
}

#[test]
fn nt_s_08_a_write_notes_what_it_changed_or_tells_of_it_at_once() {
    const MODIFIED_FLAG: u32 = 0x1000;
    const SIZE_FLAG: u32 = 0x2000;
    let world = World::new();
    let dir = world.watched("d");
    let first = dir.watch_sized(SIZE, 1024);
    let file = world.sync_file("d\\cached");
    assert_eq!(flags_of(&file) & (MODIFIED_FLAG | SIZE_FLAG), 0);
    assert_eq!(file.write(b"0123", Some(0)), success(4));
    assert_eq!(flags_of(&file) & (MODIFIED_FLAG | SIZE_FLAG), MODIFIED_FLAG | SIZE_FLAG);
    assert!(first.is_waiting());
    drop(file);
    assert_eq!(first.told(), told(&[(MODIFIED, "cached")]));
    let again = world.sync_file("d\\cached");
    assert_eq!(again.write(b"abcd", Some(0)), success(4));
    assert_eq!(flags_of(&again) & (MODIFIED_FLAG | SIZE_FLAG), MODIFIED_FLAG, "inside the file");
    for (name, options) in [("noncached", SYNC | NONCACHED), ("through", SYNC | 2)] {
        let wait = dir.watch_sized(SIZE, 1024);
        let file = world.file(&format!("d\\{name}"), GENERIC_WRITE | SYNCHRONIZE, options);
        assert_eq!(file.write(&[7; 512], Some(0)), success(512));
        assert_eq!(flags_of(&file) & (MODIFIED_FLAG | SIZE_FLAG), MODIFIED_FLAG, "{name}");
        assert_eq!(wait.told(), told(&[(MODIFIED, name)]));
        // The directory has the new size already.
        let listing = world.directory("d").list(1, 1024, 1, Some(name));
        assert_eq!(long(&listing.bytes, 0x28), 512, "{name}");
    }
}

#[test]
fn nt_s_09_a_writers_cleanup_dates_the_file_then_tells_of_it() {
    let world = World::new();
    world.fill("d", &["f", "g"]);
    let dir = world.watched("d");
    let wait = dir.watch_with(1024, |args| (args.filter, args.class) = (LAST_WRITE, CLASS_EXTENDED));
    let before = world.open_file("d\\f", 0x80 | SYNCHRONIZE, SYNC).basic();
    world.attributes("d\\f", 0x80);
    world.pause();
    let file = world.sync_file("d\\f");
    assert_eq!(file.write(b"x", Some(0)), success(1));
    assert!(wait.is_waiting());
    drop(file);
    let after = world.open_file("d\\f", 0x80 | SYNCHRONIZE, SYNC).basic();
    assert!(after.0[2] > before.0[2], "LastWriteTime");
    assert_eq!(after.1 & 0x20, 0x20, "ARCHIVE");
    assert_eq!(wait.told(), told(&[(MODIFIED, "f")]));
    assert_eq!(wait.long(0x10), after.0[2] as u64, "the record has the new time: it was told after");
    // A time that the writer set itself stays, and nothing is told of a time.
    let file = world.sync_file("d\\g");
    let mut basic = vec![0; 40];
    basic[16..24].copy_from_slice(&(-1_i64).to_le_bytes());
    assert_eq!(file.set(class::BASIC, &basic), NtStatus::SUCCESS);
    let before = file.basic().0[2];
    let quiet = dir.watch(LAST_WRITE);
    assert_eq!(file.write(b"x", Some(0)), success(1));
    drop(file);
    assert!(quiet.is_waiting());
    assert_eq!(world.open_file("d\\g", 0x80 | SYNCHRONIZE, SYNC).basic().0[2], before);
}

#[test]
fn nt_nfy_20_basic_information_tells_exactly_what_changed() {
    let world = World::new();
    world.fill("d", &["f"]);
    let file = world.file("d\\f", 0x180 | SYNCHRONIZE, SYNC);
    let time = 130_000_000_000_000_000_i64.to_le_bytes();
    let set = |at: usize| {
        let mut basic = vec![0; 40];
        match at {
            4 => basic[32..36].copy_from_slice(&2_u32.to_le_bytes()),
            at => basic[at * 8..at * 8 + 8].copy_from_slice(&time),
        }
        basic
    };
    let bits = [(0, CREATION), (1, LAST_ACCESS), (2, LAST_WRITE), (4, ATTRIBUTES)];
    let all = [ATTRIBUTES, SIZE, LAST_WRITE, LAST_ACCESS, CREATION, EA, SECURITY, FILE_NAME];
    for (at, bit) in bits {
        let opens: Vec<_> = all.iter().map(|_| world.watched("d")).collect();
        let waits: Vec<_> = opens.iter().zip(all).map(|(open, filter)| open.watch(filter)).collect();
        assert_eq!(file.set(class::BASIC, &set(at)), NtStatus::SUCCESS);
        for (wait, filter) in waits.iter().zip(all) {
            assert_eq!(!wait.is_waiting(), filter == bit, "member {at}, filter {filter:x}");
        }
        let quiet = world.watched("d");
        let quiet = (quiet.watch(ALL), quiet);
        assert_eq!(file.set(class::BASIC, &set(at)), NtStatus::SUCCESS);
        assert!(quiet.0.is_waiting(), "what is so already did not change");
        drop(quiet.1);
    }
    let (eas, others) = (world.watched("d"), world.watched("d"));
    let (of_ea, of_other) = (eas.watch(EA), others.watch(ALL & !EA));
    let writer = world.sync_file("d\\f");
    assert_eq!(writer.set_ea(&[0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'v']), NtStatus::SUCCESS);
    assert_eq!(of_ea.told(), told(&[(MODIFIED, "f")]));
    assert!(of_other.is_waiting());
    drop((eas, others));
    let (guards, others) = (world.watched("d"), world.watched("d"));
    let (of_guard, of_other) = (guards.watch(SECURITY), others.watch(ALL & !SECURITY));
    let owner = world.open_file("d\\f", WRITE_DAC | WRITE_OWNER, 0);
    assert_eq!(owner.set_security(DACL, &everyone(security::ALL)), NtStatus::SUCCESS);
    assert_eq!(of_guard.told(), told(&[(MODIFIED, "f")]));
    let of_guard = guards.watch(SECURITY);
    let group = Descriptor { group: Some(Sid::USERS), ..Descriptor::default() };
    assert_eq!(owner.set_security(GROUP, &group), NtStatus::SUCCESS);
    assert_eq!(of_guard.told(), told(&[(MODIFIED, "f")]), "each part is one");
    assert!(of_other.is_waiting());
}

#[test]
fn nt_nfy_21_streams_have_actions_and_filters_of_their_own() {
    const NAME: u32 = 0x200;
    const STREAM_SIZE: u32 = 0x400;
    const WRITE: u32 = 0x800;
    const ADDED_STREAM: u32 = 6;
    const REMOVED_STREAM: u32 = 7;
    const MODIFIED_STREAM: u32 = 8;
    let world = World::new();
    world.fill("d", &["f"]);
    let opens: Vec<_> = (0..4).map(|_| world.watched("d")).collect();
    let filters = [NAME, STREAM_SIZE, WRITE, FILE_NAME | SIZE | LAST_WRITE];
    let watch = || opens.iter().zip(filters).map(|(open, filter)| open.watch(filter)).collect::<Vec<_>>();
    let waits = watch();
    let stream = world.sync_file("d\\f:One:$DATA");
    assert_eq!(waits[0].told(), told(&[(ADDED_STREAM, "f:One")]), "without the type");
    assert!(waits[1..].iter().all(Wait::is_waiting));
    assert_eq!(stream.write(b"bytes", Some(0)), success(5));
    drop(stream);
    for wait in &waits[1..3] {
        assert_eq!(wait.told(), told(&[(MODIFIED_STREAM, "f:One")]));
    }
    assert!(waits[3].is_waiting(), "the file itself was not written to");
    // Overwritten, renamed, deleted.
    let (size, write) = (opens[1].watch(STREAM_SIZE), opens[2].watch(WRITE));
    drop(world.adopt(world.try_open("d\\f:one", GENERIC_WRITE | SYNCHRONIZE, SYNC, 5).expect("overwritten").0));
    assert_eq!((size.told(), write.told()), (told(&[(MODIFIED_STREAM, "f:One")]), told(&[(MODIFIED_STREAM, "f:One")])));
    let name = opens[0].watch(NAME);
    let stream = world.to_delete("d\\f:one");
    assert_eq!(stream.rename(":two", false), NtStatus::SUCCESS);
    assert_eq!(name.told(), told(&[(REMOVED_STREAM, "f:One"), (ADDED_STREAM, "f:two")]));
    let name = opens[0].watch(NAME);
    assert_eq!(stream.dispose(true), NtStatus::SUCCESS);
    assert!(name.is_waiting());
    drop(stream);
    assert_eq!(name.told(), told(&[(REMOVED_STREAM, "f:two")]));
    // A file that is made by the name of its stream.
    let both = world.watched("d");
    let wait = both.watch(NAME | FILE_NAME);
    drop(world.sync_file("d\\g:s"));
    let mut came = wait.told();
    came.extend(both.watch(NAME).told());
    assert_eq!(came, told(&[(ADDED, "g"), (ADDED_STREAM, "g:s")]));
    // With the file go its streams, one record for each; when it is overwritten too.
    drop(world.sync_file("d\\g:t"));
    let before = both.watch(NAME);
    assert_eq!(before.told(), told(&[(ADDED_STREAM, "g:t")]));
    let wait = both.watch(NAME);
    assert_eq!(world.to_delete("d\\g").dispose(true), NtStatus::SUCCESS);
    let mut came = wait.told();
    came.sort();
    assert_eq!(came, told(&[(REMOVED, "g"), (REMOVED_STREAM, "g:s"), (REMOVED_STREAM, "g:t")]));
    drop(world.sync_file("d\\f:last"));
    let before = both.watch(NAME);
    assert_eq!(before.told(), told(&[(ADDED_STREAM, "f:last")]));
    let wait = both.watch(NAME);
    drop(world.adopt(world.try_open("d\\f", GENERIC_WRITE | SYNCHRONIZE, SYNC, 5).expect("overwritten").0));
    assert_eq!(wait.told(), told(&[(REMOVED_STREAM, "f:last")]));
}

#[test]
fn nt_nfy_22_an_overwrite_modifies() {
    let world = World::new();
    world.fill("d", &["f"]);
    // FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF.
    for disposition in [0, 4, 5] {
        for filter in [SIZE, LAST_WRITE, ATTRIBUTES] {
            let (dir, names) = (world.watched("d"), world.watched("d"));
            let (wait, no_name) = (dir.watch(filter), names.watch(FILE_NAME | DIR_NAME | CREATION | EA));
            let (handle, _) =
                world.try_open("d\\f", GENERIC_WRITE | SYNCHRONIZE, SYNC, disposition).expect("overwritten");
            assert_eq!(wait.told(), told(&[(MODIFIED, "f")]), "{disposition} {filter:x}");
            assert!(no_name.is_waiting());
            drop(world.adopt(handle));
        }
    }
}

#[test]
fn nt_nfy_23_a_watched_directory_that_is_renamed_is_watched_on() {
    let world = World::new();
    drop((world.directory("d"), world.directory("d\\sub")));
    drop(world.directory("d\\sub\\deep"));
    let dir = world.file("d\\sub", 0x81 | DELETE | SYNCHRONIZE, DIR);
    let wait = dir.watch_tree(FILE_NAME);
    assert_eq!(dir.rename("moved", false), NtStatus::SUCCESS);
    assert!(wait.is_waiting());
    world.put("d\\moved\\deep\\f", b"");
    assert_eq!(wait.told(), told(&[(ADDED, "deep\\f")]));
    // Its place is taken by another one, which is none of its business.
    let wait = dir.watch_tree(FILE_NAME);
    world.fill("d\\sub", &["f"]);
    assert!(wait.is_waiting());
}

#[test]
fn nt_nfy_23_a_watched_directory_that_is_removed_says_so() {
    let world = World::new();
    // By disposition.
    let dir = world.watched("d");
    let waits = [dir.watch(ALL), dir.watch(ALL)];
    let other = world.to_delete("d");
    assert_eq!(other.dispose(true), NtStatus::SUCCESS);
    for wait in &waits {
        assert_eq!(wait.iosb(), Iosb::Is(NtStatus::DELETE_PENDING, 0));
    }
    assert_eq!(dir.watch(ALL).returned, NtStatus::DELETE_PENDING);
    drop((other, dir));
    // By a close that deletes.
    let dir = world.watched("e");
    let wait = dir.watch(ALL);
    drop(world.file("e", DELETE | SYNCHRONIZE, SYNC | DIR | DELETE_ON_CLOSE));
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::DELETE_PENDING, 0));
}

#[test]
fn nt_del_34_a_delete_is_told_when_the_name_goes_once_for_each_stream_too() {
    const NAME: u32 = 0x200;
    const REMOVED_STREAM: u32 = 7;
    let world = World::new();
    drop(world.directory("d"));
    for name in ["d\\f", "d\\f:one", "d\\f:two", "d\\link"] {
        drop(world.sync_file(name));
    }
    drop(world.directory("d\\sub"));
    let (of_files, of_dirs, of_streams) = (world.watched("d"), world.watched("d"), world.watched("d"));
    let (files, dirs, streams) = (of_files.watch(FILE_NAME), of_dirs.watch(DIR_NAME), of_streams.watch(NAME));
    // Marked: nothing has gone yet, nor when the handle that marked it closes under another's.
    let (other, marker) = (world.to_delete("d\\f"), world.to_delete("d\\f"));
    assert_eq!(marker.dispose(true), NtStatus::SUCCESS);
    drop(marker);
    assert!(files.is_waiting() && dirs.is_waiting() && streams.is_waiting());
    drop(other);
    assert_eq!(files.told(), told(&[(REMOVED, "f")]));
    let mut gone = streams.told();
    if gone.len() == 1 {
        gone.extend(of_streams.watch(NAME).told());
    }
    gone.sort();
    assert_eq!(gone, told(&[(REMOVED_STREAM, "f:one"), (REMOVED_STREAM, "f:two")]));
    assert!(dirs.is_waiting(), "a file is no directory");
    // A mark that is taken back tells nothing; delete-on-close tells when the handle goes.
    let files = of_files.watch(FILE_NAME);
    let file = world.to_delete("d\\link");
    assert_eq!((file.dispose(true), file.dispose(false)), (NtStatus::SUCCESS, NtStatus::SUCCESS));
    drop(file);
    assert!(files.is_waiting());
    let sub = world.file("d\\sub", DELETE | SYNCHRONIZE, SYNC | DIR | DELETE_ON_CLOSE);
    assert!(dirs.is_waiting());
    drop(sub);
    assert_eq!(dirs.told(), told(&[(REMOVED, "sub")]));
    assert!(files.is_waiting(), "a directory is no file");
    // At once with POSIX semantics: the handle that asked closes, the other's file is nameless.
    let (other, posix) = (world.to_delete("d\\link"), world.to_delete("d\\link"));
    assert_eq!(posix.set(class::DISPOSITION_EX, &3_u32.to_le_bytes()), NtStatus::SUCCESS);
    assert!(files.is_waiting());
    drop(posix);
    assert_eq!(files.told(), told(&[(REMOVED, "link")]));
    drop(other);
}

#[test]
fn nt_del_32_requests_on_a_marked_directory_end() {
    let world = World::new();
    let (dir, parent) = (world.watched("d"), world.watched(""));
    let (wait, above) = (dir.watch_tree(ALL), parent.watch(DIR_NAME));
    let marker = world.to_delete("d");
    assert_eq!(marker.dispose(true), NtStatus::SUCCESS);
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::DELETE_PENDING, 0));
    let refused = dir.watch(ALL);
    assert_eq!((refused.returned, refused.iosb()), (NtStatus::DELETE_PENDING, Iosb::Untouched));
    assert!(above.is_waiting(), "it is not gone yet");
    assert_eq!(marker.dispose(false), NtStatus::SUCCESS);
    let again = dir.watch(ALL);
    assert_eq!((again.returned, again.is_waiting()), (NtStatus::PENDING, true), "the mark is off again");
    assert_eq!(marker.dispose(true), NtStatus::SUCCESS);
    drop((marker, dir));
    assert_eq!(above.told(), told(&[(REMOVED, "d")]));
}

#[test]
fn nt_nfy_24_the_extended_record_tells_more() {
    let world = World::new();
    let dir = world.watched("d");
    for class in [0, 3, 7] {
        let wait = dir.watch_with(1024, |args| args.class = class);
        assert_eq!((wait.returned, wait.iosb()), (NtStatus::INVALID_INFO_CLASS, Iosb::Untouched), "class {class}");
    }
    let wait = dir.watch_with(1024, |args| args.class = CLASS_EXTENDED);
    world.put("d\\name", b"");
    assert_eq!(wait.iosb(), Iosb::Is(NtStatus::SUCCESS, 0x54 + 8));
    assert_eq!(wait.told(), told(&[(ADDED, "name")]));
    let file = world.sync_file("d\\name");
    assert_eq!(file.set_ea(&[0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'v']), NtStatus::SUCCESS);
    assert_eq!(file.write(&[1; 700], Some(0)), success(700));
    drop(file);
    let mut last = dir.watch_with(1024, |args| args.class = CLASS_EXTENDED);
    let records = last.records();
    assert!(records.len() > 1 && records.iter().all(|record| record.0 % 8 == 0), "aligned: {records:?}");
    let (at, ..) = *records.last().expect("a record");
    let file = world.open_file("d\\name", 0x80 | SYNCHRONIZE, SYNC);
    let (times, attributes) = file.basic();
    assert_eq!((last.long(at + 8), last.long(at + 0x10)), (times[0] as u64, times[2] as u64));
    assert_eq!((last.long(at + 0x18), last.long(at + 0x20)), (times[3] as u64, times[1] as u64));
    assert_eq!(last.long(at + 0x30), 700);
    assert!(last.long(at + 0x28) >= 700);
    let bytes = last.bytes();
    assert_eq!(word(&bytes, at + 0x38), attributes);
    assert_eq!(word(&bytes, at + 0x3C), word(&file.query(class::EA, 4), 0), "EaSize");
    assert_eq!((last.long(at + 0x40), last.long(at + 0x48)), (file.id(), dir.id()));
    // Class 1 of the newer call is the older record.
    let plain = world.watched("d");
    last = plain.watch_with(1024, |args| args.class = CLASS_PLAIN);
    world.put("d\\x", b"");
    assert_eq!(last.iosb(), Iosb::Is(NtStatus::SUCCESS, 0xE));
}

#[test]
fn nt_ren_32_a_rename_is_a_pair_and_a_move_is_two_changes() {
    let world = World::new();
    world.fill("a", &["f", "g"]);
    world.fill("b", &["taken"]);
    drop(world.directory("a\\sub"));
    let (a, b, above) = (world.watched("a"), world.watched("b"), world.watched(""));
    let (in_a, all) = (a.watch(FILE_NAME), above.watch_tree(FILE_NAME));
    assert_eq!(world.to_delete("a\\f").rename("f2", false), NtStatus::SUCCESS);
    assert_eq!(in_a.told(), told(&[(OLD_NAME, "f"), (NEW_NAME, "f2")]));
    assert_eq!(all.told(), told(&[(OLD_NAME, "a\\f"), (NEW_NAME, "a\\f2")]));
    // Its own filter for a directory.
    let (files, dirs) = (world.watched("a"), world.watched("a"));
    let (of_file, of_dir) = (files.watch(FILE_NAME), dirs.watch(DIR_NAME));
    assert_eq!(world.to_delete("a\\sub").rename("SUB", false), NtStatus::SUCCESS);
    assert_eq!(of_dir.told(), told(&[(OLD_NAME, "sub"), (NEW_NAME, "SUB")]));
    assert!(of_file.is_waiting());
    // Elsewhere: removed here, added there.
    let (in_a, in_b) = (a.watch(FILE_NAME), b.watch(FILE_NAME));
    assert_eq!(world.to_delete("a\\g").rename(&full("b\\g"), false), NtStatus::SUCCESS);
    assert_eq!((in_a.told(), in_b.told()), (told(&[(REMOVED, "g")]), told(&[(ADDED, "g")])));
    // What it replaces is removed first.
    let in_b = b.watch(FILE_NAME);
    assert_eq!(world.to_delete("b\\g").rename("taken", true), NtStatus::SUCCESS);
    assert_eq!(in_b.told(), told(&[(REMOVED, "taken"), (OLD_NAME, "g"), (NEW_NAME, "taken")]));
    // To the name that it has: nothing happens.
    let in_b = b.watch(ALL);
    assert_eq!(world.to_delete("b\\taken").rename("taken", true), NtStatus::SUCCESS);
    assert!(in_b.is_waiting());
    // Over another name of the same file: the old name goes.
    assert_eq!(world.to_delete("b\\taken").link("twin", false), NtStatus::SUCCESS);
    assert_eq!(in_b.told(), told(&[(ADDED, "twin")]));
    let in_b = b.watch(ALL);
    assert_eq!(world.to_delete("b\\twin").rename_ex("taken", REPLACE | POSIX), NtStatus::SUCCESS);
    assert_eq!(in_b.told(), told(&[(REMOVED, "twin")]));
}
