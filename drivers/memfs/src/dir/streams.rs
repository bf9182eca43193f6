//! Named streams on the host: files in a folder of the volume's root that the volume does not show.
//!
//! Room: drivers/memfs. Called by: `stream`, with the tree lock held, and `directory`, when a file's last name goes.
//! Locks: a file's list of live streams, never across a host call. Source: house rule 8, NT-STR-18.
//!
//! `.ntio/INODE/` holds the streams of one file: `=NAME`, or `#HASH` with the name in an attribute where the host could not
//! have it. Beside them lie the short names of a directory (`shorts`). The folder and the file carry the same mark, with the file's inode number in it: a folder that a file left
//! behind which the host deleted is nobody's, also when the number comes again, and a copy that the host made of a file has
//! no streams. Bytes are written as those of any file here, so what a crash leaves is what it leaves of a file.

use super::Shared;
use super::attributes::{self, Spot};
use super::content::DirContent;
use super::host::{Access, CONFINED, Host, call, stat};
use super::object::DirObject;
use super::status::error;
use crate::backing::{Sizes, Streams};
use crate::node::{Node, Units, upcase};
use crate::stream::Kept;
use nt_abi::{NtError, NtResult, NtStatus};
use nt_cell::Region;
use nt_ex::pool;
use nt_ke::Mutex;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, RenameFlags, Statx, XattrFlags};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The folder in the volume's root.
pub(super) const FOLDER: &[u8] = crate::OWN_FOLDER.as_bytes();
/// The attribute that a file and the folder of its streams share.
pub(super) const OWNER: &[u8] = b"user.ntio.streams";
/// The name of a stream whose file cannot have it.
const NAME: &[u8] = b"user.ntio.name";
/// Bytes of a name that the host can have.
const LONGEST: usize = 250;
const MARK: usize = 32;

type Mark = [u8; MARK];

/// Where the streams of all files lie.
pub(super) struct Store {
    root: Arc<OwnedFd>,
    /// Once there is one.
    folder: Mutex<Option<Arc<OwnedFd>>>,
}

fn folder_at(directory: impl AsFd, name: &[u8]) -> NtResult<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match call(|| rustix::fs::openat2(directory.as_fd(), name, flags, Mode::empty(), CONFINED)) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(error(errno)),
    }
}

fn make_folder(directory: impl AsFd, name: &[u8]) -> NtResult<OwnedFd> {
    match call(|| rustix::fs::mkdirat(directory.as_fd(), name, Mode::RWXU)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(error(errno)),
    }
    folder_at(directory, name)?.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND.error())
}

impl Store {
    pub(super) fn new(root: &Arc<OwnedFd>) -> NtResult<Self> {
        let store = Self { root: Arc::clone(root), folder: Mutex::default() };
        // Who may not look there sees no streams, and the rest of the volume.
        match store.find() {
            Err(error) if error.status() != NtStatus::ACCESS_DENIED => Err(error),
            _ => Ok(store),
        }
    }
    /// The folder, as far as it is known.
    fn known(&self) -> Option<Arc<OwnedFd>> {
        self.folder.lock().clone()
    }
    fn learn(&self, folder: Option<OwnedFd>) -> Option<Arc<OwnedFd>> {
        let folder = folder.map(Arc::new);
        self.folder.lock().clone_from(&folder);
        folder
    }
    fn find(&self) -> NtResult<Option<Arc<OwnedFd>>> {
        match self.known() {
            Some(folder) => Ok(Some(folder)),
            None => folder_at(&self.root, FOLDER).map(|folder| self.learn(folder)),
        }
    }
    fn make(&self) -> NtResult<Arc<OwnedFd>> {
        if let Some(folder) = self.find()?
            && stat(&folder, "").is_ok_and(|stat| stat.stx_nlink != 0)
        {
            return Ok(folder);
        }
        let folder = make_folder(&self.root, FOLDER)?;
        call(|| rustix::fs::fsync(&self.root)).map_err(error)?;
        self.learn(Some(folder)).ok_or(NtStatus::UNSUCCESSFUL.error())
    }
}

fn folder_name(id: u64) -> String {
    format!("{id:x}")
}

fn mark(spot: &Spot) -> NtResult<Option<Mark>> {
    let mut value = [0; MARK];
    match spot.get(OWNER, &mut value) {
        Ok(MARK) => Ok(Some(value)),
        Ok(_) => Ok(None),
        Err(errno) if attributes::nothing(errno) => Ok(None),
        Err(errno) => Err(error(errno)),
    }
}

/// The folder of a file's streams, if it has any.
pub(super) fn folder(host: &Host) -> NtResult<Option<OwnedFd>> {
    let Some(store) = host.shared.side.find()? else { return Ok(None) };
    let name = folder_name(host.id());
    let Some(folder) = folder_at(&store, name.as_bytes())? else { return Ok(None) };
    let there = mark(&Spot::named(&store, name.as_bytes()))?;
    Ok(there.filter(|_| mark(&Spot::open(host)) == Ok(there)).map(|_| folder))
}

