//! The door itself: opening by path, acting, closing; and mounting.
//!
//! Room: front/fuse. Called by: the operations, front/cli. Calls: `nt_machine`, `session`, `transport`. Locks: none of its own.
//! Source: docs of the POSIX door, sections 1 and 3. No handle is kept "for later": a filter must see the cleanup when the
//! program closed, so a request on a path opens, acts and closes.

use crate::attr::{self, Attr, Defaults, Stat};
use crate::caller::{self, Caller, Callers, Identify};
use crate::dispatch::Operations;
use crate::handle::{Entry, Handles, Open};
use crate::links;
use crate::nodes::{Nodes, SEPARATOR};
use crate::session::{MOST, Session};
use crate::transport;
use nt_io::info::class;
use nt_machine::{Client, CreateSpec, Handle, Machine, NtResult, NtStatus};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const READ_DATA: u32 = 1;
pub(crate) const WRITE_DATA: u32 = 2;
pub(crate) const READ_EA: u32 = 8;
pub(crate) const WRITE_EA: u32 = 0x10;
pub(crate) const READ_ATTRIBUTES: u32 = 0x80;
pub(crate) const WRITE_ATTRIBUTES: u32 = 0x100;
pub(crate) const DELETE: u32 = 0x1_0000;
pub(crate) const SYNCHRONIZE: u32 = 0x10_0000;

pub(crate) const DIRECTORY_FILE: u32 = 1;
pub(crate) const NON_DIRECTORY_FILE: u32 = 0x40;
pub(crate) const SYNCHRONOUS: u32 = 0x20;
const OPEN_REPARSE_POINT: u32 = 0x20_0000;

/// FILE_OPEN, FILE_CREATE, FILE_OPEN_IF.
pub(crate) const OPEN: u32 = 1;
pub(crate) const CREATE: u32 = 2;
pub(crate) const OPEN_IF: u32 = 3;

/// One mounted volume.
pub(crate) struct Door {
    pub(crate) machine: Arc<Machine>,
    /// The volume's name, `\Device\HarddiskVolume1`, in UTF-16.
    volume: Vec<u16>,
    root_id: u64,
    pub(crate) defaults: Defaults,
    pub(crate) nodes: Nodes,
    pub(crate) handles: Handles,
    pub(crate) callers: Callers,
}

impl Door {
    fn new(machine: &Arc<Machine>, volume: &str, options: &MountOptions) -> NtResult<Self> {
        let (uid, gid) = own_ids();
        let mut door = Self {
            machine: Arc::clone(machine),
            volume: volume.encode_utf16().collect(),
            root_id: 0,
            defaults: Defaults { uid, gid },
            nodes: Nodes::default(),
            handles: Handles::default(),
            callers: Callers::new(options.identify.clone()),
        };
        let caller = door.callers.of(machine, 0)?;
        door.root_id = door.enter(&caller, |client| {
            let root = door.open_path(client, &[], READ_ATTRIBUTES, 0, OPEN)?;
            let mut id = [0; 8];
            let asked = client.query_information(root, class::INTERNAL, &mut id);
            client.close(root)?;
            asked.map(|_| u64::from_le_bytes(id))
        })?;
        Ok(door)
    }

    pub(crate) fn enter<R>(&self, caller: &Arc<Caller>, body: impl FnOnce(&Client) -> NtResult<R>) -> NtResult<R> {
        caller::enter(&self.machine, &caller.process, body)
    }

    /// The parameters of an open by path from the volume's root, as every open of this door is.
    pub(crate) fn spec(&self, path: &[u16], access: u32, options: u32, disposition: u32) -> CreateSpec {
        CreateSpec {
            access: access | SYNCHRONIZE,
            name: self.name(path),
            attributes: 0,
            disposition,
            options: options | SYNCHRONOUS | OPEN_REPARSE_POINT,
            ..CreateSpec::default()
        }
    }

    /// What opens a path: the root has a separator of its own.
    fn name(&self, path: &[u16]) -> Vec<u16> {
        self.full(if path.is_empty() { &[SEPARATOR] } else { path })
    }

    /// The full NT name of a path on the volume.
    pub(crate) fn full(&self, path: &[u16]) -> Vec<u16> {
        [&self.volume, path].concat()
    }

    /// The parameters of an open(2): a link or another reparse point that is found in spite of the kernel's lookup is not
    /// opened itself, so that who owns its tag sees an open as any program's.
    pub(crate) fn through(&self, path: &[u16], access: u32, options: u32, disposition: u32) -> CreateSpec {
        let spec = self.spec(path, access, options, disposition);
        CreateSpec { options: spec.options & !OPEN_REPARSE_POINT, ..spec }
    }

    /// Where an open link leads.
    pub(crate) fn target(&self, client: &Client, handle: Handle) -> NtResult<Vec<u8>> {
        let (tag, data) = attr::reparse(client, handle)?;
        links::target(client, handle, &self.volume, tag, &data)
    }

