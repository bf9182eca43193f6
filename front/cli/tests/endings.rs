//! How `ntio run` and `ntio mount` end: by a signal, by an unmount from outside, by the death of the supervisor.
//!
//! Tests that mount fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use support::*;

#[test]
fn a_killed_supervisor_of_run_leaves_nothing_behind_and_loses_nothing() {
    if no_fuse() {
        return;
    }
    for scene in Scene::all() {
        // The command waits on a child that keeps a file of the mount open, and on one that ignores SIGTERM and wiped its environment.
        let script = "echo kept > f; exec 3>>f; echo more >&3; (exec env -i sh -c 'trap \"\" TERM; while :; do sleep 1; done') & \
            echo $! > ../../child; sleep 600 & echo $$ > ../../command; wait";
        let volume = scene.volume();
        let words = ["run", "--report", "none", "-v", &volume, "--cache", "behind", "--", "sh", "-c", script];
        let mut run = scene.ntio(&words).stderr(Stdio::null()).spawn().expect("ntio runs");
        until("the command runs", || number(&scene.at("command")).is_some());
        let (command, child) =
            (number(&scene.at("command")).expect("a number"), number(&scene.at("child")).expect("a number"));
        let others = children(run.id());
        assert!(others.len() >= 3 && others.contains(&command), "keeper, server and command: {others:?}");
        signal("KILL", run.id());
        assert!(!run.wait().expect("killed").success());
        until("keeper, server, command and its child end", || {
            !others.iter().chain([&child]).any(|&process| lives(process))
        });
        assert_eq!(fs::read_to_string(scene.at("files/f")).expect("on the host"), "kept\nmore\n", "{:?}", scene.user);
        assert_eq!(fs::read_dir(scene.at("tmp")).expect("TMPDIR").count(), 0, "the mount's directory is removed");
    }
}

#[test]
fn a_killed_supervisor_of_mount_leaves_no_mount() {
    if no_fuse() {
        return;
    }
    for scene in Scene::all() {
        let volume = scene.volume();
        let mut mount = scene.mount(&["-v", &volume, "--cache", "behind"]);
        let others = children(mount.id());
        assert_eq!(others.len(), 2, "keeper and server");
        if scene.user == User::Own {
            fs::write(scene.at("mount/f"), "kept").expect("a write");
        }
        signal("KILL", mount.id());
        assert!(!mount.wait().expect("killed").success());
        until("keeper and server end", || !others.iter().any(|&process| lives(process)));
        assert!(!mounted(&scene.at("mount")));
        assert_eq!(fs::read_dir(scene.at("mount")).expect("the directory stays").count(), 0);
        if scene.user == User::Own {
            assert_eq!(fs::read_to_string(scene.at("files/f")).expect("on the host"), "kept");
        }
    }
}

#[test]
fn a_server_whose_supervisor_and_keeper_were_killed_flushes_and_ends() {
    if no_fuse() {
        return;
    }
    let scene = Scene::new(User::Own);
    let volume = scene.volume();
    let mut mount = scene.mount(&["-v", &volume, "--cache", "behind"]);
    let others = children(mount.id());
    fs::write(scene.at("mount/f"), "kept").expect("a write");
    let is_keeper =
        |process: &u32| fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| words.ends_with(b"__keeper\0"));
    let keeper = *others.iter().find(|process| is_keeper(process)).expect("a keeper");
    signal("KILL", keeper);
    signal("KILL", mount.id());
    assert!(!mount.wait().expect("killed").success());
    until("the server ends", || !others.iter().any(|&process| lives(process)));
    assert_eq!(fs::read_to_string(scene.at("files/f")).expect("on the host"), "kept");
    let cleared = Command::new("umount").arg("-l").arg(scene.at("mount")).output().expect("umount");
    assert!(cleared.status.success() || !mounted(&scene.at("mount")), "{cleared:?}");
}

#[test]
fn a_killed_supervisor_of_load_takes_an_endless_driver_with_it() {
    let scene = Scene::new(User::Own);
    let image = format!("{}/../../tests/drivers/t_null.sys", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = fs::read(image).expect("the fixture");
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let header = word(&bytes, 0x3C);
    let (entry, sections) = (
        word(&bytes, header + 24 + 16),
        header + 24 + usize::from(bytes[header + 20]) + 256 * usize::from(bytes[header + 21]),
    );
    let section = (0..usize::from(bytes[header + 6])).map(|index| sections + 40 * index);
    let section = section.rev().find(|&at| word(&bytes, at + 12) <= entry).expect("the entry's section");
    let at = entry - word(&bytes, section + 12) + word(&bytes, section + 20);
    // jmp to itself
    bytes[at..at + 2].copy_from_slice(&[0xEB, 0xFE]);
    fs::write(scene.at("endless.sys"), bytes).expect("written");
    let path = scene.at("endless.sys");
    let mut load =
        scene.ntio(&["load", path.to_str().expect("UTF-8")]).stderr(Stdio::null()).spawn().expect("ntio runs");
    until("the server runs", || children(load.id()).len() == 1);
    let server = children(load.id())[0];
    let spins = || {
        fs::read_to_string(format!("/proc/{server}/stat")).is_ok_and(|all| {
            all.rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(11)?.parse::<u64>().ok())
                .is_some_and(|ticks| ticks > 20)
        })
    };
    until("the driver is busy", spins);
    signal("KILL", load.id());
    assert!(!load.wait().expect("killed").success());
    until("the server ends", || !lives(server));
}

