//! What filters hang on a stream or a file of a file system: FSRTL_PER_STREAM_CONTEXT, FSRTL_PER_FILE_CONTEXT.
//!
//! Room: ntos/fsrtl. Called by: file systems (teardown), the Filter Manager and legacy filters (the rest).
//! Touches: the list in FSRTL_ADVANCED_FCB_HEADER.FilterContexts, the slot behind FileContextSupportPointer.
//! IRQL: <= APC_LEVEL. Locks: one for all lists, held for a few pointer moves, never while a FreeCallback runs.
//! Source: FsRtlInsertPerStreamContext, FsRtlInsertPerFileContext pages; rules FLT-C-13 to FLT-C-15.

use nt_abi::ke::LIST_ENTRY;
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FSRTL_PER_STREAM_CONTEXT};
use nt_abi::{Bytes, Ptr};
use nt_cell::{Foreign, callout};
use nt_ex::pool;
use nt_ke::Mutex;
use nt_ke::list::{self, List};

/// The header of a stream's control block.
pub type Header = Foreign<FSRTL_ADVANCED_FCB_HEADER>;
/// One context; FSRTL_PER_FILE_CONTEXT has the same members at the same places.
pub type Context = Foreign<FSRTL_PER_STREAM_CONTEXT>;

const ADVANCED_HEADER: u8 = 0x40;
const SUPPORTS_FILTER_CONTEXTS: u8 = 0x02;
/// FSRTL_FCB_HEADER_V1: the header has FileContextSupportPointer.
const VERSION_1: u8 = 1;

static LISTS: Mutex<()> = Mutex::new(());

nt_abi::layout! {
    /// The word that FileContextSupportPointer points at.
    pub struct FILE_CONTEXTS: 0x08 {
        /// The head of the file's list, once there is one.
        Head @ 0x00: Ptr<LIST_ENTRY>;
    }
}

fn linked(context: Context) -> Foreign<LIST_ENTRY> {
    context.at(FSRTL_PER_STREAM_CONTEXT::Links)
}

/// Prepares a header: FsRtlSetupAdvancedHeaderEx with `file`, the slot for contexts of the whole file, if there is one.
pub fn setup(header: Header, file: Option<Foreign<FILE_CONTEXTS>>) {
    header.or8(FSRTL_ADVANCED_FCB_HEADER::Flags, ADVANCED_HEADER);
    header.or8(FSRTL_ADVANCED_FCB_HEADER::Flags2, SUPPORTS_FILTER_CONTEXTS);
    header.set(FSRTL_ADVANCED_FCB_HEADER::Version, VERSION_1);
    list::initialize(header.at(FSRTL_ADVANCED_FCB_HEADER::FilterContexts));
    header.set_ptr(FSRTL_ADVANCED_FCB_HEADER::FileContextSupportPointer, file.map(Foreign::view));
}

/// FsRtlSupportsPerFileObjectContexts and the test in front of every call: does the stream take contexts?
#[must_use]
pub fn supported(header: Header) -> bool {
    header.get(FSRTL_ADVANCED_FCB_HEADER::Flags2) & SUPPORTS_FILTER_CONTEXTS != 0
}

/// The slot of the whole file's contexts; `None`: the file system keeps none.
#[must_use]
pub fn of_file(header: Header) -> Option<Foreign<FILE_CONTEXTS>> {
    if !supported(header) || header.get(FSRTL_ADVANCED_FCB_HEADER::Version) < VERSION_1 {
        return None;
    }
    header.ptr(FSRTL_ADVANCED_FCB_HEADER::FileContextSupportPointer).map(Foreign::<Bytes>::view)
}

fn push(list: List, context: Context) {
    list::insert_after(list, linked(context));
}

fn unlink(entry: List) {
    list::remove(entry);
    list::initialize(entry);
}

