//! The POSIX door: system calls on a mounted volume. Between an NT argument and a system call's stands the table of the door.
//!
//! Room: tests/conformance. Calls: the host's kernel, which calls `ntio_fuse`. What Linux has no word for is not expressible.

use crate::door::*;
use crate::house::House;
use libc::{O_APPEND, O_CREAT, O_DIRECT, O_EXCL, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY};
use nt_io::info::class;
use nt_machine::NtStatus;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A volume as a directory.
#[derive(Debug)]
struct Mount {
    directory: tempfile::TempDir,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Mount {
    fn new(house: &House, volume: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = ntio_fuse::mount(house.machine(), volume, directory.path());
        let mounted = mounted.expect("a mount (NTIO_NO_FUSE=1 where there is no FUSE)");
        let server = Some(std::thread::spawn(move || mounted.serve().expect("a session")));
        Self { directory, server }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmount = |lazily: &[&str]| Command::new("umount").args(lazily).arg(self.directory.path()).status();
        if !unmount(&[]).is_ok_and(|status| status.success()) {
            let _gone = unmount(&["-l"]);
        }
        if let Some(server) = self.server.take() {
            let _ended = server.join();
        }
    }
}

/// The volumes of a house, mounted.
#[derive(Debug)]
pub struct FuseDoor {
    /// The directories of `C:` and `D:`.
    roots: Vec<PathBuf>,
    /// Where they were mounted by us: unmounted with the door.
    _mounts: Vec<Mount>,
    files: RefCell<Vec<Option<File>>>,
    /// Which of them are past the cache.
    direct: RefCell<Vec<bool>>,
}

impl FuseDoor {
    /// Mounts them.
    #[must_use]
    pub fn new(house: &House) -> Self {
        let mounts = vec![Mount::new(house, 0), Mount::new(house, 1)];
        let roots = mounts.iter().map(|mount| mount.directory.path().to_owned()).collect();
        Self { roots, _mounts: mounts, files: RefCell::default(), direct: RefCell::default() }
    }

    /// Somebody mounted `C:` here.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let roots = vec![directory.to_owned()];
        Self { roots, _mounts: Vec::new(), files: RefCell::default(), direct: RefCell::default() }
    }

    fn path(&self, name: &str) -> Express<PathBuf> {
        let (drive, rest) = name.split_at(3);
        match self.roots.get(usize::from(drive.starts_with('D'))) {
            Some(root) => Ok(root.join(rest.replace('\\', "/"))),
            None => not_expressible("one volume only is mounted"),
        }
    }

    fn with<R>(&self, handle: Handle, body: impl FnOnce(&File) -> R) -> Express<R> {
        let files = self.files.borrow();
        match files.get(handle.0 as usize).and_then(Option::as_ref) {
            Some(file) => Ok(body(file)),
            None => not_expressible("a descriptor that is none never reaches the door"),
        }
    }
}

const PAGE: usize = 4096;
/// What the host's kernel sends of one system call at most; the door allows it 1 MiB.
const MOST: usize = 1 << 20;

fn number(error: &std::io::Error) -> Word {
    Word::Errno(error.raw_os_error().unwrap_or(-1))
}

/// The open flags for an access mask.
fn access(create: &Create) -> Express<i32> {
    if create.access & SYNCHRONIZE == 0 || create.options & SYNCHRONOUS == 0 {
        return not_expressible("every file of Linux is synchronous");
    }
    match create.access & !SYNCHRONIZE {
        GENERIC_READ | READ_DATA => Ok(O_RDONLY),
        GENERIC_WRITE | WRITE_DATA | 6 => Ok(O_WRONLY),
        APPEND_DATA => Ok(O_WRONLY | O_APPEND),
        mask if mask == GENERIC_READ | GENERIC_WRITE || mask == READ_DATA | WRITE_DATA => Ok(O_RDWR),
        mask if mask == READ_DATA | APPEND_DATA => Ok(O_RDWR | O_APPEND),
        _ => not_expressible("no open flags for this access"),
    }
}

