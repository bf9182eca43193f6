//! Every operation of the POSIX door, and bad luck below it, as programs meet them under `ntio run`: a clear error each, nothing
//! lost, no panic. As root, and as an ordinary user by fusermount3.
//!
//! Tests that mount fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::*;

const OPERATIONS: &str = include_str!("operations.py");
const BEGIN: &str = "import errno, os, shutil, subprocess, sys\n\
def refused(expected, body, *words):\n\
\x20   try: body(*words)\n\
\x20   except OSError as error:\n\
\x20       assert error.errno in expected, (error, expected); return\n\
\x20   raise AssertionError(('not refused', words))\n";

/// Runs a Python program in a mount.
fn python(scene: &Scene, options: &[&str], program: &str, words: &[&str]) -> Output {
    fs::write(scene.at("program.py"), program).expect("written");
    let path = scene.at("program.py");
    let begin = ["run", "--report", "none"];
    let rest = ["--", "python3", path.to_str().expect("UTF-8")];
    scene.ntio(&[&begin[..], options, &rest[..], words].concat()).stdout(Stdio::piped()).output().expect("ntio runs")
}

fn fine(done: &Output, what: &str) {
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(0) && !said.contains("panicked"), "{what}: {}\n{said}", done.status);
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Something that is mounted for a test.
struct Host<'a>(&'a Path);

impl Host<'_> {
    fn mount<'a>(at: &'a Path, words: &[&str]) -> Host<'a> {
        let done = Command::new("mount").args(words).arg(at).output().expect("mount");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Host(at)
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn every_operation_is_served_or_refused_by_the_page() {
    if no_fuse() {
        return;
    }
    for scene in Scene::all() {
        let volume = scene.volume();
        for (options, kind) in [(["-v", "ram"], "ram"), (["-v", &volume], "dir")] {
            fine(&python(&scene, &options, OPERATIONS, &[kind]), &format!("{kind} as {:?}", scene.user));
        }
    }
}

#[test]
fn a_full_disk_says_so_and_keeps_what_it_took() {
    if no_fuse() {
        return;
    }
    let program = format!(
        "{BEGIN}kept = os.urandom(200_000)\n\
with open('kept', 'wb') as file: file.write(kept); file.flush(); os.fsync(file.fileno())\n\
taken = 0\n\
file = os.open('full', os.O_CREAT | os.O_RDWR)\n\
try:\n\
\x20   while taken < 8 << 20: taken += os.write(file, b'x' * 50_000)\n\
\x20   sys.exit('the disk took 8 MiB')\n\
except OSError as error: assert error.errno == errno.ENOSPC, error\n\
assert os.fstat(file).st_size == taken and os.pread(file, taken + 1, 0) == b'x' * taken\n\
os.fsync(file)\n\
refused([errno.ENOSPC], os.pwrite, file, b'y' * 300_000, taken)\n\
assert os.fstat(file).st_size - taken < 300_000\n\
os.ftruncate(file, 1000); os.fsync(file)\n\
assert os.pwrite(file, b'z' * 1000, 1000) == 1000; os.fsync(file)\n\
assert open('kept', 'rb').read() == kept and os.pread(file, 4000, 0) == b'x' * 1000 + b'z' * 1000\n\
os.mkdir('d'); os.unlink('full')\n"
    );
    let scene = Scene::new(User::Own);
    fine(&python(&scene, &["-v", "ram:1M"], &program, &[]), "ram:1M");
    // A file system of the host that really is full: only root can make one.
    if is_root() {
        for cache in ["through", "behind"] {
            let files = scene.at("files");
            let _host = Host::mount(&files, &["-t", "tmpfs", "-o", "size=1m", "ntio-test"]);
            let volume = scene.volume();
            fine(&python(&scene, &["-v", &volume, "--cache", cache], &program, &[]), cache);
            assert_eq!(fs::metadata(files.join("kept")).expect("on the host").len(), 200_000);
        }
    }
}

