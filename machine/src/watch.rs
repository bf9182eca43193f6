//! Changes of a directory, as a Rust program asks for them.
//!
//! Room: machine. Called by: front ends, tests, the `ntio` crate. Calls: NtNotifyChangeDirectoryFile, NtCancelIoFileEx.
//! IRQL: PASSIVE_LEVEL. Locks: none. Source: ReadDirectoryChangesW, FILE_NOTIFY_INFORMATION; rules NT-NFY.

use crate::client::{Client, Loan};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, CodePtr};
use nt_io::event;
use nt_io::notify::{CLASS_PLAIN, NotifyArguments, nt_notify_change_directory_file};
use nt_io::service::Caller;
use nt_ke::dispatcher::EventType;
use nt_ob::Handle;

/// What happened to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// FILE_ACTION_ADDED.
    Added,
    /// FILE_ACTION_REMOVED.
    Removed,
    /// FILE_ACTION_MODIFIED.
    Modified,
    /// FILE_ACTION_RENAMED_OLD_NAME: the next change has the new one.
    RenamedFrom,
    /// FILE_ACTION_RENAMED_NEW_NAME.
    RenamedTo,
    /// Another FILE_ACTION_*: of streams.
    Other(u32),
}

/// A change of a file in a watched directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// What happened.
    pub action: Action,
    /// To which name, relative to the directory; what is no UTF-16 is U+FFFD.
    pub name: String,
}

/// What a request for changes came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changes {
    /// These, in their order.
    These(Vec<Changed>),
    /// More than the buffer holds: the directory is to be listed anew (STATUS_NOTIFY_ENUM_DIR).
    TooMany,
    /// The handle was closed (STATUS_NOTIFY_CLEANUP).
    Closed,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct WatchSpec {
    /// FILE_NOTIFY_CHANGE_*: which changes count; the first request of a handle fixes it.
    pub filter: u32,
    /// Everything beneath the directory too.
    pub tree: bool,
    /// Bytes of records to make room for.
    pub length: u32,
    /// An event that is set at the end; none: the request has one of its own.
    pub event: Option<Handle>,
    /// A routine that runs in this thread at its next alertable wait.
    pub apc_routine: Option<CodePtr>,
    /// The routine's argument, or what the handle's port tells of the request.
    pub context: u64,
}

impl WatchSpec {
    /// Changes by a filter, with room for some dozens of names.
    #[must_use]
    pub const fn new(filter: u32) -> Self {
        Self { filter, tree: false, length: 4096, event: None, apc_routine: None, context: 0 }
    }
}

/// A request for changes that is under way; dropped, it is cancelled.
#[derive(Debug)]
pub struct Watching<'a> {
    client: &'a Client,
    handle: Handle,
    event: Handle,
    own_event: bool,
    arguments: Loan,
    data: Loan,
    length: usize,
    pending: bool,
}

impl Client {
    /// NtNotifyChangeDirectoryFile: waits until something changed in a directory, opened with FILE_LIST_DIRECTORY.
    pub fn watch(&self, handle: Handle, filter: u32, tree: bool) -> NtResult<Changes> {
        self.start_watch(handle, &WatchSpec { tree, ..WatchSpec::new(filter) })?.wait()
    }

