//! Events: what a client wants to be told, and how it is told.
//!
//! Room: drivers/ks. Called by: drivers (KsEnableEvent and kin), AVStream objects. Calls: add and remove handlers. IRQL: enabling
//! and disabling PASSIVE_LEVEL, generating <= DISPATCH_LEVEL. Locks: the list's, as the driver chose it.
//! Touches: KSEVENT_ENTRY, in pool behind an [`EVENT_EXT`]. Source: KsEnableEvent, KsDisableEvent, KsGenerateEvent, KSEVENTDATA
//! pages; rules KS-EV-01 to KS-EV-10, KS-EV-13 to KS-EV-15. Not here: buffered events, and locks other than none and spin locks.

use crate::property;
use crate::queue::{self, Lock};
use crate::sets::{self, Sets};
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, IRP};
use nt_abi::ke::{KDPC, KEVENT, KSEMAPHORE, LIST_ENTRY, WORK_QUEUE_ITEM};
use nt_abi::ks::*;
use nt_abi::ob::EVENT_MODIFY_STATE;
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region, callout};
use nt_ex::pool;
use nt_io::event;
use nt_io::irp::{self, IoStatus, Irp};
use nt_io::service::violation;
use nt_ke::list::{self, List};
use nt_ke::{Mode, dispatcher};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, object};
use std::sync::LazyLock;

nt_abi::layout! {
    /// What lies in front of an entry.
    pub struct EVENT_EXT: 0x20 {
        /// A mark.
        Mark @ 0x00: u64;
        /// The object that the client's handle named, counted; 0 for what the client answers for.
        Counted @ 0x08: u64;
        /// The remove handler.
        Remove @ 0x10: nt_abi::Code;
        /// Reserved.
        Spare @ 0x18: u64;
    }
}

const MARK: u64 = 0x4B53_4576_656E_7421;
const ONESHOT: u32 = 2;
const EVENT_DATA: usize = KSEVENTDATA::SIZE;

/// KSEVENTS_LOCKTYPE with its lock.
#[derive(Clone, Copy, Debug)]
pub enum Guard {
    /// KSEVENTS_NONE.
    Nothing,
    /// KSEVENTS_SPINLOCK.
    Spin(Lock),
}

impl Guard {
    /// Sorts a driver's word; `None` for a kind of lock that is not there.
    #[must_use]
    pub fn from_raw(kind: u32, lock: Option<Lock>) -> Option<Self> {
        match (kind, lock) {
            (0, _) => Some(Self::Nothing),
            (1, Some(lock)) => Some(Self::Spin(lock)),
            _ => None,
        }
    }
    fn with<R>(self, body: impl FnOnce() -> R) -> R {
        match self {
            Self::Nothing => body(),
            Self::Spin(lock) => queue::with_locks(lock, None, body),
        }
    }
}

/// An entry of a list of events.
pub type Entry = Foreign<KSEVENT_ENTRY>;

fn ext(entry: Entry) -> Foreign<EVENT_EXT> {
    entry.preceding()
}

/// KsEnableEvent; the entry goes on `list`, unless the item has an add handler (KS-EV-01 to KS-EV-08).
#[must_use]
pub fn enable(packet: Irp, all: &Sets<KSEVENT_SET>, list: Option<List>, guard: Guard) -> NtStatus {
    irp::set_status(packet, IoStatus::new(irp::status(packet).status, 0));
    start(packet, all, list, guard).unwrap_or_else(|error| error.status())
}

