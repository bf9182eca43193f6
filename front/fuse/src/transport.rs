//! Mounting and unmounting: mount(2) and umount2(2) as root, fusermount3 as anybody.
//!
//! Room: front/fuse. Called by: `door`. Calls: rustix, fusermount3. Source: mount.fuse3(8); the protocol of fusermount3
//! (the descriptor comes over the socket that _FUSE_COMMFD names).

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// Mounts; `name` is shown as the source.
pub(crate) fn mount(at: &Path, name: &str, others: bool, read_only: bool) -> io::Result<OwnedFd> {
    if rustix::process::geteuid().is_root() {
        match directly(at, name, others, read_only) {
            // Root without the right to mount (a container): fusermount3 may still be let.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            other => return other,
        }
    }
    by_helper(at, name, others, read_only)
}

fn directly(at: &Path, name: &str, others: bool, read_only: bool) -> io::Result<OwnedFd> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let others = if others { ",allow_other" } else { "" };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let data =
        format!("fd={},rootmode=40000,user_id={uid},group_id={gid},default_permissions{others}", device.as_raw_fd());
    let data = CString::new(data)?;
    let protected = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    rustix::mount::mount(name, at, "fuse.ntio", MountFlags::NOSUID | MountFlags::NODEV | protected, data.as_c_str())?;
    Ok(device)
}

fn by_helper(at: &Path, name: &str, others: bool, read_only: bool) -> io::Result<OwnedFd> {
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let others = if others { ",allow_other" } else { "" };
    let protected = if read_only { ",ro" } else { "" };
    let options = format!("fsname={name},subtype=ntio,default_permissions,nosuid,nodev{others}{protected}");
    let mut helper = Command::new("fusermount3")
        .args(["-o", &options, "--"])
        .arg(at)
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("fusermount3: {error}; the Debian package is fuse3")))?;
    let device = receive(&ours);
    // It watches the socket for automatic unmounting only; it ends by itself.
    drop(ours);
    let said = helper.stderr.take().map(io::read_to_string).transpose()?.unwrap_or_default();
    let _status = helper.wait()?;
    device?.ok_or_else(|| io::Error::other(said.trim().to_owned()))
}

fn receive(from: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut into = [io::IoSliceMut::new(&mut byte)];
    rustix::io::retry_on_intr(|| rustix::net::recvmsg(from, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// Unmounts, as umount2(2) does; by fusermount3 where that takes a right that the caller has not. With `detach` also a mount that
/// programs still use.
///
/// # Errors
/// umount2's, or without a number what fusermount3 said.
pub fn unmount(at: &Path, detach: bool) -> io::Result<()> {
    let (flags, words) = if detach {
        (UnmountFlags::DETACH, ["-u", "-z"].as_slice())
    } else {
        (UnmountFlags::empty(), ["-u"].as_slice())
    };
    match rustix::mount::unmount(at, flags) {
        Err(rustix::io::Errno::PERM) => {}
        other => return Ok(other?),
    }
    let helper = Command::new("fusermount3").args(words).arg("--").arg(at).stdin(Stdio::null()).output();
    let done = helper.map_err(|error| io::Error::other(format!("fusermount3: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}
