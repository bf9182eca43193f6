//! A volume through the POSIX door, used by the real kernel and by real programs.
//!
//! These tests fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use nt_machine::Machine;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use support::{Mount, until};

/// How many writes programs asked for; when the cache manager writes is its own affair.
fn writes(mount: &Mount) -> u64 {
    let report = mount.recorder.report();
    report.requests.iter().filter(|row| row.major == "IRP_MJ_WRITE" && !row.paging).map(|row| row.count).sum()
}

#[test]
fn every_write_is_one_nt_request() {
    let Some(mount) = Mount::new() else { return };
    let mut file = File::create(mount.at("a.txt")).expect("create");
    for line in 0..10 {
        file.write_all(format!("line {line}\n").as_bytes()).expect("write");
    }
    drop(file);
    assert_eq!(writes(&mount), 10);
    assert_eq!(fs::read_to_string(mount.at("a.txt")).expect("read").lines().count(), 10);
}

#[test]
fn appends_land_at_the_end_whatever_the_offset() {
    let Some(mount) = Mount::new() else { return };
    fs::write(mount.at("log"), b"first").expect("write");
    let append = OpenOptions::new().append(true).open(mount.at("log")).expect("open");
    append.write_at(b" second", 0).expect("write");
    fs::write(mount.at("other"), b"").expect("write");
    append.set_len(3).expect("a truncate through an append handle");
    (&append).write_all(b"!").expect("write");
    drop(append);
    assert_eq!(fs::read(mount.at("log")).expect("read"), b"fir!");
}