#[test]
fn a_mount_ends_with_0_when_it_is_unmounted_or_asked_to_end_and_with_130_when_interrupted() {
    if no_fuse() {
        return;
    }
    for (name, expected) in [("TERM", 0), ("HUP", 0), ("INT", 130)] {
        let scene = Scene::new(User::Own);
        let mut mount = scene.mount(&[]);
        signal(name, mount.id());
        assert_eq!(mount.wait().expect("it ends").code(), Some(expected), "after SIG{name}");
        assert!(!mounted(&scene.at("mount")));
    }
    for scene in Scene::all() {
        for by in ["umount", "fusermount3"] {
            if scene.user == User::Nobody {
                // Seen in the namespace of the mount only.
                continue;
            }
            let mut mount = scene.mount(&[]);
            let words: &[&str] = if by == "umount" { &[] } else { &["-u"] };
            until("it is unmounted", || {
                Command::new(by)
                    .args(words)
                    .arg(scene.at("mount"))
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|done| done.success())
            });
            assert_eq!(mount.wait().expect("it ends").code(), Some(0), "after {by}");
        }
    }
}

#[test]
fn a_mount_point_that_would_hide_something_is_refused_with_a_remedy() {
    if no_fuse() {
        return;
    }
    let scene = Scene::new(User::Own);
    let at = scene.at("mount");
    let at = at.to_str().expect("UTF-8");
    fs::write(scene.at("mount/there"), "x").expect("a file");
    let (code, said) = refused(&scene, &["mount", at]);
    assert!(
        code == Some(125)
            && said.contains(at)
            && said.contains("not empty")
            && said.contains("give an empty directory"),
        "{said}"
    );
    fs::remove_file(scene.at("mount/there")).expect("removed");
    let mut mount = scene.mount(&[]);
    let link = scene.at("link");
    std::os::unix::fs::symlink(at, &link).expect("a link");
    for again in [at, link.to_str().expect("UTF-8")] {
        let (code, said) = refused(&scene, &["mount", again]);
        assert!(code == Some(125) && said.contains("already") && said.contains("fusermount3 -u"), "{said}");
    }
    // A server that was killed leaves a mount that nobody answers for; the supervisor takes it away.
    let server = children(mount.id())[0];
    signal("KILL", server);
    assert_eq!(mount.wait().expect("it ends").code(), Some(1));
    until("the dead mount goes", || !mounted(&scene.at("mount")));
    let file = scene.at("file");
    fs::write(&file, "x").expect("a file");
    let (code, said) = refused(&scene, &["mount", file.to_str().expect("UTF-8")]);
    assert!(code == Some(125) && said.contains("not a directory"), "{said}");
}

#[test]
fn a_copy_of_the_mount_in_another_namespace_does_not_keep_the_machine() {
    let scene = Scene::new(User::Own);
    if no_fuse() || !Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|done| done.status.success()) {
        return;
    }
    let (at, volume) = (scene.at("mount"), scene.volume());
    for end in ["TERM", "umount"] {
        let words = ["mount", at.to_str().expect("UTF-8"), "-v", &volume, "--cache", "behind"];
        let mut mount = scene.ntio(&words).stderr(Stdio::piped()).spawn().expect("ntio runs");
        until("it is mounted", || mounted(&at));
        // As a container does that is started meanwhile; of other tests' mounts it lets go.
        let script =
            "while read -r _ at kind _; do case $kind-$at in fuse.ntio-$1) ;; fuse.ntio-*) umount -l \"$at\" ;; esac
            done < /proc/self/mounts; echo in && exec sleep 600";
        let mut container = Command::new("unshare");
        container.args(["-m", "sh", "-c", script, "sh"]).arg(&at).stdout(Stdio::piped());
        let mut container = container.spawn().expect("unshare");
        let mut said = [0; 3];
        std::io::Read::read_exact(container.stdout.as_mut().expect("its output"), &mut said).expect("it has its copy");
        fs::write(at.join("f"), end).expect("a write");
        match end {
            "TERM" => signal(end, mount.id()),
            _ => assert!(Command::new("umount").arg(&at).status().expect("umount").success()),
        }
        let mut told = String::new();
        std::io::Read::read_to_string(mount.stderr.as_mut().expect("its messages"), &mut told).expect("text");
        assert_eq!(mount.wait().expect("it ends").code(), Some(0), "{told}");
        container.kill().expect("killed");
        container.wait().expect("ended");
        assert!(
            told.contains("ntio: the mount namespace of sleep") && told.contains("nobody looked for leaks"),
            "{told}"
        );
        assert!(told.contains("IRP_MJ_WRITE"), "what was counted is told: {told}");
        assert_eq!(fs::read_to_string(scene.at("files/f")).expect("on the host"), end);
    }
}