impl Door for FuseDoor {
    fn name(&self) -> &'static str {
        "fuse"
    }
    fn checks_its_caller(&self) -> bool {
        true
    }
    fn has_events(&self) -> bool {
        false
    }

    fn create(&self, create: &Create) -> Express<(Word, Option<u64>, Option<Handle>)> {
        let mut flags = access(create)?;
        if create.share != 7 {
            return not_expressible("every open of Linux shares all");
        }
        if create.attributes != 0 || create.allocation != 0 {
            return not_expressible("open(2) takes no attributes and no allocation");
        }
        flags |= match create.disposition {
            1 => 0,
            2 => O_CREAT | O_EXCL,
            3 => O_CREAT,
            4 => O_TRUNC,
            5 => O_CREAT | O_TRUNC,
            _ => return not_expressible("no open flags supersede"),
        };
        if flags & O_APPEND != 0 && create.options & NONCACHED != 0 {
            return not_expressible("for O_APPEND past the cache the door asks for what NT allows");
        }
        for (option, flag) in [(NONCACHED, O_DIRECT), (WRITE_THROUGH, O_SYNC), (SYNCHRONOUS, 0)] {
            if create.options & option != 0 {
                flags |= flag;
            }
        }
        if create.options & !(NONCACHED | WRITE_THROUGH | SYNCHRONOUS) != 0 {
            return not_expressible("no open flags for these options");
        }
        let mut options = OpenOptions::new();
        options.read(flags & 3 != O_WRONLY).write(flags & 3 != O_RDONLY && flags & O_APPEND == 0);
        options.append(flags & O_APPEND != 0);
        if flags & O_EXCL != 0 {
            options.create_new(true);
        }
        // std refuses O_CREAT without a write right; the flag itself does not.
        options.custom_flags(flags & (O_CREAT | O_TRUNC | O_DIRECT | O_SYNC)).mode(0o644);
        match options.open(self.path(&create.name)?) {
            Ok(file) => {
                let mut files = self.files.borrow_mut();
                files.push(Some(file));
                self.direct.borrow_mut().push(flags & O_DIRECT != 0);
                Ok((Word::Errno(0), None, Some(Handle(files.len() as u64 - 1))))
            }
            Err(error) => Ok((number(&error), None, None)),
        }
    }

    fn close(&self, file: Handle) -> Express<Word> {
        match self.files.borrow_mut().get_mut(file.0 as usize).and_then(Option::take) {
            Some(_) => Ok(Word::Errno(0)),
            None => not_expressible("a descriptor that is none never reaches the door"),
        }
    }

    fn transfer(&self, transfer: &Transfer) -> Express<(Done, Vec<u8>)> {
        if transfer.event.is_some() {
            return not_expressible("no events");
        }
        if transfer.key.is_some() || transfer.odd_places() {
            return not_expressible("the host's kernel has checked the addresses, and there is no key");
        }
        let Some(offset) = transfer.offset.and_then(|offset| u64::try_from(offset).ok()) else {
            return not_expressible("the host's kernel keeps the position and sends an offset, never a negative one");
        };
        if transfer.data.is_empty() {
            return not_expressible("the host's kernel answers a request for nothing itself");
        }
        if i64::try_from(offset).ok().and_then(|at| at.checked_add(transfer.data.len() as i64)).is_none() {
            return not_expressible("the host's kernel checks the end of the range itself");
        }
        let direct = self.direct.borrow().get(transfer.file.0 as usize).copied().unwrap_or(false);
        if direct && transfer.data.len() > MOST && !transfer.data.len().is_multiple_of(512) {
            return not_expressible("the host's kernel sends a large request in pieces of 1 MiB");
        }
        // Programs that use O_DIRECT align their buffers; from another the host's kernel makes ragged pieces of a large one.
        let mut memory = vec![0; transfer.data.len() + PAGE];
        let skip = memory.as_ptr().align_offset(PAGE).min(PAGE);
        let bytes = &mut memory[skip..skip + transfer.data.len()];
        bytes.copy_from_slice(&transfer.data);
        let result = self.with(transfer.file, |file| match transfer.direction {
            Direction::Read => file.read_at(bytes, offset),
            Direction::Write => file.write_at(bytes, offset),
        })?;
        match result {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                not_expressible("the host's kernel checks the right of the descriptor itself")
            }
            Err(error) => Ok((Done { returned: number(&error), block: Block::Unseen }, Vec::new())),
            // The door says the end of the file as POSIX does: no bytes.
            Ok(0) if transfer.direction == Direction::Read => {
                Ok((Done { returned: Word::Status(NtStatus::END_OF_FILE), block: Block::Unseen }, Vec::new()))
            }
            Ok(count) => Ok((Done { returned: Word::Errno(0), block: Block::Count(count as u64) }, bytes.to_vec())),
        }
    }

    fn query(&self, file: Handle, class: u32, length: usize) -> Express<(Done, Vec<u8>)> {
        let (class::STANDARD, 24) = (class, length) else {
            return not_expressible("stat(2) tells sizes only, and the position is the host's kernel's");
        };
        let stat = self.with(file, File::metadata)?;
        let stat = match stat {
            Ok(stat) => stat,
            Err(error) => return Ok((Done { returned: number(&error), block: Block::Unseen }, Vec::new())),
        };
        let mut bytes = vec![0; 24];
        bytes[..8].copy_from_slice(&(stat.blocks() * 512).to_le_bytes());
        bytes[8..16].copy_from_slice(&stat.size().to_le_bytes());
        bytes[16..20].copy_from_slice(&(stat.nlink() as u32).to_le_bytes());
        Ok((Done { returned: Word::Errno(0), block: Block::Count(24) }, bytes))
    }

    fn set(&self, file: Handle, class: u32, data: &[u8]) -> Express<Done> {
        let end = data.first_chunk().map(|word| i64::from_le_bytes(*word)).and_then(|end| u64::try_from(end).ok());
        let (class::END_OF_FILE, Some(end)) = (class, end) else {
            return not_expressible("ftruncate(2) moves the end only");
        };
        match self.with(file, |file| file.set_len(end))? {
            Ok(()) => Ok(Done { returned: Word::Errno(0), block: Block::Count(0) }),
            Err(error) => Ok(Done { returned: number(&error), block: Block::Unseen }),
        }
    }

    fn event(&self, _access: u32, _notification: bool, _signalled: bool) -> Express<Handle> {
        not_expressible("no events")
    }
    fn wait(&self, _handle: Handle, _milliseconds: u32) -> Express<Word> {
        not_expressible("a file cannot be waited for")
    }
    fn odd_handle(&self, _process: bool) -> Express<Handle> {
        not_expressible("a descriptor that is none never reaches the door")
    }
}