fn find(list: List, owner: u64, instance: u64) -> Option<Context> {
    let is = |of: u64, wanted: u64| wanted == 0 || of == wanted;
    list::entries(list).map(|entry| entry.container(FSRTL_PER_STREAM_CONTEXT::Links)).find(|context| {
        is(context.get(FSRTL_PER_STREAM_CONTEXT::OwnerId), owner)
            && is(context.get(FSRTL_PER_STREAM_CONTEXT::InstanceId), instance)
    })
}

fn stream_list(header: Header) -> Foreign<LIST_ENTRY> {
    header.at(FSRTL_ADVANCED_FCB_HEADER::FilterContexts)
}

/// FsRtlInsertPerStreamContext: `false` where the stream takes none.
#[must_use]
pub fn insert(header: Header, context: Context) -> bool {
    if !supported(header) {
        return false;
    }
    let _lists = LISTS.lock();
    push(stream_list(header), context);
    true
}

/// FsRtlLookupPerStreamContext: by owner and instance; 0 stands for any.
#[must_use]
pub fn look_up(header: Header, owner: u64, instance: u64) -> Option<Context> {
    if !supported(header) {
        return None;
    }
    let _lists = LISTS.lock();
    find(stream_list(header), owner, instance)
}

/// FsRtlRemovePerStreamContext: the context, no longer in the list; the caller frees it.
#[must_use]
pub fn remove(header: Header, owner: u64, instance: u64) -> Option<Context> {
    if !supported(header) {
        return None;
    }
    let _lists = LISTS.lock();
    find(stream_list(header), owner, instance).inspect(|context| unlink(linked(*context)))
}

fn free_all(list: Foreign<LIST_ENTRY>) {
    loop {
        let next = {
            let _lists = LISTS.lock();
            find(list, 0, 0).inspect(|context| unlink(linked(*context)))
        };
        let Some(context) = next else { return };
        if let Some(routine) = context.code(FSRTL_PER_STREAM_CONTEXT::FreeCallback) {
            let _raised = callout::call(routine, &[context.addr()]);
        }
    }
}

/// FsRtlTeardownPerStreamContexts: the stream goes; each context's FreeCallback runs once.
pub fn tear_down(header: Header) {
    if supported(header) {
        free_all(stream_list(header));
    }
}

/// FsRtlInsertPerFileContext: `false` without memory for the list.
#[must_use]
pub fn insert_for_file(slot: Foreign<FILE_CONTEXTS>, context: Context) -> bool {
    let _lists = LISTS.lock();
    let head = match slot.ptr(FILE_CONTEXTS::Head) {
        Some(head) => head,
        None => {
            let Some(head) = pool::zeroed::<LIST_ENTRY>(pool::tag(b"FsPf")) else { return false };
            list::initialize(head);
            slot.set_ptr(FILE_CONTEXTS::Head, Some(head));
            head
        }
    };
    push(head, context);
    true
}

/// FsRtlLookupPerFileContext.
#[must_use]
pub fn look_up_for_file(slot: Foreign<FILE_CONTEXTS>, owner: u64, instance: u64) -> Option<Context> {
    let _lists = LISTS.lock();
    find(slot.ptr(FILE_CONTEXTS::Head)?, owner, instance)
}

/// FsRtlRemovePerFileContext.
#[must_use]
pub fn remove_for_file(slot: Foreign<FILE_CONTEXTS>, owner: u64, instance: u64) -> Option<Context> {
    let _lists = LISTS.lock();
    find(slot.ptr(FILE_CONTEXTS::Head)?, owner, instance).inspect(|context| unlink(linked(*context)))
}

/// FsRtlTeardownPerFileContexts: the file goes.
pub fn tear_down_for_file(slot: Foreign<FILE_CONTEXTS>) {
    let Some(head) = slot.ptr(FILE_CONTEXTS::Head) else { return };
    free_all(head);
    slot.set_ptr(FILE_CONTEXTS::Head, None);
    pool::free(head);
}