fn start(packet: Irp, all: &Sets<KSEVENT_SET>, list: Option<List>, guard: Guard) -> NtResult<NtStatus> {
    let raw = property::input(packet)?;
    if raw.len() < KSIDENTIFIER::SIZE {
        return NtStatus::INVALID_BUFFER_SIZE.fail();
    }
    let request = property::Request { raw };
    let out = property::output(packet)?;
    if request.flags() & KSEVENT_TYPE_SETSUPPORT != 0 {
        return support(packet, all, request.set(), out);
    }
    let (set, item) = sets::find(all, request.set(), request.id())?; // KS-EV-08
    if request.flags() & KSEVENT_TYPE_BASICSUPPORT != 0 {
        return Ok(NtStatus::SUCCESS); // KS-EV-15
    }
    if request.flags() & (KSEVENT_TYPE_ENABLE | KSEVENT_TYPE_ONESHOT) == 0 {
        return NtStatus::INVALID_PARAMETER.fail();
    }
    let due = (item.get(KSEVENT_ITEM::DataInput) as usize).max(EVENT_DATA);
    if out.len() < due {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let data = out.sub(0, due).to_vec().map_err(violation)?;
    let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap_or_default());
    let kind = word(0) as u32;
    let (target, counted) = target(packet, kind, word(8))?;
    let extra = item.get(KSEVENT_ITEM::ExtraEntryData) as usize;
    let made =
        pool::allocate(EVENT_EXT::SIZE + KSEVENT_ENTRY::SIZE + extra, pool::tag(b"KsEv"), pool::PoolKind::NonPaged);
    let Some(made) = made else {
        drop_target(kind, counted);
        return NtStatus::INSUFFICIENT_RESOURCES.fail();
    };
    let front: Foreign<EVENT_EXT> = made.view();
    front.set(EVENT_EXT::Mark, MARK);
    front.set(EVENT_EXT::Counted, counted);
    front.set_code(EVENT_EXT::Remove, item.code(KSEVENT_ITEM::RemoveHandler));
    let entry: Entry = front.following();
    list::initialize(entry.at(KSEVENT_ENTRY::ListEntry));
    entry.set_addr(KSEVENT_ENTRY::Object, target);
    entry.set_addr(KSEVENT_ENTRY::EventData, out.addr());
    entry.set(KSEVENT_ENTRY::NotificationType, kind);
    entry.set_ptr(KSEVENT_ENTRY::EventSet, Some(set));
    entry.set_ptr(KSEVENT_ENTRY::EventItem, Some(item));
    entry.set_ptr(KSEVENT_ENTRY::FileObject, irp::current(packet).ptr(IO_STACK_LOCATION::FileObject));
    entry.set(KSEVENT_ENTRY::SemaphoreAdjustment, (word(16) >> 32) as u32);
    entry.set(KSEVENT_ENTRY::Flags, request.flags() & ONESHOT);
    let added = match (item.code(KSEVENT_ITEM::AddHandler), list) {
        (Some(add), _) => match pool::allocate(data.len(), pool::tag(b"KsEd"), pool::PoolKind::NonPaged) {
            Some(copy) => {
                let _own = Region::pool(copy, data.len()).write_from(&data);
                let answer = callout::call(add, &[packet.addr(), copy.addr(), entry.addr()]);
                pool::free(copy);
                answer.map_or_else(|raised| raised.status, |status| NtStatus(status as u32))
            }
            None => NtStatus::INSUFFICIENT_RESOURCES,
        },
        (None, Some(list)) => {
            guard.with(|| list::insert_tail(list, entry.at(KSEVENT_ENTRY::ListEntry)));
            NtStatus::SUCCESS
        }
        (None, None) => NtStatus::INVALID_PARAMETER,
    };
    if added.is_error() {
        discard(entry); // KS-EV-07
    }
    Ok(added)
}

fn support(packet: Irp, all: &Sets<KSEVENT_SET>, wanted: GUID, out: Region) -> NtResult<NtStatus> {
    let known: Vec<GUID> = all.each().filter_map(|set| sets::guid_at(set, KSEVENT_SET::Set)).collect();
    if wanted != GUID_NULL {
        return if known.contains(&wanted) { Ok(NtStatus::SUCCESS) } else { NtStatus::PROPSET_NOT_FOUND.fail() };
    }
    let raw: Vec<u8> = known.iter().flat_map(|set| set.to_bytes()).collect();
    irp::set_status(packet, IoStatus::new(irp::status(packet).status, raw.len() as u64));
    Ok(match out.len() {
        0 if !raw.is_empty() => NtStatus::BUFFER_OVERFLOW,
        room if room < raw.len() => NtStatus::BUFFER_TOO_SMALL,
        _ => {
            out.sub(0, raw.len()).write_from(&raw).map_err(violation)?;
            NtStatus::SUCCESS
        }
    })
}

/// What is signalled, and what of it is counted (KS-EV-02, KS-EV-03).
fn target(packet: Irp, kind: u32, value: u64) -> NtResult<(u64, u64)> {
    let mode = Mode::from_raw(packet.get(IRP::RequestorMode));
    let counted = |of| {
        let found = event::reference(&nt_ke::current(), Handle(value), of, EVENT_MODIFY_STATE, mode);
        found.map(|(object, _)| object.into_raw().addr()).map(|address| (address, address))
    };
    match kind {
        KSEVENTF_EVENT_HANDLE => counted(ObjectType::Event),
        KSEVENTF_SEMAPHORE_HANDLE => counted(ObjectType::Semaphore),
        KSEVENTF_EVENT_OBJECT | KSEVENTF_SEMAPHORE_OBJECT | KSEVENTF_DPC | KSEVENTF_WORKITEM
            if mode == Mode::Kernel && value != 0 =>
        {
            Ok((value, 0))
        }
        _ => NtStatus::INVALID_PARAMETER.fail(),
    }
}