#[test]
fn names_links_and_modes_are_posix() {
    let Some(mount) = Mount::new() else { return };
    for name in ["a:b", "CaSe", "case", "what?*", "back\\slash", "gr\u{fc}n"] {
        fs::write(mount.at(name), name).expect("create");
    }
    let mut names: Vec<_> = fs::read_dir(mount.at("")).expect("list").map(|e| e.expect("entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["CaSe", "a:b", "back\\slash", "case", "gr\u{fc}n", "what?*"]);
    assert_eq!(fs::read_to_string(mount.at("case")).expect("read"), "case");
    let bad = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe".as_slice());
    let bad: &std::ffi::OsStr = bad;
    assert_eq!(File::create(mount.at("").join(bad)).expect_err("no UTF-8").raw_os_error(), Some(84));
    fs::set_permissions(mount.at("case"), fs::Permissions::from_mode(0o640)).expect("chmod");
    assert_eq!(fs::metadata(mount.at("case")).expect("stat").mode(), 0o100640);
    fs::hard_link(mount.at("case"), mount.at("hard")).expect("link");
    assert_eq!(fs::metadata(mount.at("hard")).expect("stat").nlink(), 2);
    symlink("case", mount.at("soft")).expect("symlink");
    assert_eq!(fs::read_link(mount.at("soft")).expect("readlink"), PathBuf::from("case"));
    assert_eq!(fs::read_to_string(mount.at("soft")).expect("through the link"), "case");
    fs::create_dir(mount.at("d")).expect("mkdir");
    fs::rename(mount.at("case"), mount.at("d/moved")).expect("rename");
    fs::write(mount.at("old"), "old").expect("write");
    fs::rename(mount.at("old"), mount.at("d/moved")).expect("rename over");
    assert_eq!(fs::read_to_string(mount.at("d/moved")).expect("read"), "old");
    assert_eq!(fs::remove_dir(mount.at("d")).expect_err("not empty").raw_os_error(), Some(39));
    assert_eq!(fs::read(mount.at("absent")).expect_err("absent").raw_os_error(), Some(2));
}

#[test]
fn a_removed_file_lives_as_long_as_it_is_open() {
    let Some(mount) = Mount::new() else { return };
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(mount.at("t")).expect("create");
    fs::remove_file(mount.at("t")).expect("unlink");
    file.write_all(b"still here").expect("write");
    assert_eq!(file.metadata().expect("fstat").len(), 10);
    fs::write(mount.at("t"), b"another").expect("the name is free");
    let mut bytes = [0; 10];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert_eq!(&bytes, b"still here");
}

#[test]
fn a_removed_directory_is_empty_for_who_is_in_it() {
    let Some(mount) = Mount::new() else { return };
    let run = |script: &str| {
        let done = Command::new("sh").arg("-euc").arg(script).current_dir(mount.at("")).output().expect("sh");
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let look = "ls -A .; stat -c '%h %F' .; cd .. && ls -A";
    assert_eq!(run(&format!("mkdir d; cd d; rmdir ../d; {look}")), "0 directory\n");
    assert_eq!(run(&format!("mkdir d e; cd e; mv -T ../d ../e; {look}; rmdir e")), "0 directory\ne\n");
    // Through a descriptor, too; and there is nothing to make in it.
    fs::create_dir(mount.at("d")).expect("mkdir");
    let open = File::open(mount.at("d")).expect("a directory");
    let again = || fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd()));
    fs::remove_dir(mount.at("d")).expect("rmdir");
    assert_eq!(again().expect("listed").count(), 0);
    assert_eq!(open.metadata().expect("fstat").nlink(), 0);
    open.sync_all().expect("fsync");
    let inside = File::create(format!("/proc/self/fd/{}/f", open.as_raw_fd()));
    assert_eq!(inside.expect_err("gone").raw_os_error(), Some(libc::ENOENT));
    fs::create_dir(mount.at("d")).expect("the name is free");
    fs::write(mount.at("d/f"), "").expect("create");
    assert_eq!(again().expect("listed").count(), 0, "another directory");
}

#[test]
fn a_removed_file_is_opened_again_through_a_descriptor() {
    let Some(mount) = Mount::new() else { return };
    let again = |file: &File, options: &OpenOptions| options.open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let first = OpenOptions::new().read(true).write(true).create_new(true).open(mount.at("t")).expect("create");
    fs::remove_file(mount.at("t")).expect("unlink");
    first.write_all_at(b"first", 0).expect("write");
    let mut reader = again(&first, OpenOptions::new().read(true)).expect("to read");
    let mut appender = again(&first, OpenOptions::new().append(true)).expect("to append");
    drop(first);
    appender.write_all(b" second").expect("the handle is there as long as anybody has it");
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("read");
    assert_eq!(text, "first second");
    let third = again(&reader, OpenOptions::new().read(true).write(true)).expect("as the first was");
    drop((reader, appender));
    assert_eq!(third.metadata().expect("fstat").len(), 12);
    // What no handle is good for is not opened.
    let direct = again(&third, OpenOptions::new().read(true).custom_flags(libc::O_DIRECT));
    assert_eq!(direct.expect_err("cached").raw_os_error(), Some(libc::ESTALE));
    drop(third);
    let only = File::create(mount.at("u")).and_then(|_| File::open(mount.at("u"))).expect("read only");
    fs::remove_file(mount.at("u")).expect("unlink");
    let writer = again(&only, OpenOptions::new().write(true));
    assert_eq!(writer.expect_err("read only").raw_os_error(), Some(libc::ESTALE));
}

#[test]
fn a_noncached_handle_wants_whole_sectors() {
    let Some(mount) = Mount::new() else { return };
    let direct =
        OpenOptions::new().write(true).read(true).create(true).truncate(true).custom_flags(0o40000).open(mount.at("d"));
    let direct = direct.expect("O_DIRECT");
    assert_eq!(direct.write_at(&[1; 100], 0).expect_err("misaligned").raw_os_error(), Some(22));
    assert_eq!(direct.write_at(&[1; 1024], 512).expect("aligned"), 1024);
}

#[test]
fn attributes_times_and_sizes_are_kept() {
    let Some(mount) = Mount::new() else { return };
    let path = mount.at("x");
    let file = File::create(&path).expect("create");
    file.set_len(10_000).expect("truncate");
    let when = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_700);
    file.set_modified(when).expect("utimensat");
    let meta = fs::metadata(&path).expect("stat");
    assert_eq!((meta.len(), meta.modified().expect("mtime")), (10_000, when));
    let run = |words: &[&str]| Command::new(words[0]).args(&words[1..]).arg(&path).output().expect(words[0]);
    assert!(run(&["chown", "12:34"]).status.success());
    let meta = fs::metadata(&path).expect("stat");
    assert_eq!((meta.uid(), meta.gid()), (12, 34));
    let statfs = Command::new("df").arg("--output=size").arg(&path).output().expect("df");
    assert!(String::from_utf8_lossy(&statfs.stdout).contains("262144"), "{statfs:?}");
}

