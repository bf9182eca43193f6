//! Requests for changes, and the records that they give.

use super::directory::{DIRECTORY, LIST, long, word};
use super::*;
use nt_cell::CodePtr;
use nt_io::notify::{CLASS_PLAIN, NotifyArguments, nt_notify_change_directory_file};
use nt_io::service::Caller;

pub const FILE_NAME: u32 = 1;
pub const DIR_NAME: u32 = 2;
pub const ATTRIBUTES: u32 = 4;
pub const SIZE: u32 = 8;
pub const LAST_WRITE: u32 = 0x10;
pub const LAST_ACCESS: u32 = 0x20;
pub const CREATION: u32 = 0x40;
pub const EA: u32 = 0x80;
pub const ALL: u32 = 0xFFF;

pub const ADDED: u32 = 1;
pub const REMOVED: u32 = 2;
pub const MODIFIED: u32 = 3;
pub const OLD_NAME: u32 = 4;
pub const NEW_NAME: u32 = 5;

/// {Action, name} of each record.
pub type Told = Vec<(u32, String)>;

/// A request for changes.
pub struct Wait {
    pub returned: NtStatus,
    pub args: NotifyArguments,
    buffer: UserBlock,
    iosb: UserBlock,
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.is_waiting() && self.returned == NtStatus::PENDING {
            leave([&mut self.iosb, &mut self.buffer]);
        }
    }
}

impl Wait {
    pub fn iosb(&self) -> Iosb {
        iosb_at(&self.iosb)
    }

    pub fn is_waiting(&self) -> bool {
        self.iosb() == Iosb::Untouched
    }

    /// The bytes that came.
    pub fn bytes(&self) -> Vec<u8> {
        let Iosb::Is(_, count) = self.iosb() else { return Vec::new() };
        self.buffer.region().sub(0, count as usize).to_vec().expect("arena")
    }

    /// The records that came: {where, NextEntryOffset, Action, name}.
    pub fn records(&self) -> Vec<(usize, usize, u32, String)> {
        let head = if self.args.class == CLASS_PLAIN { 0xC } else { 0x54 };
        let (bytes, mut at, mut records) = (self.bytes(), 0, Vec::new());
        while !bytes.is_empty() {
            let next = word(&bytes, at) as usize;
            let length = word(&bytes, at + head - 4) as usize;
            let name: Vec<u16> = bytes[at + head..at + head + length]
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            records.push((at, next, word(&bytes, at + 4), String::from_utf16_lossy(&name)));
            if next == 0 {
                break;
            }
            at += next;
        }
        records
    }

    /// What came, of a request that ended well.
    pub fn told(&self) -> Told {
        assert!(matches!(self.iosb(), Iosb::Is(NtStatus::SUCCESS, _)), "{:?}", self.iosb());
        self.records().into_iter().map(|(_, _, action, name)| (action, name)).collect()
    }

    pub fn long(&self, at: usize) -> u64 {
        long(&self.bytes(), at)
    }
}

/// `{Action, name}` pairs in the words of [`Wait::told`].
pub fn told(pairs: &[(u32, &str)]) -> Told {
    pairs.iter().map(|&(action, name)| (action, name.to_owned())).collect()
}

impl World {
    /// Opens directory `C:\NAME` for asynchronous use, created if absent.
    pub fn watched(&self, name: &str) -> File<'_> {
        self.file(name, LIST | 0x80 | SYNCHRONIZE, DIRECTORY)
    }
}

impl File<'_> {
    /// NtNotifyChangeDirectoryFile with arguments of a test's own.
    pub fn watch_with(&self, length: usize, change: impl FnOnce(&mut NotifyArguments)) -> Wait {
        let buffer = UserBlock::new(length.max(8)).expect("arena");
        buffer.region().fill(0xEE).expect("arena");
        let iosb = pattern_block();
        let mut args = NotifyArguments {
            caller: Caller {
                handle: self.handle,
                event: self.event,
                apc_routine: None,
                apc_context: self.context,
                iosb: Addr::user(iosb.addr()),
            },
            buffer: if length == 0 { Addr::NULL } else { Addr::user(buffer.addr()) },
            length: length as u32,
            filter: ALL,
            watch_tree: false,
            class: CLASS_PLAIN,
        };
        change(&mut args);
        let returned = nt_notify_change_directory_file(&self.world.frame(), &args);
        Wait { returned, args, buffer, iosb }
    }

    /// A request for the changes of a filter in the directory.
    pub fn watch(&self, filter: u32) -> Wait {
        self.watch_sized(filter, 1024)
    }

    pub fn watch_sized(&self, filter: u32, length: usize) -> Wait {
        self.watch_with(length, |args| args.filter = filter)
    }

    /// The same of everything beneath.
    pub fn watch_tree(&self, filter: u32) -> Wait {
        self.watch_with(1024, |args| (args.filter, args.watch_tree) = (filter, true))
    }
}

thread_local! {
    static APCS: std::cell::RefCell<Vec<(u64, u64)>> = const { std::cell::RefCell::new(Vec::new()) };
}

extern "win64" fn note(context: u64, iosb: u64, _reserved: u64) {
    APCS.with_borrow_mut(|all| all.push((context, iosb)));
}

/// An APC routine that notes {context, status block}.
pub fn noting_apc() -> CodePtr {
    let routine: extern "win64" fn(u64, u64, u64) = note;
    CodePtr::from(routine)
}

/// The APCs that ran in this thread since the last look.
pub fn apcs() -> Vec<(u64, u64)> {
    APCS.take()
}
