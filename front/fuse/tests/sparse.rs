//! Holes in files as Linux programs make and see them, on both kinds of volume: nt-fs.md section 20, rules NT-SPA.

mod support;

use nt_machine::VolumeSpec;
use ntio_fuse::MountOptions;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use support::Mount;

const UNIT: u64 = 64 << 10;

/// Runs `test` on a mount of each kind of volume.
fn on_both(test: impl Fn(&Mount)) {
    let directory = tempfile::tempdir().expect("a directory");
    let volumes = [VolumeSpec::Ram { size: Some(256 << 20) }, VolumeSpec::Dir { path: directory.path().to_owned() }];
    for volume in volumes {
        let Some(mount) = Mount::of(volume, &MountOptions::default(), |_| {}) else { return };
        test(&mount);
    }
}

fn run(program: &str, words: &[&str], path: &Path) -> String {
    let done = Command::new(program).args(words).arg(path).output().expect(program);
    assert!(done.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Runs a Python program on an open file `f`; what it prints.
fn python(path: &Path, program: &str) -> String {
    let open = "import os,sys,mmap\nf=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT,0o600)\n";
    let script = format!("{open}{program}");
    let done = Command::new("python3").arg("-c").arg(&script).arg(path).output().expect("python3");
    assert!(done.status.success(), "{script}{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn taken(path: &Path) -> u64 {
    fs::metadata(path).expect("stat").blocks() * 512
}

fn requests(mount: &Mount, major: &str) -> u64 {
    mount.recorder.report().requests.iter().filter(|row| row.major == major).map(|row| row.count).sum()
}

#[test]
fn nt_spa_21_a_long_file_takes_what_was_written_of_it() {
    on_both(|mount| {
        let path = mount.at("long");
        run("truncate", &["-s", "1T"], &path);
        assert_eq!(fs::metadata(&path).expect("stat").len(), 1 << 40);
        assert!(taken(&path) < UNIT);
        let seen = "os.pwrite(f,b'x',1<<39)\nd=os.lseek(f,0,os.SEEK_DATA)\n\
            print(d, os.lseek(f,d,os.SEEK_HOLE)<=d+65536, os.lseek(f,0,os.SEEK_HOLE), os.pread(f,3,(1<<39)-1))\n\
            try: os.lseek(f,(1<<39)+65536,os.SEEK_DATA)\n\
            except OSError as e: print(e.errno)\n";
        assert_eq!(python(&path, seen), format!("{} True 0 b'\\x00x\\x00'\n6", 1_u64 << 39));
        assert!(taken(&path) < 3 * UNIT, "{}", taken(&path));
        run("truncate", &["-s", "5"], &path);
        assert_eq!(fs::read(&path).expect("read"), [0; 5]);
        // A shorter one that a write makes longer.
        let path = mount.at("gap");
        let file = File::create(&path).expect("create");
        file.write_all_at(b"head", 0).expect("write");
        file.write_all_at(b"tail", 40 << 20).expect("write");
        assert!(taken(&path) < 4 * UNIT, "{}", taken(&path));
        let seen = "h=os.lseek(f,0,os.SEEK_HOLE)\nprint(h<=65536,os.lseek(f,h,os.SEEK_DATA),os.pread(f,4,40<<20))\n";
        assert_eq!(python(&path, seen), format!("True {} b'tail'", 40 << 20));
        // By a handle that is behind: what another program cut is a gap for it too.
        let other = OpenOptions::new().write(true).open(&path).expect("open");
        other.set_len(0).expect("truncate");
        file.write_all_at(b"more", 41 << 20).expect("write");
        assert!(taken(&path) < 4 * UNIT, "{}", taken(&path));
    });
}

#[test]
fn nt_spa_21_copies_keep_holes_and_an_allocation_fills_them() {
    on_both(|mount| {
        let (from, to) = (mount.at("from"), mount.at("to"));
        let mut bytes = vec![0; 8 << 20];
        for at in [0, 3 << 20, (8 << 20) - 5] {
            bytes[at..at + 5].copy_from_slice(b"bytes");
        }
        fs::write(&from, &bytes).expect("write");
        assert!(taken(&from) >= 8 << 20, "what is written as zeros takes room");
        run("cp", &["--sparse=always", from.to_str().expect("UTF-8")], &to);
        assert!(fs::read(&to).expect("read") == bytes);
        assert!(taken(&to) < 8 * UNIT, "{}", taken(&to));
        let copy = mount.at("copy");
        run("cp", &["--sparse=auto", to.to_str().expect("UTF-8")], &copy);
        assert!(fs::read(&copy).expect("read") == bytes);
        assert!(taken(&copy) < 8 * UNIT, "{}", taken(&copy));
        // A part of the holes: no. All of them: yes.
        let part = "try: os.posix_fallocate(f,1<<20,1<<20)\nexcept OSError as e: print(e.errno)\n\
            print(os.lseek(f,1<<20,os.SEEK_HOLE)>=2<<20)\n";
        let refused = Command::new("fallocate").args(["-o", "1M", "-l", "1M"]).arg(&to).output().expect("fallocate");
        assert!(!refused.status.success());
        assert_eq!(python(&to, part), "True", "glibc writes zeros");
        run("fallocate", &["-l", "8M"], &to);
        assert!(taken(&to) >= 8 << 20, "{}", taken(&to));
        assert!(fs::read(&to).expect("read") == bytes);
        let size = 8 << 20;
        assert_eq!(python(&to, "print(os.lseek(f,0,os.SEEK_HOLE))"), size.to_string());
        // A hole that is punched, behind one that is stored to through a mapping.
        run("fallocate", &["--punch-hole", "-o", "1M", "-l", "4M"], &to);
        assert!(taken(&to) <= (4 << 20) + UNIT, "{}", taken(&to));
        bytes[1 << 20..5 << 20].fill(0);
        let stored = "m=mmap.mmap(f,0)\nm[2<<20:(2<<20)+6]=b'stored'\nm.flush()\nm.close()\n\
            print(os.lseek(f,1<<20,os.SEEK_DATA),os.lseek(f,1<<20,os.SEEK_HOLE))\n";
        assert_eq!(python(&to, stored), format!("{} {}", 2 << 20, 1 << 20));
        bytes[2 << 20..(2 << 20) + 6].copy_from_slice(b"stored");
        assert!(fs::read(&to).expect("read") == bytes);
        run("fallocate", &["--zero-range", "-o", "0", "-l", "9M"], &to);
        assert_eq!(fs::read(&to).expect("read"), vec![0; 9 << 20]);
    });
}

#[test]
fn nt_spa_21_an_ordinary_write_is_one_request() {
    on_both(|mount| {
        let path = mount.at("f");
        let file = File::create(&path).expect("create");
        let asked = || ["IRP_MJ_QUERY_INFORMATION", "IRP_MJ_FILE_SYSTEM_CONTROL"].map(|major| requests(mount, major));
        let before = asked();
        for number in 0..16 {
            file.write_all_at(&[7; UNIT as usize], number * UNIT).expect("write");
        }
        assert_eq!(asked(), before, "one after the other");
        drop(file);
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("open");
        let before = asked();
        for at in [12, 3, 16, 15] {
            file.write_all_at(&[8; 100], at * UNIT).expect("write");
        }
        assert_eq!(asked(), before, "anywhere in it, and at its end");
        file.write_all_at(&[8; 100], 40 * UNIT).expect("write");
        assert_eq!(asked(), [before[0] + 1, before[1] + 1], "a gap is asked for and made a hole");
        file.write_all_at(&[8; 100], 41 * UNIT).expect("write");
        assert_eq!(asked(), [before[0] + 1, before[1] + 1], "and the next is none");
    });
}
