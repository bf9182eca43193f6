//! What sections of user mode and running programs forbid, and what they need.
//!
//! Room: drivers/memfs. Called by: `create`, `fileinfo`, `naming`, `cleanup`. Calls: `nt_section`. IRQL: PASSIVE_LEVEL.
//! Locks: the caller's. Source: rules NT-I-09, NT-CC-09, NT-CC-61, NT-CC-75, NT-DEL-10 to NT-DEL-12, NT-SHR-03.

use crate::cached;
use crate::create::{READS, WRITES};
use crate::node::Node;
use nt_abi::io::{FILE_OBJECT, FILE_SHARE_WRITE, FILE_WRITE_DATA};
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, FSRTL_FLAG_USER_MAPPED_FILE, SECTION_OBJECT_POINTERS};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_section::doors;
use nt_trace::rule;

impl Node {
    /// Whether there are sections or views of its data in user mode.
    pub(crate) fn is_mapped(&self) -> bool {
        self.header().get(FSRTL_ADVANCED_FCB_HEADER::Flags) & FSRTL_FLAG_USER_MAPPED_FILE != 0
    }

    /// Whether it runs as a program.
    pub(crate) fn is_running(&self) -> bool {
        doors::has_image(self.sections())
    }
}

/// May a file be opened with this access and share mode, to be deleted or to be replaced? What runs is neither written nor
/// deleted (NT-SHR-03, NT-DEL-12); a section that may be stored to counts as a writer.
pub(crate) fn may_be_opened(node: &Node, (access, share): (u32, u32), deletes: bool, replaces: bool) -> NtResult<()> {
    if (deletes || replaces || access & FILE_WRITE_DATA != 0) && node.is_running() {
        rule!(NT_SHR_03);
        return if deletes { NtStatus::CANNOT_DELETE.fail() } else { NtStatus::SHARING_VIOLATION.fail() };
    }
    if !node.is_mapped() {
        return Ok(());
    }
    let alone = share & FILE_SHARE_WRITE == 0 && access & (READS | WRITES | nt_abi::ob::DELETE) != 0;
    if alone && doors::user_writable_references(node.sections()) != 0 {
        rule!(NT_SHR_03);
        return NtStatus::SHARING_VIOLATION.fail();
    }
    if replaces { NtStatus::USER_MAPPED_FILE.fail() } else { Ok(()) }
}

/// May a file be cut to `end`, if that makes it shorter? Not while a section or view of it is there (NT-CC-61).
pub(crate) fn may_cut(node: &Node, shorter: bool, end: u64) -> NtResult<()> {
    if shorter && !nt_section::can_file_be_truncated(node.sections(), Some(end)) {
        rule!(NT_I_09);
        return NtStatus::USER_MAPPED_FILE.fail();
    }
    Ok(())
}

/// A file object that is on the cache for the time of one call.
pub(crate) struct ForTheCall(Foreign<FILE_OBJECT>);

impl Drop for ForTheCall {
    fn drop(&mut self) {
        let _views_go_on = nt_cc::uninitialize(self.0, None, None);
    }
}

/// A size is about to be set: a stream that has a section, and no cache map, gets one for it (NT-CC-09). The caller holds the
/// main lock.
pub(crate) fn cache_for_the_call(file: Foreign<FILE_OBJECT>, node: &Node) -> NtResult<Option<ForTheCall>> {
    if !node.is_mapped() || node.sections().addr_at(SECTION_OBJECT_POINTERS::SharedCacheMap) != 0 {
        return Ok(None);
    }
    rule!(NT_CC_09);
    cached::start(file, node).map(|()| Some(ForTheCall(file)))
}