    pub(crate) fn open_path(
        &self,
        client: &Client,
        path: &[u16],
        access: u32,
        options: u32,
        disposition: u32,
    ) -> NtResult<Handle> {
        client.create(&self.spec(path, access, options, disposition)).map(|(handle, _)| handle)
    }

    /// Opens, acts and closes.
    pub(crate) fn at_path<R>(
        &self,
        client: &Client,
        path: &[u16],
        access: u32,
        options: u32,
        body: impl FnOnce(Handle) -> NtResult<R>,
    ) -> NtResult<R> {
        let handle = self.open_path(client, path, access, options, OPEN)?;
        let result = body(handle);
        client.close(handle)?;
        result
    }

    pub(crate) fn stat(&self, client: &Client, handle: Handle) -> NtResult<Attr> {
        let stat = Stat::of(|class, out| client.query_information(handle, class, out))?;
        let attr = stat.attr(self.root_id, self.defaults);
        if !stat.is_link() {
            return Ok(attr);
        }
        Ok(Attr { size: self.target(client, handle)?.len() as u64, ..attr })
    }

    pub(crate) fn stat_path(&self, client: &Client, path: &[u16]) -> NtResult<Attr> {
        let stat = Stat::of(|class, out| client.query_by_name(self.name(path), class, out))?;
        if stat.is_link() {
            return self.at_path(client, path, READ_ATTRIBUTES, 0, |handle| self.stat(client, handle));
        }
        Ok(stat.attr(self.root_id, self.defaults))
    }

    /// What a node is: by its path, or by a handle that is open when it has no name any more.
    pub(crate) fn stat_node(&self, caller: &Arc<Caller>, node: u64) -> NtResult<Attr> {
        match self.nodes.path(node) {
            Some(path) => self.enter(caller, |client| self.stat_path(client, &path)),
            None => {
                let told = self.on_node(caller, node, READ_ATTRIBUTES, |client, handle| self.stat(client, handle));
                told.or_else(|error| self.nodes.gone(node).ok_or(error))
            }
        }
    }

    /// Acts on a node: by its path, or by a handle that is open when it has no name any more.
    pub(crate) fn on_node<R>(
        &self,
        caller: &Arc<Caller>,
        node: u64,
        access: u32,
        body: impl FnOnce(&Client, Handle) -> NtResult<R>,
    ) -> NtResult<R> {
        match self.nodes.path(node) {
            Some(path) => {
                self.enter(caller, |client| self.at_path(client, &path, access, 0, |handle| body(client, handle)))
            }
            None => match self.handles.of_node(node) {
                Some(open) => self.enter(&open.caller, |client| body(client, open.handle)),
                None => NtStatus(0xC000_0098).fail(), // FILE_INVALID: ESTALE
            },
        }
    }

    /// Returns a handle of the opener's process for what the open's own handle lacks.
    pub(crate) fn second(&self, client: &Client, open: &Open, access: u32) -> NtResult<Handle> {
        let mut second = open.second.lock();
        if let Some(handle) = *second {
            return Ok(handle);
        }
        let path = self.nodes.path(open.node).ok_or(NtStatus(0xC000_0098).error())?;
        let (handle, _) = client.create(&self.through(&path, access, NON_DIRECTORY_FILE, OPEN))?;
        *second = Some(handle);
        Ok(handle)
    }

    pub(crate) fn close(&self, open: &Open) -> NtResult<()> {
        self.enter(&open.caller, |client| {
            if let Some(second) = open.second.lock().take() {
                client.close(second)?;
            }
            let closed = client.close(open.handle);
            if let Some(path) = &open.hidden {
                self.delete(client, path, NON_DIRECTORY_FILE)?;
            }
            closed
        })
    }

    /// Takes a name away, as POSIX does: at once, whoever has the file open. A directory that is a link goes as a file does.
    pub(crate) fn delete(&self, client: &Client, path: &[u16], options: u32) -> NtResult<()> {
        const DELETE_POSIX_READONLY: u32 = 1 | 2 | 0x10;
        let dispose = |options: u32| {
            self.at_path(client, path, DELETE | READ_ATTRIBUTES, options, |handle| {
                client.set_information(handle, class::DISPOSITION_EX, &DELETE_POSIX_READONLY.to_le_bytes())
            })
        };
        match dispose(options) {
            Err(error) if error.status() == NtStatus::FILE_IS_A_DIRECTORY => match self.stat_path(client, path) {
                Ok(attr) if attr.kind() == libc::S_IFLNK => dispose(DIRECTORY_FILE),
                _ => Err(error),
            },
            other => other,
        }
    }

    /// The parameters of an open of the volume itself.
    pub(crate) fn volume_spec(&self) -> CreateSpec {
        CreateSpec {
            access: WRITE_DATA | READ_DATA | SYNCHRONIZE,
            name: self.volume.clone(),
            disposition: OPEN,
            options: SYNCHRONOUS,
            ..CreateSpec::default()
        }
    }