#[test]
fn a_mount_point_needs_no_utf_8() {
    if no_fuse() {
        return;
    }
    let scene = Scene::new(User::Own);
    let at = scene.folder.path().join(std::ffi::OsStr::from_bytes(b"m\xFFnt \\x"));
    fs::create_dir(&at).expect("a directory");
    let mut mount = scene.ntio(&["mount", "--report", "none"]).arg(&at).spawn().expect("ntio runs");
    until("it is mounted", || fs::metadata(&at).is_ok_and(|now| std::os::unix::fs::MetadataExt::ino(&now) == 1));
    fs::write(at.join("f"), "x").expect("a write");
    signal("TERM", mount.id());
    assert_eq!(mount.wait().expect("it ends").code(), Some(0));
    assert_eq!(fs::read_dir(&at).expect("the directory").count(), 0, "unmounted");
}

#[test]
fn a_mount_over_its_own_volume_is_refused_and_one_below_it_is_not_shown_by_it() {
    if no_fuse() {
        return;
    }
    let scene = Scene::new(User::Own);
    let link = scene.at("link");
    std::os::unix::fs::symlink(scene.at("files"), &link).expect("a link");
    let above = scene.at("files/above");
    fs::create_dir_all(above.join("volume")).expect("a directory");
    let inner = format!("dir:{}", above.join("volume").display());
    let through = format!("dir:{}", link.display());
    let (files, link) = (scene.at("files"), link.to_str().expect("UTF-8").to_owned());
    let (files, above) = (files.to_str().expect("UTF-8"), above.to_str().expect("UTF-8"));
    for (at, volume) in
        [(files, &scene.volume()), (&*link, &scene.volume()), (files, &through), (above, &inner), (files, &inner)]
    {
        for volumes in [&["-v", volume.as_str()][..], &["-v", "ram", "-v", volume.as_str()]] {
            let (code, said) = refused(&scene, &[&["mount", at], volumes].concat());
            assert!(code == Some(125) && said.contains(volume.as_str()) && said.contains("would cover it"), "{said}");
            assert!(said.contains("give an empty directory elsewhere"), "{said}");
        }
    }
    assert!(!mounted(&scene.at("files")));

    let below = scene.at("files/above/volume");
    let below = below.to_str().expect("UTF-8");
    fs::write(scene.at("files/f"), "x").expect("a file");
    let volume = scene.volume();
    let mut mount =
        scene.ntio(&["mount", below, "--report", "none", "-v", &volume]).stderr(Stdio::null()).spawn().expect("runs");
    until("it is mounted", || mounted(Path::new(below)));
    assert_eq!(fs::read_to_string(Path::new(below).join("f")).expect("the volume's file"), "x");
    assert!(!Path::new(below).join("above/volume").exists(), "it is not shown in itself");
    let told = scene.ntio(&["run", "--report", "none", "-v", &volume, "--", "true"]).output().expect("ntio runs");
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && said.contains("is not shown") && said.contains(below), "{said}");
    signal("TERM", mount.id());
    assert_eq!(mount.wait().expect("it ends").code(), Some(0));
    let quiet = scene.ntio(&["run", "--report", "none", "-v", &volume, "--", "true"]).output().expect("ntio runs");
    assert!(!String::from_utf8_lossy(&quiet.stderr).contains("not shown"), "nothing is mounted there");
}

#[test]
fn the_folder_of_a_volume_needs_no_utf_8_and_what_needs_it_is_named() {
    if no_fuse() {
        return;
    }
    let scene = Scene::new(User::Own);
    let folder = scene.folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xE9"));
    fs::create_dir(&folder).expect("a directory");
    let volume = [b"dir:", folder.as_os_str().as_bytes()].concat();
    let volume = std::ffi::OsStr::from_bytes(&volume);
    let done = scene
        .ntio(&["run", "--report", "none", "-v"])
        .arg(volume)
        .args(["--", "sh", "-c", "echo x > f"])
        .output()
        .expect("ntio runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read_to_string(folder.join("f")).expect("written"), "x\n");
    let filter = std::ffi::OsStr::from_bytes(b"./\xE9.sys");
    let refused = scene.ntio(&["run", "-f"]).arg(filter).args(["--", "true"]).output().expect("ntio runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("./\\xE9.sys"), "{said}");
}