#[test]
fn a_directory_that_is_read_only_says_so_and_can_be_read() {
    if no_fuse() {
        return;
    }
    let program = |errors: &str| {
        format!(
            "{BEGIN}refused({errors}, open, 'new', 'w'); refused({errors}, os.mkdir, 'new'); refused({errors}, os.symlink, 'a', 'new')\n\
refused({errors}, os.unlink, 'there'); refused({errors}, os.rename, 'there', 'other')\n\
assert open('there').read() == 'there' and os.listdir('.') == ['there'], os.listdir('.')\n"
        )
    };
    for scene in Scene::all() {
        let (files, volume) = (scene.at("files"), scene.volume());
        fs::write(files.join("there"), "there").expect("a file");
        for cache in ["through", "behind"] {
            let options = ["-v", volume.as_str(), "--cache", cache];
            match (scene.user, is_root()) {
                (User::Own, true) => {
                    let _host = Host::mount(&files, &["-t", "tmpfs", "ntio-test"]);
                    fs::write(files.join("there"), "there").expect("a file");
                    let files = files.to_str().expect("UTF-8");
                    assert!(Command::new("mount").args(["-o", "remount,ro", files]).status().expect("mount").success());
                    let more = "\nrefused([errno.EROFS], open, 'there', 'r+'); refused([errno.EROFS], os.truncate, 'there', 0)\n";
                    fine(&python(&scene, &options, &(program("[errno.EROFS]") + more), &[]), cache);
                }
                _ => {
                    fs::set_permissions(&files, fs::Permissions::from_mode(0o555)).expect("chmod");
                    fine(&python(&scene, &options, &program("[errno.EACCES, errno.EPERM]"), &[]), cache);
                    fs::set_permissions(&files, fs::Permissions::from_mode(0o777)).expect("chmod");
                }
            }
        }
        assert_eq!(fs::read_to_string(files.join("there")).expect("still there"), "there");
    }
}

#[test]
fn a_directory_that_vanishes_says_so_and_open_files_go_on() {
    if no_fuse() {
        return;
    }
    let program = format!(
        "{BEGIN}file = os.open('f', os.O_CREAT | os.O_RDWR); os.write(file, b'kept'); os.mkdir('d')\n\
shutil.rmtree(sys.argv[1])\n\
gone = [errno.ENOENT, errno.ESTALE, errno.ENODEV]\n\
refused(gone, open, 'new', 'w'); refused(gone, os.mkdir, 'new'); refused(gone, os.stat, 'd'); refused(gone, os.unlink, 'f')\n\
assert os.pread(file, 10, 0) == b'kept' and os.pwrite(file, b'KEPT', 0) == 4 and os.pread(file, 10, 0) == b'KEPT'\n\
os.close(file)\n\
try: assert os.listdir('.') == []\n\
except OSError as error: assert error.errno in gone, error\n"
    );
    for scene in Scene::all() {
        let volume = scene.volume();
        for cache in ["through", "behind"] {
            let _there = fs::create_dir(scene.at("files"));
            for path in [scene.folder.path(), &scene.at("files")] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod");
            }
            let files = scene.at("files");
            let done = python(&scene, &["-v", &volume, "--cache", cache], &program, &[files.to_str().expect("UTF-8")]);
            fine(&done, cache);
        }
    }
}

#[test]
fn a_limit_on_the_length_of_files_is_an_error_and_no_end() {
    if no_fuse() {
        return;
    }
    // The limit is the server's; the command lifts its own.
    let script = "ulimit -S -f 64; exec \"$@\"";
    for cache in ["through", "behind"] {
        let scene = Scene::new(User::Own);
        let program = format!(
            "{BEGIN}import resource\n\
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\n\
file = os.open('f', os.O_CREAT | os.O_RDWR)\n\
assert os.write(file, b'x' * 30_000) == 30_000; os.fsync(file)\n\
refused([errno.EFBIG], os.pwrite, file, b'y' * 4096, 1 << 20)\n\
refused([errno.EFBIG], os.ftruncate, file, 1 << 20)\n\
assert os.fstat(file).st_size == 30_000 and os.pread(file, 40_000, 0) == b'x' * 30_000\n"
        );
        fs::write(scene.at("program.py"), program).expect("written");
        let done = Command::new("sh")
            .args([
                "-c",
                script,
                "sh",
                NTIO,
                "run",
                "--report",
                "none",
                "-v",
                &scene.volume(),
                "--cache",
                cache,
                "--",
                "python3",
            ])
            .arg(scene.at("program.py"))
            .output()
            .expect("sh");
        fine(&done, cache);
        assert_eq!(fs::read(scene.at("files/f")).expect("on the host"), vec![b'x'; 30_000]);
    }
}