/// The folder of a file's streams, made if it has none.
pub(super) fn folder_made(host: &Host) -> NtResult<OwnedFd> {
    if let Some(folder) = folder(host)? {
        return Ok(folder);
    }
    if !attributes::has_room(host.kind()) {
        return NtStatus::NOT_SUPPORTED.fail();
    }
    let store = host.shared.side.make()?;
    let name = folder_name(host.id());
    let folder = make_folder(&store, name.as_bytes())?;
    clear(&folder, &[])?; // of a file that had the number before
    let made = stat(&folder, "").map_err(error)?;
    let mut mark = [0; MARK];
    mark[..8].copy_from_slice(&host.id().to_le_bytes());
    mark[8..16].copy_from_slice(&made.stx_ino.to_le_bytes());
    mark[16..24].copy_from_slice(&made.stx_ctime.tv_sec.to_le_bytes());
    mark[24..28].copy_from_slice(&made.stx_ctime.tv_nsec.to_le_bytes());
    let file = host.opened().map_err(error)?;
    let marked = call(|| rustix::fs::fsetxattr(&folder, OWNER, &mark, XattrFlags::empty()))
        .and_then(|()| call(|| rustix::fs::fsetxattr(file, OWNER, &mark, XattrFlags::empty())));
    if let Err(errno) = marked {
        let _empty = call(|| rustix::fs::unlinkat(&store, name.as_str(), AtFlags::REMOVEDIR));
        return Err(if errno == Errno::OPNOTSUPP { NtStatus::NOT_SUPPORTED.error() } else { error(errno) });
    }
    Ok(folder)
}

/// Has the file streams?
pub(super) fn any(host: &Host) -> NtResult<bool> {
    folder(host).map(|folder| folder.is_some())
}

/// The names in a folder, as the host has them.
fn names(folder: &OwnedFd) -> NtResult<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = call(|| rustix::fs::openat2(folder, ".", flags, Mode::empty(), CONFINED)).map_err(error)?;
    let mut buffer = Vec::with_capacity(8 << 10);
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = nt_ke::host_call(|| entries.next()) {
        match entry {
            Ok(entry) => names.push(entry.file_name().to_bytes().to_vec()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(error(errno)),
        }
    }
    names.retain(|name| name != b"." && name != b"..");
    Ok(names)
}

/// Removes what is in a folder, but for these.
fn clear(folder: &OwnedFd, kept: &[Vec<u8>]) -> NtResult<()> {
    for name in names(folder)? {
        if !kept.contains(&name) {
            match call(|| rustix::fs::unlinkat(folder, name.as_slice(), AtFlags::empty())) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(error(errno)),
            }
        }
    }
    Ok(())
}

/// A name of the file was taken away: with the last one go its streams.
pub(super) fn unlinked(host: &Host) -> NtResult<()> {
    let Some(store) = host.shared.side.known() else { return Ok(()) };
    if host.stat()?.stx_nlink != 0 {
        return Ok(());
    }
    let name = folder_name(host.id());
    let Some(folder) = folder_at(&store, name.as_bytes())? else { return Ok(()) };
    clear(&folder, &[])?;
    match call(|| rustix::fs::unlinkat(&store, name.as_str(), AtFlags::REMOVEDIR)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(error(errno)),
    }
}

/// The host's name for a stream; with `true` the stream's own has to be kept beside it.
fn encoded(name: &[u16]) -> (Vec<u8>, bool) {
    match String::from_utf16(name) {
        Ok(text) if text.len() <= LONGEST => ([b"=", text.as_bytes()].concat(), false),
        _ => {
            let hash = name.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &unit| {
                (hash ^ u64::from(unit)).wrapping_mul(0x0000_0100_0000_01B3)
            });
            (format!("#{hash:016x}").into_bytes(), true)
        }
    }
}

fn decoded(folder: &OwnedFd, name: &[u8]) -> Option<Units> {
    match name.split_first()? {
        (b'=', text) => Some(std::str::from_utf8(text).ok()?.encode_utf16().collect()),
        (b'#', _) => {
            let mut value = [0; 512];
            let length = Spot::named(folder, name).get(NAME, &mut value).ok()?;
            Some(nt_rtl::unicode::units_of(&value[..length]))
        }
        _ => None,
    }
}

/// Keeps a stream's own name beside it.
fn keep_name(file: &OwnedFd, name: &[u16]) -> NtResult<()> {
    let bytes = nt_rtl::unicode::bytes_of(name);
    call(|| rustix::fs::fsetxattr(file, NAME, &bytes, XattrFlags::empty())).map_err(error)
}