    /// The same, without waiting: on a handle that was opened for asynchronous use.
    ///
    /// ```
    /// use nt_machine::file::spec;
    /// use nt_machine::watch::{Action, Changed, Changes, WatchSpec};
    /// use nt_machine::{CreateSpec, Machine};
    ///
    /// let machine = Machine::builder().build()?;
    /// let client = machine.process("watcher")?;
    /// // FILE_LIST_DIRECTORY and SYNCHRONIZE; FILE_DIRECTORY_FILE.
    /// let folder = CreateSpec { access: 0x10_0001, options: 1, ..spec("C:\\folder") };
    /// let (folder, _) = client.create(&folder)?;
    /// let changes = client.start_watch(folder, &WatchSpec::new(1))?; // names of files
    /// let (file, _) = client.create(&spec("C:\\folder\\new"))?;
    /// let new = Changed { action: Action::Added, name: "new".to_owned() };
    /// assert_eq!(changes.wait()?, Changes::These(vec![new]));
    /// client.close(file)?;
    /// client.close(folder)?;
    /// # Ok::<(), nt_machine::NtError>(())
    /// ```
    pub fn start_watch(&self, handle: Handle, spec: &WatchSpec) -> NtResult<Watching<'_>> {
        let own_event = spec.event.is_none();
        let event = match spec.event {
            Some(event) => event,
            None => self.call(|frame| event::create(frame, 0x001F_0003, 0, EventType::Notification, false))?,
        };
        let made = Loan::for_arguments().and_then(|arguments| Ok((arguments, Loan::new(spec.length as usize)?)));
        let (arguments, data) = made.inspect_err(|_| drop_event(self, own_event, event))?;
        let mut watching = Watching {
            client: self,
            handle,
            event,
            own_event,
            arguments,
            data,
            length: spec.length as usize,
            pending: false,
        };
        let args = NotifyArguments {
            caller: Caller {
                handle,
                event,
                apc_routine: spec.apc_routine,
                apc_context: spec.context,
                iosb: Addr::user(watching.arguments.addr()),
            },
            buffer: if spec.length == 0 { Addr::NULL } else { Addr::user(watching.data.addr()) },
            length: spec.length,
            filter: spec.filter,
            watch_tree: spec.tree,
            class: CLASS_PLAIN,
        };
        let status = self.call(|frame| nt_notify_change_directory_file(frame, &args));
        if status.is_error() {
            return status.fail();
        }
        watching.pending = status == NtStatus::PENDING;
        Ok(watching)
    }
}

fn drop_event(client: &Client, own: bool, event: Handle) {
    if own {
        let _ours = client.close(event);
    }
}

impl Watching<'_> {
    fn settled(&mut self, timeout: Option<i64>) -> NtResult<bool> {
        if self.pending {
            let waited = self.client.call(|frame| event::wait_for(frame, self.event, false, timeout))?;
            if waited.is_error() {
                return waited.fail();
            }
            self.pending = waited == NtStatus::TIMEOUT;
        }
        Ok(!self.pending)
    }

    /// Has it ended? With an event of the caller's, only the caller knows when it was reset.
    pub fn is_done(&mut self) -> bool {
        self.settled(Some(0)).unwrap_or(false)
    }

    /// Waits for the end.
    pub fn wait(mut self) -> NtResult<Changes> {
        self.settled(None)?;
        let result = self.arguments.status();
        match result.status {
            NtStatus::NOTIFY_ENUM_DIR => Ok(Changes::TooMany),
            NtStatus::NOTIFY_CLEANUP => Ok(Changes::Closed),
            status if status.is_error() => status.fail(),
            _ => {
                let mut bytes = vec![0; (result.information as usize).min(self.length)];
                self.data.take(&mut bytes)?;
                Ok(Changes::These(records(&bytes)))
            }
        }
    }
}

/// Reads FILE_NOTIFY_INFORMATION records.
fn records(bytes: &[u8]) -> Vec<Changed> {
    let word =
        |at: usize| bytes.get(at..at + 4).and_then(|four| four.first_chunk()).map(|four| u32::from_le_bytes(*four));
    let (mut at, mut all) = (0_usize, Vec::new());
    while let (Some(next), Some(action), Some(length)) = (word(at), word(at + 4), word(at + 8)) {
        let Some(name) = bytes.get(at + 12..at + 12 + length as usize) else { break };
        let units = nt_rtl::unicode::units_of(name);
        let action = match action {
            1 => Action::Added,
            2 => Action::Removed,
            3 => Action::Modified,
            4 => Action::RenamedFrom,
            5 => Action::RenamedTo,
            other => Action::Other(other),
        };
        all.push(Changed { action, name: String::from_utf16_lossy(&units) });
        if next == 0 {
            break;
        }
        at += next as usize;
    }
    all
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if !self.settled(Some(0)).unwrap_or(true) {
            let _cancelled = self.client.call(|frame| {
                let (request, block) = (Addr::user(self.arguments.addr()), Addr::user(self.arguments.spare()));
                nt_io::cancel::nt_cancel_io_file_ex(frame, self.handle, request, block)
            });
            // The request writes to our memory until it has ended.
            let _ended = self.settled(None);
        }
        drop_event(self.client, self.own_event, self.event);
    }
}