    /// Reads a whole directory.
    pub(crate) fn list(&self, client: &Client, open: &Open) -> NtResult<Vec<Entry>> {
        const CLASS: u32 = 37;
        let mut entries = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut restart = true;
        let base = self.nodes.path(open.node);
        loop {
            let count = client.query_directory(open.handle, CLASS, restart, &mut buffer)?;
            restart = false;
            if count == 0 {
                if !entries.iter().any(|entry: &Entry| entry.name == b".") {
                    // NT-DIR-11: the root of an NT volume has neither; a Linux program expects both.
                    let dot = |name: &[u8]| Entry { node: open.node, kind: libc::S_IFDIR, name: name.to_vec() };
                    entries.splice(0..0, [dot(b"."), dot(b"..")]);
                }
                return Ok(entries);
            }
            let mut at = 0;
            while let Some(record) = buffer[..count].get(at..).filter(|record| record.len() >= 104) {
                let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
                let id = record[96..104].first_chunk().map_or(0, |id| u64::from_le_bytes(*id));
                let raw = record.get(104..104 + word(60) as usize).unwrap_or(&[]);
                let units = nt_rtl::unicode::units_of(raw);
                let flags = word(56);
                let mut kind = if flags & 0x10 != 0 { libc::S_IFDIR } else { libc::S_IFREG };
                if flags & 0x400 != 0
                    && let Some(base) = &base
                {
                    let mut path = base.clone();
                    path.push(u16::from(b'\\'));
                    path.extend_from_slice(&units);
                    if let Ok(attr) = self.stat_path(client, &path) {
                        kind = attr.kind();
                    }
                }
                // A name without a UTF-8 form cannot be told to a Linux program at all.
                if let Some(name) = nt_rtl::posix::to_host(&units) {
                    entries.push(Entry { node: attr::node_of(id, self.root_id), kind, name });
                }
                match word(0) as usize {
                    0 => break,
                    next => at += next,
                }
            }
        }
    }

    /// Closes what programs left open, at the end of the mount.
    pub(crate) fn end(&self) {
        for open in self.handles.drain() {
            let _closed = self.close(&open);
        }
        caller::forget_threads();
    }
}

/// Returns the user and group that this process runs as.
fn own_ids() -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or((0, 0), |meta| (meta.uid(), meta.gid()))
}

/// Why a mount failed.
#[derive(Debug)]
pub struct MountError {
    at: PathBuf,
    why: String,
}

impl std::fmt::Display for MountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot mount at {}: {}", self.at.display(), self.why)
    }
}
impl std::error::Error for MountError {}

/// A mount that is ready: the kernel has answered, no request is served yet.
pub struct Mounted {
    at: PathBuf,
    session: Option<Session<Operations>>,
}

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mounted at {}", self.at.display())
    }
}

/// How a volume is mounted.
#[derive(Clone, Default)]
pub struct MountOptions {
    /// Other users than the one that mounts may use it (`allow_other`; without root, /etc/fuse.conf must allow it).
    pub others: bool,
    /// Tells which process a thread of the host belongs to; without it /proc does.
    pub identify: Option<Arc<Identify>>,
    /// How many requests can be under way, the waiting ones included; 4096 where nothing is said. The last one's thread takes
    /// interrupts only.
    pub readers: Option<NonZero<usize>>,
}

impl std::fmt::Debug for MountOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MountOptions")
            .field("others", &self.others)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// Mounts volume `index` (0 is `C:`) of a machine.
pub fn mount(machine: &Arc<Machine>, index: usize, at: &Path) -> Result<Mounted, MountError> {
    mount_with(machine, index, at, &MountOptions::default())
}

/// Mounts a volume with options.
pub fn mount_with(
    machine: &Arc<Machine>,
    index: usize,
    at: &Path,
    options: &MountOptions,
) -> Result<Mounted, MountError> {
    let failed = |why: String| MountError { at: at.to_owned(), why };
    match std::fs::metadata(at) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(failed("it is not a directory; give an empty directory".into())),
        Err(error) => return Err(failed(format!("{error}; make the directory first (mkdir -p)"))),
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(failed("/dev/fuse is absent; load the kernel module (modprobe fuse) or pass the device in".into()));
    }
    let volume = machine.volumes().get(index).ok_or_else(|| failed(format!("the machine has no volume {index}")))?;
    let door = Door::new(machine, &volume.name, options)
        .map_err(|error| failed(format!("the volume's root does not open: {:?}", error.status())))?;
    let device = transport::mount(at, &format!("ntio:{}", volume.name), options.others, volume.is_protected())
        .map_err(|error| failed(format!("{error}; mounting needs /dev/fuse and the right to mount")))?;
    match Session::new(device, Operations { door }, options.readers.map_or(MOST, NonZero::get)) {
        Ok(session) => Ok(Mounted { at: at.to_owned(), session: Some(session) }),
        Err(error) => {
            let _gone = transport::unmount(at, true);
            Err(failed(error.to_string()))
        }
    }
}

impl Mounted {
    /// Serves requests until the volume is unmounted from outside.
    pub fn serve(mut self) -> std::io::Result<()> {
        self.session.take().map_or(Ok(()), Session::serve)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.session.is_some() {
            let _gone = transport::unmount(&self.at, true);
        }
    }
}