/// The streams of a file that have a node, with the host's names for them.
pub(super) type Live = Mutex<Vec<(Vec<u8>, Arc<Node>)>>;

/// A stream's file.
struct Side {
    host: Arc<Host>,
    /// The file that the stream is of.
    of: u64,
    /// Its name is not durable yet.
    fresh: AtomicBool,
}

impl Kept for Side {
    fn open(&self, read: bool, write: bool) -> NtResult<()> {
        if write {
            self.host.writing().map_err(error)?;
        }
        if read {
            self.host.reading().map_err(error)?;
        }
        Ok(())
    }
    fn sync(&self) -> NtResult<()> {
        self.host.sync()?;
        if self.fresh.swap(false, Ordering::Relaxed)
            && let Some(store) = self.host.shared.side.find()?
        {
            let folder = folder_at(&store, folder_name(self.of).as_bytes())?;
            folder.iter().chain([&*store]).try_for_each(|fd| call(|| rustix::fs::fsync(fd)).map_err(error))?;
        }
        Ok(())
    }
    fn is_shared_with_the_host(&self) -> bool {
        true
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn side(stream: &Node) -> NtResult<&Side> {
    stream.object.as_any().downcast_ref().ok_or(NtStatus::NOT_SAME_DEVICE.error())
}

fn lengths(stat: &Statx) -> Sizes {
    Sizes { eof: stat.stx_size, allocation: stat.stx_blocks * 512 }
}

fn no_stream() -> NtError {
    NtStatus::OBJECT_NAME_NOT_FOUND.error()
}

impl DirObject {
    fn live_at(&self, id: u64) -> Option<Arc<Node>> {
        let live = self.1.lock();
        live.iter().map(|(_, node)| node).find(|node| side(node).is_ok_and(|side| side.host.id() == id)).cloned()
    }

    fn side_name(&self, stream: &Arc<Node>) -> NtResult<Vec<u8>> {
        let live = self.1.lock();
        live.iter().find(|(_, node)| Arc::ptr_eq(node, stream)).map(|(name, _)| name.clone()).ok_or_else(no_stream)
    }

    fn stream_node(
        &self,
        (file, name): (&Arc<Node>, &[u16]),
        at: &[u8],
        (fd, access): (OwnedFd, Access),
        fresh: bool,
    ) -> NtResult<Arc<Node>> {
        let stat = stat(&fd, "").map_err(error)?;
        if let Some(node) = self.live_at(stat.stx_ino) {
            return Ok(node);
        }
        let shared: &Arc<Shared> = &self.0.shared;
        let host = Host::new(shared, fd, access, &stat);
        let content = Box::new(DirContent(Arc::clone(&host)));
        let kept = Side { host, of: self.0.id(), fresh: AtomicBool::new(fresh) };
        let node = Node::new_stream(file, name, kept, content, lengths(&stat))?;
        self.1.lock().push((at.to_vec(), Arc::clone(&node)));
        Ok(node)
    }

    /// Drops the nodes of streams that went.
    fn forget_streams(&self, gone: impl Fn(&Arc<Node>) -> bool) {
        let gone: Vec<_> = self.1.lock().extract_if(.., |(_, node)| gone(node)).collect();
        drop(gone); // without the lock
    }
}

impl Streams for DirObject {
    fn streams_listed(&self) -> NtResult<Vec<(Units, Sizes)>> {
        let Some(folder) = folder(&self.0)? else { return Ok(Vec::new()) };
        let mut list = Vec::new();
        for at in names(&folder)? {
            let Some(name) = decoded(&folder, &at) else { continue };
            let there = match stat(&folder, at.as_slice()) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(error(errno)),
            };
            let sizes = match self.live_at(there.stx_ino) {
                Some(node) => {
                    node.refresh()?;
                    let data = node.data.read();
                    Sizes { eof: data.eof, allocation: data.allocation }
                }
                None => lengths(&there),
            };
            list.push((name, sizes));
        }
        Ok(list)
    }

    fn streams_live(&self) -> Vec<Arc<Node>> {
        self.1.lock().iter().map(|(_, node)| Arc::clone(node)).collect()
    }

    fn find_stream(&self, file: &Arc<Node>, wanted: &[u16], exact: bool) -> NtResult<Option<Arc<Node>>> {
        let Some(folder) = folder(&self.0)? else { return Ok(None) };
        let upper = upcase(wanted);
        let mut found = None;
        for at in names(&folder)? {
            match decoded(&folder, &at) {
                Some(name) if name == wanted => {
                    found = Some((at, name));
                    break;
                }
                Some(name) if !exact && upcase(&name) == upper => found = Some((at, name)),
                _ => {}
            }
        }
        let Some((at, name)) = found else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match call(|| rustix::fs::openat2(&folder, at.as_slice(), flags, Mode::empty(), CONFINED)) {
            Ok(fd) => self.stream_node((file, &name), &at, (fd, Access::Path), false).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(error(errno)),
        }
    }

    fn make_stream(&self, file: &Arc<Node>, name: &[u16]) -> NtResult<Arc<Node>> {
        let folder = folder_made(&self.0)?;
        let (at, kept_beside) = encoded(name);
        let temporary = self.0.shared.temporary();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = call(|| rustix::fs::openat2(&folder, temporary.as_str(), flags, mode, CONFINED)).map_err(error)?;
        let named = (|| {
            if kept_beside {
                keep_name(&fd, name)?;
            }
            let flags = RenameFlags::NOREPLACE;
            match call(|| rustix::fs::renameat_with(&folder, temporary.as_str(), &folder, at.as_slice(), flags)) {
                // Some file systems know no flags; whether the name is free was looked up before.
                Err(Errno::INVAL) => {
                    call(|| rustix::fs::renameat(&folder, temporary.as_str(), &folder, at.as_slice())).map_err(error)
                }
                other => other.map_err(error),
            }
        })();
        if let Err(error) = named {
            let _half_a_stream_is_none = call(|| rustix::fs::unlinkat(&folder, temporary.as_str(), AtFlags::empty()));
            return Err(error);
        }
        self.stream_node((file, name), &at, (fd, Access::ReadWrite), true)
    }

    fn remove_stream(&self, stream: &Arc<Node>) -> NtResult<()> {
        let at = self.side_name(stream)?;
        if let Some(folder) = folder(&self.0)? {
            match call(|| rustix::fs::unlinkat(&folder, at.as_slice(), AtFlags::empty())) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(error(errno)),
            }
            self.leave_folder();
        }
        self.forget_streams(|node| Arc::ptr_eq(node, stream));
        Ok(())
    }