#[test]
fn a_mapping_written_back_does_not_go_through_the_append_handle() {
    let Some(mount) = Mount::new() else { return };
    let script =
        "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),0)\nm[0:4]=b'MMAP'\nm.flush()\nm.close()\n";
    fs::write(mount.at("m"), vec![b'.'; 10_000]).expect("write");
    let append = OpenOptions::new().append(true).open(mount.at("m")).expect("open");
    let Ok(done) = Command::new("python3").arg("-c").arg(script).arg(mount.at("m")).output() else {
        panic!("python3 is needed to map a file");
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    drop(append);
    let mut bytes = Vec::new();
    File::open(mount.at("m")).expect("open").read_to_end(&mut bytes).expect("read");
    assert_eq!((bytes.len(), &bytes[..5]), (10_000, &b"MMAP."[..]));
}

#[test]
fn a_git_session_survives_fsck() {
    let Some(mount) = Mount::new() else { return };
    let script = "set -e; git init -q r; cd r; git config user.email a@b; git config user.name n; \
        for i in 1 2 3 4 5; do echo $i > f$i; git add .; git commit -qm $i; done; git gc -q; git fsck --full --strict";
    let done = Command::new("sh").arg("-c").arg(script).current_dir(mount.at("")).env("HOME", "/nonexistent").output();
    let done = done.expect("sh");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn sqlite_keeps_its_rows() {
    let Some(mount) = Mount::new() else { return };
    let script = "create table t(a); with recursive c(x) as (select 1 union all select x+1 from c where x<1000) \
        insert into t select x from c; select count(*), sum(a) from t; pragma integrity_check;";
    let done = Command::new("sqlite3").arg(mount.at("db")).arg(script).output().expect("sqlite3");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1000|500500\nok\n", "{done:?}");
}

#[test]
fn a_mount_point_that_does_not_exist_is_named() {
    let machine = Arc::new(Machine::builder().build().expect("a machine"));
    let error =
        ntio_fuse::mount(&machine, 0, std::path::Path::new("/nonexistent/mount")).expect_err("absent").to_string();
    assert!(error.contains("/nonexistent/mount") && error.contains("mkdir"), "{error}");
}

#[test]
fn a_set_group_id_directory_gives_its_group_to_what_is_made_in_it() {
    let Some(mount) = Mount::new() else { return };
    fs::create_dir(mount.at("d")).expect("mkdir");
    std::os::unix::fs::chown(mount.at("d"), None, Some(77)).expect("chown");
    fs::set_permissions(mount.at("d"), fs::Permissions::from_mode(0o2775)).expect("chmod");
    fs::write(mount.at("d/f"), "x").expect("create");
    fs::create_dir(mount.at("d/sub")).expect("mkdir");
    assert_eq!(fs::metadata(mount.at("d/f")).expect("stat").gid(), 77);
    let sub = fs::metadata(mount.at("d/sub")).expect("stat");
    assert_eq!((sub.gid(), sub.mode() & 0o2000), (77, 0o2000));
    fs::write(mount.at("plain"), "x").expect("create");
    assert_ne!(fs::metadata(mount.at("plain")).expect("stat").gid(), 77);
}

#[test]
fn extended_attributes_keep_their_case() {
    let Some(mount) = Mount::new() else { return };
    fs::write(mount.at("f"), "x").expect("create");
    let script = "import os,sys\np=sys.argv[1]\n\
os.setxattr(p,'user.Name',b'one'); os.setxattr(p,'user.name',b''); os.setxattr(p,'user.gone',b'x'); os.removexattr(p,'user.gone')\n\
assert sorted(os.listxattr(p))==['user.Name','user.name'], os.listxattr(p)\n\
assert os.getxattr(p,'user.Name')==b'one' and os.getxattr(p,'user.name')==b''\n\
for name, flag, errno in [('user.Name', os.XATTR_CREATE, 17), ('user.absent', os.XATTR_REPLACE, 61)]:\n\
\x20 try: os.setxattr(p,name,b'y',flag); sys.exit(name)\n\
\x20 except OSError as e: assert e.errno==errno, e\n";
    let done = Command::new("python3").arg("-c").arg(script).arg(mount.at("f")).output().expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A process must not map files of a mount that it serves: the kernel writes pages back while it holds the map of the process's
/// memory, which the server needs to go on. So this test runs itself again for the program's part.
#[test]
fn a_random_run_of_reads_writes_and_mappings_meets_its_copy() {
    const AT: &str = "NTIO_TEST_FSX_AT";
    if let Some(at) = std::env::var_os(AT) {
        for seed in 1..=3 {
            let plan = ntio_fsx::Plan { seed, operations: 5_000, most: 1 << 18, longest: 1 << 16, direct: true };
            if let Err(difference) = ntio_fsx::run(at.as_ref(), &plan) {
                panic!("{difference}");
            }
        }
        return;
    }
    let Some(mount) = Mount::new() else { return };
    let own = std::env::current_exe().expect("this program");
    let name = "a_random_run_of_reads_writes_and_mappings_meets_its_copy";
    let done =
        Command::new(own).args([name, "--exact", "--nocapture"]).env(AT, mount.at("fsx")).output().expect("a program");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "the program's part ran");
}

#[test]
fn a_noncached_read_behind_the_end_finds_nothing() {
    let Some(mount) = Mount::new() else { return };
    fs::write(mount.at("d"), vec![7; 700]).expect("write");
    let direct = OpenOptions::new().read(true).custom_flags(0o40000).open(mount.at("d")).expect("O_DIRECT");
    let mut bytes = [0; 1024];
    assert_eq!(direct.read_at(&mut bytes, 512).expect("the last sector"), 188);
    assert_eq!(direct.read_at(&mut bytes, 700).expect("the end of file, as on ext4"), 0);
    assert_eq!(direct.read_at(&mut bytes, 100).expect_err("misaligned").raw_os_error(), Some(22));
}

#[test]
fn a_time_that_is_set_stays_when_the_writer_closes() {
    let Some(mount) = Mount::new() else { return };
    let (path, when) = (mount.at("x"), std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
    let mut file = File::create(&path).expect("create");
    file.write_all(b"data").expect("write");
    let written = file.metadata().expect("fstat").modified().expect("mtime");
    assert!(written > when);
    file.set_modified(when).expect("futimens");
    drop(file);
    // RELEASE comes after close(2) returned: the time must not move then either.
    for _ in 0..20 {
        assert_eq!(fs::metadata(&path).expect("stat").modified().expect("mtime"), when);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut again = OpenOptions::new().append(true).open(&path).expect("open");
    again.write_all(b"more").expect("write");
    let moved = again.metadata().expect("fstat").modified().expect("mtime");
    assert!(moved > when, "a write moves the time");
    drop(again);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(fs::metadata(&path).expect("stat").modified().expect("mtime"), moved, "the close moves nothing");
}

#[test]
fn ranges_are_zeroed_and_sought_and_lengths_kept() {
    let Some(mount) = Mount::new() else { return };
    let path = mount.at("z");
    fs::write(&path, vec![7; 20_000]).expect("write");
    let run = |program: &str, words: &[&str]| {
        let done = Command::new(program).args(words).arg(&path).output().expect(program);
        assert!(done.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    run("fallocate", &["--punch-hole", "-o", "4096", "-l", "8192"]);
    run("fallocate", &["--zero-range", "-o", "19000", "-l", "3000"]);
    run("fallocate", &["--keep-size", "-o", "0", "-l", "100000"]);
    let bytes = fs::read(&path).expect("read");
    let expected: Vec<u8> =
        (0..22_000).map(|at| if (4096..12_288).contains(&at) || at >= 19_000 { 0 } else { 7 }).collect();
    assert!(bytes == expected, "{} bytes", bytes.len());
    run("fallocate", &["-o", "0", "-l", "30000"]);
    assert_eq!(fs::metadata(&path).expect("stat").len(), 30_000);
    let script = "import os,sys\nf=os.open(sys.argv[1],os.O_RDONLY)\n\
print(os.lseek(f,100,os.SEEK_DATA),os.lseek(f,100,os.SEEK_HOLE))\n\
try: os.lseek(f,30000,os.SEEK_DATA)\nexcept OSError as e: print(e.errno)\n";
    // What is smaller than a unit of the volume is zeros, no hole (NT-SPA-11).
    assert_eq!(run("python3", &["-c", script]), "100 30000\n6\n");
}

#[test]
fn a_file_without_a_name_gets_one_by_linkat() {
    let Some(mount) = Mount::new() else { return };
    let script = "import os,sys\nd=sys.argv[1]\nf=os.open(d,os.O_TMPFILE|os.O_RDWR,0o640)\nos.write(f,b'hidden')\n\
assert os.fstat(f).st_nlink==0 and os.listdir(d)==[], os.listdir(d)\n\
g=os.open(d,os.O_TMPFILE|os.O_RDWR,0o600)\nos.close(g)\n\
os.link('/proc/self/fd/%d'%f,d+'/named',src_dir_fd=os.open('/',os.O_RDONLY),follow_symlinks=True)\nos.close(f)\n";
    let done = Command::new("python3").arg("-c").arg(script).arg(mount.at("")).output().expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // RELEASE comes after close(2) returned.
    until("the hidden name goes", || fs::metadata(mount.at("named")).expect("stat").nlink() == 1);
    let meta = fs::metadata(mount.at("named")).expect("stat");
    assert_eq!((meta.nlink(), meta.mode() & 0o777, meta.len()), (1, 0o640, 6));
    let names: Vec<_> =
        fs::read_dir(mount.at("")).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!(names, ["named"]);
}

#[test]
fn an_ordinary_user_mounts_with_fusermount3() {
    if std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1") {
        return;
    }
    const AT: &str = "NTIO_TEST_USER_AT";
    if let Some(at) = std::env::var_os(AT) {
        let machine = Arc::new(Machine::builder().build().expect("a machine"));
        let at = PathBuf::from(at);
        let mounted = ntio_fuse::mount(&machine, 0, &at).expect("a mount by fusermount3");
        let server = std::thread::spawn(move || mounted.serve().expect("a session"));
        fs::write(at.join("mine"), "by an ordinary user").expect("write");
        let meta = fs::metadata(at.join("mine")).expect("stat");
        assert_eq!((meta.uid(), meta.len()), (rustix::process::getuid().as_raw(), 19));
        assert_eq!(fs::read_to_string(at.join("mine")).expect("read"), "by an ordinary user");
        let gone = Command::new("fusermount3").arg("-u").arg(&at).status().expect("fusermount3");
        assert!(gone.success());
        server.join().expect("the server ends");
        return;
    }
    let own = std::env::current_exe().expect("this program");
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("mount");
    fs::create_dir(&at).expect("a mount point");
    let name = "an_ordinary_user_mounts_with_fusermount3";
    let mut command = if rustix::process::getuid().is_root() {
        // As nobody, from a copy that nobody can read; where root keeps the device to itself, with another node for it in a
        // mount namespace of the program's own.
        let program = folder.path().join("test");
        fs::copy(&own, &program).expect("a copy");
        for path in [folder.path(), &program] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        std::os::unix::fs::chown(&at, Some(65534), Some(65534)).expect("chown");
        // The namespace is a copy: other tests' mounts, which would last as long as it does, are let go first.
        let script = "umount -l -a -t fuse.ntio || :; mknod \"$1\" c 10 229; chmod 666 \"$1\"; mount --bind \"$1\" /dev/fuse; shift; \
            exec setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--", "sh", "-euc", script, "sh"]).arg(folder.path().join("fuse")).arg(program);
        command
    } else {
        Command::new(own)
    };
    let done = command.args([name, "--exact", "--nocapture"]).env(AT, &at).output().expect("a program");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "the user's part ran");
}