#[test]
fn a_host_that_stops_answering_is_an_error_for_the_program_and_no_end_for_the_machine() {
    if no_fuse() {
        return;
    }
    for cache in ["through", "behind"] {
        let below = Scene::new(User::Own);
        let mut mount = below.mount(&[]);
        let server = children(mount.id())[0];
        let program = format!(
            "{BEGIN}import signal\n\
file = os.open('f', os.O_CREAT | os.O_RDWR); os.write(file, b'kept'); os.fsync(file)\n\
os.kill(int(sys.argv[1]), signal.SIGKILL)\n\
dead = [errno.EIO, errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.ENXIO, errno.ENOENT]\n\
def write(): os.pwrite(file, b'lost', 0); os.fsync(file)\n\
refused(dead, write); refused(dead, open, 'new', 'w'); refused(dead, os.mkdir, 'd'); refused(dead, os.listdir, 'f')\n\
try: os.close(file)\n\
except OSError as error: assert error.errno in dead, error\n"
        );
        let scene = Scene::new(User::Own);
        let volume = format!("dir:{}", below.at("mount").display());
        let done = python(&scene, &["-v", &volume, "--cache", cache], &program, &[&server.to_string()]);
        let said = String::from_utf8_lossy(&done.stderr);
        // What was taken behind the program's back and is lost is a finding.
        assert!(
            matches!(done.status.code(), Some(0 | 1)) && !said.contains("panicked"),
            "{cache}: {}\n{said}",
            done.status
        );
        assert!(!said.contains("Error") && !said.contains("the machine fell"), "{cache}: {said}");
        assert_eq!(mount.wait().expect("it ends").code(), Some(1));
    }
}

#[test]
fn a_mount_that_is_in_use_is_let_go_with_a_word() {
    if no_fuse() {
        return;
    }
    for scene in Scene::all() {
        let at = scene.at("mount");
        let volume = scene.volume();
        let words = ["mount", at.to_str().expect("UTF-8"), "--report", "none", "-v", &volume, "--cache", "behind"];
        let mut mount = scene.ntio(&words).stderr(Stdio::piped()).spawn().expect("ntio runs");
        until("it is mounted", || mounted_for(mount.id(), &at));
        // A program of the same user, in the same namespace, that sits in the mount.
        let (id, inside) =
            (mount.id().to_string(), format!("cd {} && echo kept > f && echo in && exec sleep 600", at.display()));
        let user = if scene.user == User::Nobody { "65534" } else { "0" };
        let enter =
            ["-m", "-t", &id, "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "sh", "-c", &inside];
        let mut program = match is_root() {
            true => Command::new("nsenter").args(enter).stdout(Stdio::piped()).spawn().expect("nsenter"),
            false => Command::new("sh").args(["-c", &inside]).stdout(Stdio::piped()).spawn().expect("sh"),
        };
        let mut said = [0; 3];
        std::io::Read::read_exact(program.stdout.as_mut().expect("its output"), &mut said).expect("it is in");
        signal("INT", mount.id());
        let mut told = String::new();
        std::io::Read::read_to_string(mount.stderr.as_mut().expect("its messages"), &mut told).expect("text");
        program.kill().expect("killed");
        program.wait().expect("ended");
        assert_eq!(mount.wait().expect("it ends").code(), Some(1), "{told}");
        assert!(told.contains("a program is still using it; it was detached"), "{told}");
        assert!(!mounted(&at));
        assert_eq!(
            fs::read_to_string(scene.at("files/f")).expect("on the host"),
            "kept\n",
            "what was written behind is flushed"
        );
    }
}