    fn remove_streams_but(&self, kept: &[Arc<Node>]) -> NtResult<()> {
        let Some(folder) = folder(&self.0)? else { return Ok(()) };
        let names = kept.iter().map(|stream| self.side_name(stream)).collect::<NtResult<Vec<_>>>()?;
        clear(&folder, &names)?;
        self.leave_folder();
        self.forget_streams(|node| !kept.iter().any(|stream| Arc::ptr_eq(stream, node)));
        Ok(())
    }

    fn move_bytes(&self, from: &Node, to: &Node) -> NtResult<()> {
        const PIECE: usize = 64 << 10;
        let block = pool::allocate(PIECE, pool::tag(b"FsMv"), pool::PoolKind::NonPaged);
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let piece = Region::pool(block, PIECE);
        let (mut from_data, mut to_data) = (from.data.write(), to.data.write());
        let moved = (|| {
            from_data.refresh()?;
            let mut at = 0;
            while at < from_data.eof {
                let most = (from_data.eof - at).min(PIECE as u64) as usize;
                let count = from_data.content.read(at, piece.sub(0, most))?;
                if count == 0 {
                    break; // the host cut it meanwhile
                }
                to_data.content.write(at, piece.sub(0, count))?;
                at += count as u64;
            }
            // There twice is better than not at all: a crash in between loses nothing.
            to.object.sync()?;
            from_data.content.set_length(0)?;
            from_data.refresh()?;
            to_data.refresh()
        })();
        pool::free(block);
        from.publish(&from_data);
        to.publish(&to_data);
        moved
    }

    fn rename_stream(&self, stream: &Arc<Node>, to: &[u16]) -> NtResult<()> {
        let (at, folder) = (self.side_name(stream)?, folder(&self.0)?.ok_or_else(no_stream)?);
        let (new, kept_beside) = encoded(to);
        let side = side(stream)?;
        if kept_beside {
            // From here on a name that is found by it counts; one that the host can have does not look at it.
            keep_name(side.host.opened().map_err(error)?, to)?;
        }
        call(|| rustix::fs::renameat(&folder, at.as_slice(), &folder, new.as_slice())).map_err(error)?;
        side.fresh.store(true, Ordering::Relaxed);
        let mut live = self.1.lock();
        if let Some(entry) = live.iter_mut().find(|(_, node)| Arc::ptr_eq(node, stream)) {
            entry.0 = new;
        }
        Ok(())
    }
}

impl DirObject {
    /// The folder goes with the last stream; while there is one it stays.
    fn leave_folder(&self) {
        let Some(store) = self.0.shared.side.known() else { return };
        let name = folder_name(self.0.id());
        if call(|| rustix::fs::unlinkat(&store, name.as_str(), AtFlags::REMOVEDIR)).is_ok()
            && let Ok(file) = self.0.opened()
        {
            let _it_marks_nothing = call(|| rustix::fs::fremovexattr(file, OWNER));
        }
    }
}