fn drop_target(kind: u32, counted: u64) {
    if counted != 0 {
        match kind {
            KSEVENTF_SEMAPHORE_HANDLE => object::dereference::<KSEMAPHORE>(Foreign::of_table(counted)),
            _ => object::dereference::<KEVENT>(Foreign::of_table(counted)),
        };
    }
}

/// KsDiscardEvent: the entry is on no list any more.
pub fn discard(entry: Entry) {
    let front = ext(entry);
    if front.get(EVENT_EXT::Mark) == MARK {
        front.set(EVENT_EXT::Mark, 0);
        drop_target(entry.get(KSEVENT_ENTRY::NotificationType), front.get(EVENT_EXT::Counted));
        pool::free(front);
    }
}

fn entries(list: List) -> Vec<Entry> {
    list::entries(list).map(|link| link.container(KSEVENT_ENTRY::ListEntry)).collect()
}

/// Takes an entry off its list; who has a remove handler does it himself (KS-EV-14).
fn take_off(entry: Entry, guard: Guard) {
    match ext(entry).code(EVENT_EXT::Remove) {
        Some(remove) => {
            let _raised = callout::call(remove, &[entry.addr_at(KSEVENT_ENTRY::FileObject), entry.addr()]);
        }
        None => guard.with(|| queue::unlink(entry.at(KSEVENT_ENTRY::ListEntry))),
    }
    discard(entry);
}

/// KsDisableEvent: identity is the file object and the address of the client's record (KS-EV-05, KS-EV-06).
#[must_use]
pub fn disable(packet: Irp, list: List, guard: Guard) -> NtStatus {
    let stack = irp::current(packet);
    let length = stack.get(IO_STACK_LOCATION::DeviceIoControl_InputBufferLength) as usize;
    let Some(file) = stack.ptr(IO_STACK_LOCATION::FileObject) else { return NtStatus::UNSUCCESSFUL };
    if length == 0 {
        free_list(file, list, guard);
        return NtStatus::SUCCESS;
    }
    if length < EVENT_DATA {
        return NtStatus::INVALID_BUFFER_SIZE;
    }
    let wanted = stack.addr_at(IO_STACK_LOCATION::DeviceIoControl_Type3InputBuffer);
    let mine = |entry: &Entry| {
        entry.ptr(KSEVENT_ENTRY::FileObject) == Some(file) && entry.addr_at(KSEVENT_ENTRY::EventData) == wanted
    };
    match guard.with(|| entries(list).into_iter().find(mine)) {
        Some(entry) => {
            take_off(entry, guard);
            NtStatus::SUCCESS
        }
        None => NtStatus::UNSUCCESSFUL,
    }
}

/// KsFreeEventList: a file object closes (KS-EV-13).
pub fn free_list(file: Foreign<FILE_OBJECT>, list: List, guard: Guard) {
    let mine = |entry: &Entry| entry.ptr(KSEVENT_ENTRY::FileObject) == Some(file);
    for entry in guard.with(|| entries(list).into_iter().filter(mine).collect::<Vec<_>>()) {
        take_off(entry, guard);
    }
}

/// KsGenerateEvent: the list's lock is held by the caller (KS-EV-09). A one-shot entry goes.
pub fn generate(entry: Entry) -> NtStatus {
    if signal(entry).is_error() {
        return NtStatus::INVALID_PARAMETER;
    }
    if entry.get(KSEVENT_ENTRY::Flags) & ONESHOT != 0 {
        queue::unlink(entry.at(KSEVENT_ENTRY::ListEntry));
        discard(entry);
    }
    NtStatus::SUCCESS
}

fn signal(entry: Entry) -> NtStatus {
    let target = entry.addr_at(KSEVENT_ENTRY::Object);
    match entry.get(KSEVENT_ENTRY::NotificationType) {
        KSEVENTF_EVENT_HANDLE | KSEVENTF_EVENT_OBJECT => {
            dispatcher::set_event(Foreign::of_table(target));
        }
        KSEVENTF_SEMAPHORE_HANDLE | KSEVENTF_SEMAPHORE_OBJECT => {
            let by = entry.get(KSEVENT_ENTRY::SemaphoreAdjustment) as i32;
            let _limit = nt_ke::wait::release_semaphore(Foreign::<KSEMAPHORE>::of_table(target), by);
        }
        KSEVENTF_DPC => {
            let data = entry.addr_at(KSEVENT_ENTRY::EventData);
            let _queued_already =
                nt_ke::dpc::insert(&nt_ke::current().kernel, Foreign::<KDPC>::of_table(target), data, 0);
        }
        KSEVENTF_WORKITEM => run_item(Foreign::of_table(target)),
        _ => return NtStatus::INVALID_PARAMETER,
    }
    NtStatus::SUCCESS
}

/// Queues a work item, once until it runs.
fn run_item(item: Foreign<WORK_QUEUE_ITEM>) {
    let link = item.at(WORK_QUEUE_ITEM::List);
    if !link.set_ptr_if_null(LIST_ENTRY::Flink, link) {
        return;
    }
    nt_ke::work::WorkQueue::queue(&std::sync::Arc::clone(&nt_ke::current().kernel), move || {
        link.set_ptr(LIST_ENTRY::Flink, None);
        if let Some(code) = item.code(WORK_QUEUE_ITEM::WorkerRoutine) {
            let _raised = callout::call(code, &[item.addr_at(WORK_QUEUE_ITEM::Parameter)]);
        }
    });
}

/// KsGenerateEventList: all entries of a list with the id, and the set if there is one (KS-EV-10); returns how many.
pub fn generate_list(set: Option<GUID>, id: u32, list: List, guard: Guard) -> usize {
    let named = |entry: &Entry| {
        let item = entry.ptr(KSEVENT_ENTRY::EventItem).map(|item| item.get(KSEVENT_ITEM::EventId));
        let own = entry.ptr(KSEVENT_ENTRY::EventSet).and_then(|own| sets::guid_at(own, KSEVENT_SET::Set));
        item == Some(id) && (set.is_none() || own == set)
    };
    guard.with(|| {
        let all: Vec<Entry> = entries(list).into_iter().filter(named).collect();
        all.iter().for_each(|entry| {
            let _told = generate(*entry);
        });
        all.len()
    })
}

/// KSEVENTSETID_Connection with KSEVENT_CONNECTION_ENDOFSTREAM, for pins that say the end of their streams (KS-EV-16).
pub(crate) fn end_of_stream() -> Sets<KSEVENT_SET> {
    static SET: LazyLock<Option<u64>> = LazyLock::new(|| {
        let size = KSEVENT_SET::SIZE + 8 + KSEVENT_ITEM::SIZE + queue::QUEUE_BLOCK::SIZE;
        let set: Foreign<KSEVENT_SET> = pool::allocate_permanent(size)?.view();
        let item = Foreign::<KSEVENT_ITEM>::of_table(set.addr() + KSEVENT_SET::SIZE as u64 + 8);
        let guid = item.following::<queue::QUEUE_BLOCK>();
        guid.region().sub(0, 16).write_from(&KSEVENTSETID_Connection.to_bytes()).ok()?;
        set.set_addr(KSEVENT_SET::Set, guid.addr());
        set.set(KSEVENT_SET::EventsCount, 1);
        set.set_ptr(KSEVENT_SET::EventItem, Some(item));
        item.set(KSEVENT_ITEM::EventId, KSEVENT_CONNECTION_ENDOFSTREAM);
        item.set(KSEVENT_ITEM::DataInput, EVENT_DATA as u32);
        Some(set.addr())
    });
    Sets::plain(SET.map(Foreign::of_table), 1)
}

/// Whether a request names an event of these sets.
pub(crate) fn is_for(packet: Irp, all: &Sets<KSEVENT_SET>) -> bool {
    let Ok(raw) = property::input(packet) else { return false };
    if raw.len() < KSIDENTIFIER::SIZE {
        return false;
    }
    let request = property::Request { raw };
    sets::find(all, request.set(), request.id()).is_ok()
}

/// A list of events with its lock, of an object that KS keeps.
#[derive(Debug)]
pub struct Events(Foreign<queue::QUEUE_BLOCK>);

impl Events {
    /// Makes an empty list.
    pub fn new() -> NtResult<Self> {
        let block = pool::zeroed::<queue::QUEUE_BLOCK>(pool::tag(b"KsEl"));
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        list::initialize(block.at(queue::QUEUE_BLOCK::List));
        Ok(Self(block))
    }
    /// Returns the list and what guards it.
    #[must_use]
    pub fn parts(&self) -> (List, Guard) {
        (self.0.at(queue::QUEUE_BLOCK::List), Guard::Spin(self.0.at(queue::QUEUE_BLOCK::Lock)))
    }
    /// Generates.
    pub fn generate(&self, set: Option<GUID>, id: u32) -> usize {
        let (list, guard) = self.parts();
        generate_list(set, id, list, guard)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let (list, _) = self.parts();
        entries(list).into_iter().for_each(discard);
        pool::free(self.0);
    }
}
