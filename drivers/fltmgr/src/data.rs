//! Callback data: the block that filters see, and a safe view of it for filters written in Rust.
//!
//! Room: drivers/fltmgr. IRQL: <= DISPATCH_LEVEL. Locks: none.
//! Source: FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLT_RELATED_OBJECTS; rules FLT-D-01 to FLT-D-04, FLT-O-25.

use nt_abi::flt::*;
use nt_abi::io::{FILE_OBJECT, IO_STATUS_BLOCK, IRP};
use nt_abi::{Bytes, NtResult, NtStatus, Ptr};
use nt_cell::Foreign;
use nt_ex::pool;
use nt_io::irp::IoStatus;
use std::ffi::CStr;

nt_abi::layout! {
    /// One operation's block: what filters see, then ours.
    pub struct BLOCK: 0x100 {
        /// The callback data.
        Data @ 0x00: FLT_CALLBACK_DATA;
        /// Its parameter block.
        Iopb @ 0x58: FLT_IO_PARAMETER_BLOCK;
        /// The related objects.
        Related @ 0xA0: FLT_RELATED_OBJECTS;
        /// Where a pre callback stores its completion context.
        Context @ 0xD0: u64;
        /// The key of the operation.
        Key @ 0xD8: u64;
        /// Marks a block of ours.
        Mark @ 0xE0: u64;
        /// The packet, 0 for fast I/O.
        Packet @ 0xE8: Ptr<IRP>;
        /// What Length of IRP_MJ_QUERY_OPEN points at.
        QueryLength @ 0xF0: u32;
    }
    /// The parameter block as nine words, to save and restore it.
    pub struct IOPB_WORDS: 0x48 {
        /// All of it.
        Words @ 0x00: [u64; 9];
    }
}
const MARK: u64 = 0x464C_545F_4342_4400;

/// The parameter block at one moment.
pub type Snapshot = [u64; 9];

/// Makes a block for an operation.
pub fn allocate(key: u64, file: Option<Foreign<FILE_OBJECT>>) -> NtResult<Foreign<BLOCK>> {
    let block = pool::zeroed::<BLOCK>(pool::tag(b"FMcd")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
    block.set(BLOCK::Mark, MARK);
    block.set(BLOCK::Key, key);
    let data = block.at(BLOCK::Data);
    data.set_ptr(FLT_CALLBACK_DATA::Iopb, Some(block.at(BLOCK::Iopb)));
    block.at(BLOCK::Iopb).set_ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject, file);
    let related = block.at(BLOCK::Related);
    related.set(FLT_RELATED_OBJECTS::Size, FLT_RELATED_OBJECTS::SIZE as u16);
    related.set_ptr(FLT_RELATED_OBJECTS::FileObject, file);
    Ok(block)
}

/// A copy for a draining post callback: the parameters as the filter saw them, no result, no request behind it (FLT-O-19).
pub(crate) fn copy(block: Foreign<BLOCK>, seen: &Snapshot) -> NtResult<Foreign<BLOCK>> {
    let made = allocate(0, block.at(BLOCK::Iopb).ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject))?;
    restore(made, seen);
    let (from, to) = (block.at(BLOCK::Data), made.at(BLOCK::Data));
    let flags = FLTFL_CALLBACK_DATA_DRAINING_IO | FLTFL_CALLBACK_DATA_POST_OPERATION;
    to.set(FLT_CALLBACK_DATA::Flags, from.get(FLT_CALLBACK_DATA::Flags) | flags);
    to.set_addr(FLT_CALLBACK_DATA::Thread, from.addr_at(FLT_CALLBACK_DATA::Thread));
    to.set(FLT_CALLBACK_DATA::RequestorMode, from.get(FLT_CALLBACK_DATA::RequestorMode));
    Ok(made)
}

/// Returns the block of a callback data pointer that a driver gave, if it is one of ours.
#[must_use]
pub fn block_of(data: Foreign<FLT_CALLBACK_DATA>) -> Option<Foreign<BLOCK>> {
    let block = data.container(BLOCK::Data);
    (block.get(BLOCK::Mark) == MARK).then_some(block)
}

/// Reads the parameter block.
#[must_use]
pub fn snapshot(block: Foreign<BLOCK>) -> Snapshot {
    let words = block.at(BLOCK::Iopb).view::<IOPB_WORDS>();
    std::array::from_fn(|index| words.get(IOPB_WORDS::Words.index(index)))
}

/// Writes the parameter block.
pub fn restore(block: Foreign<BLOCK>, snapshot: &Snapshot) {
    let words = block.at(BLOCK::Iopb).view::<IOPB_WORDS>();
    for (index, word) in snapshot.iter().enumerate() {
        words.set(IOPB_WORDS::Words.index(index), *word);
    }
}

/// Reads IoStatus.
#[must_use]
pub fn status(block: Foreign<BLOCK>) -> IoStatus {
    let status = block.at(BLOCK::Data).at(FLT_CALLBACK_DATA::IoStatus);
    IoStatus::new(status.get(IO_STATUS_BLOCK::Status), status.get(IO_STATUS_BLOCK::Information))
}

/// Writes IoStatus.
pub fn set_status(block: Foreign<BLOCK>, result: IoStatus) {
    let status = block.at(BLOCK::Data).at(FLT_CALLBACK_DATA::IoStatus);
    status.set(IO_STATUS_BLOCK::Status, result.status);
    status.set(IO_STATUS_BLOCK::Information, result.information);
}

/// A filter written in Rust sees an operation through this.
#[derive(Clone, Copy, Debug)]
pub struct CallbackData {
    block: Foreign<BLOCK>,
}

impl CallbackData {
    pub(crate) fn new(block: Foreign<BLOCK>) -> Self {
        Self { block }
    }
    /// Returns the parameter block.
    #[must_use]
    pub fn iopb(self) -> Foreign<FLT_IO_PARAMETER_BLOCK> {
        self.block.at(BLOCK::Iopb)
    }
    /// Returns the address of the block, which stays the same from pre to post.
    #[must_use]
    pub fn id(self) -> u64 {
        self.block.addr()
    }
    /// Returns IRP_MJ_*.
    #[must_use]
    pub fn major(self) -> u8 {
        self.iopb().get(FLT_IO_PARAMETER_BLOCK::MajorFunction)
    }
    /// Returns the file object.
    #[must_use]
    pub fn file(self) -> Option<Foreign<FILE_OBJECT>> {
        self.iopb().ptr(FLT_IO_PARAMETER_BLOCK::TargetFileObject)
    }
    /// Returns FLTFL_CALLBACK_DATA_*.
    #[must_use]
    pub fn flags(self) -> u32 {
        self.block.at(BLOCK::Data).get(FLT_CALLBACK_DATA::Flags)
    }
    /// Returns IRP_* flags; 0 for fast I/O (FLT-O-04).
    #[must_use]
    pub fn irp_flags(self) -> u32 {
        self.iopb().get(FLT_IO_PARAMETER_BLOCK::IrpFlags)
    }
    /// Returns SL_* flags.
    #[must_use]
    pub fn operation_flags(self) -> u8 {
        self.iopb().get(FLT_IO_PARAMETER_BLOCK::OperationFlags)
    }
    /// Returns whether the requestor is user mode.
    #[must_use]
    pub fn from_user(self) -> bool {
        self.block.at(BLOCK::Data).get(FLT_CALLBACK_DATA::RequestorMode) != 0
    }
    /// FLT_IS_FASTIO_OPERATION.
    #[must_use]
    pub fn is_fast_io(self) -> bool {
        self.flags() & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0
    }
    /// Whether somebody asked for the request to be cancelled (FltIsIoCanceled): who pends one looks.
    #[must_use]
    pub fn is_canceled(self) -> bool {
        let packet = block_of(self.data()).and_then(|block| block.ptr(BLOCK::Packet));
        packet.is_some_and(|packet| packet.get(IRP::Cancel) != 0)
    }

    /// Is this the notice of a teardown (FLT-O-19)?
    #[must_use]
    pub fn is_draining(self) -> bool {
        self.flags() & FLTFL_CALLBACK_DATA_DRAINING_IO != 0
    }
    /// FltDecodeParameters (FLT-D-12).
    #[must_use]
    pub fn decode(self) -> Option<crate::parameters::Decoded> {
        crate::parameters::decode(self.iopb())
    }
    /// Returns the length of a read or write.
    #[must_use]
    pub fn length(self) -> u32 {
        self.iopb().get(FLT_IO_PARAMETER_BLOCK::Write_Length)
    }
    /// Changes the length; takes effect below when [`CallbackData::set_dirty`] follows (FLT-D-03).
    pub fn set_length(self, length: u32) {
        self.iopb().set(FLT_IO_PARAMETER_BLOCK::Write_Length, length);
    }
    /// Returns the key of a read or write.
    #[must_use]
    pub fn key(self) -> u32 {
        self.iopb().get(FLT_IO_PARAMETER_BLOCK::Write_Key)
    }
    /// Returns the offset of a read or write, -1 for an append.
    #[must_use]
    pub fn offset(self) -> i64 {
        self.iopb().get(FLT_IO_PARAMETER_BLOCK::Write_ByteOffset)
    }
    /// Changes the offset.
    pub fn set_offset(self, offset: i64) {
        self.iopb().set(FLT_IO_PARAMETER_BLOCK::Write_ByteOffset, offset);
    }
    /// FltSetCallbackDataDirty.
    pub fn set_dirty(self) {
        self.block.at(BLOCK::Data).or32(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_DIRTY);
    }
    /// Returns IoStatus.
    #[must_use]
    pub fn status(self) -> IoStatus {
        status(self.block)
    }
    /// Writes IoStatus: before COMPLETE, or in a post callback.
    pub fn set_status(self, result: IoStatus) {
        set_status(self.block, result);
    }
    /// In the post callback of a create that ended with STATUS_REPARSE: the tag of the reparse point, and how many bytes of
    /// the name stand behind it (NT-REP-21).
    #[must_use]
    pub fn tag(self) -> Option<(u32, u16)> {
        let tag = self.data().ptr(FLT_CALLBACK_DATA::TagData)?;
        Some((tag.get(FLT_TAG_DATA_BUFFER::FileTag), tag.get(FLT_TAG_DATA_BUFFER::UnparsedNameLength)))
    }
    /// In the pre callback of a create: sends the open to another name, an absolute one of the NT namespace. The I/O manager
    /// starts it again from the top, so every filter, this one too, sees a create of the new name.
    ///
    /// # Errors
    /// INVALID_PARAMETER without a file object, NAME_TOO_LONG, INSUFFICIENT_RESOURCES.
    /// IRQL: PASSIVE_LEVEL. Source: IoReplaceFileObjectName page, simrep sample.
    pub fn redirect(self, name: &[u16]) -> NtResult<crate::PreOp> {
        let file = self.file().ok_or(NtStatus::INVALID_PARAMETER.error())?;
        nt_io::reparse::replace_name(file, name)?;
        Ok(crate::PreOp::Complete(IoStatus::new(NtStatus::REPARSE, 0)))
    }
    /// Returns the opaque instance pointer.
    #[must_use]
    pub fn instance(self) -> Option<Foreign<Bytes>> {
        self.iopb().ptr(FLT_IO_PARAMETER_BLOCK::TargetInstance).map(Foreign::view)
    }
    /// Returns the instance whose callback runs.
    #[must_use]
    pub fn target_instance(self) -> Option<std::sync::Arc<crate::Instance>> {
        crate::filter::instance_at(self.instance())
    }
    /// Returns FLT_RELATED_OBJECTS as compiled filters get it.
    #[must_use]
    pub fn related(self) -> Foreign<FLT_RELATED_OBJECTS> {
        self.block.at(BLOCK::Related)
    }
    /// Returns the callback data's own address, as compiled filters get it.
    #[must_use]
    pub fn data(self) -> Foreign<FLT_CALLBACK_DATA> {
        self.block.at(BLOCK::Data)
    }
}

/// The names of the majors, each a string that a driver may print for ever.
const NAMES: [(u8, &CStr); 44] = [
    (0x00, c"IRP_MJ_CREATE"),
    (0x01, c"IRP_MJ_CREATE_NAMED_PIPE"),
    (0x02, c"IRP_MJ_CLOSE"),
    (0x03, c"IRP_MJ_READ"),
    (0x04, c"IRP_MJ_WRITE"),
    (0x05, c"IRP_MJ_QUERY_INFORMATION"),
    (0x06, c"IRP_MJ_SET_INFORMATION"),
    (0x07, c"IRP_MJ_QUERY_EA"),
    (0x08, c"IRP_MJ_SET_EA"),
    (0x09, c"IRP_MJ_FLUSH_BUFFERS"),
    (0x0A, c"IRP_MJ_QUERY_VOLUME_INFORMATION"),
    (0x0B, c"IRP_MJ_SET_VOLUME_INFORMATION"),
    (0x0C, c"IRP_MJ_DIRECTORY_CONTROL"),
    (0x0D, c"IRP_MJ_FILE_SYSTEM_CONTROL"),
    (0x0E, c"IRP_MJ_DEVICE_CONTROL"),
    (0x0F, c"IRP_MJ_INTERNAL_DEVICE_CONTROL"),
    (0x10, c"IRP_MJ_SHUTDOWN"),
    (0x11, c"IRP_MJ_LOCK_CONTROL"),
    (0x12, c"IRP_MJ_CLEANUP"),
    (0x13, c"IRP_MJ_CREATE_MAILSLOT"),
    (0x14, c"IRP_MJ_QUERY_SECURITY"),
    (0x15, c"IRP_MJ_SET_SECURITY"),
    (0x16, c"IRP_MJ_POWER"),
    (0x17, c"IRP_MJ_SYSTEM_CONTROL"),
    (0x18, c"IRP_MJ_DEVICE_CHANGE"),
    (0x19, c"IRP_MJ_QUERY_QUOTA"),
    (0x1A, c"IRP_MJ_SET_QUOTA"),
    (0x1B, c"IRP_MJ_PNP"),
    (0xFF, c"IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION"),
    (0xFE, c"IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION"),
    (0xFD, c"IRP_MJ_ACQUIRE_FOR_MOD_WRITE"),
    (0xFC, c"IRP_MJ_RELEASE_FOR_MOD_WRITE"),
    (0xFB, c"IRP_MJ_ACQUIRE_FOR_CC_FLUSH"),
    (0xFA, c"IRP_MJ_RELEASE_FOR_CC_FLUSH"),
    (0xF9, c"IRP_MJ_QUERY_OPEN"),
    (0xF3, c"IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE"),
    (0xF2, c"IRP_MJ_NETWORK_QUERY_OPEN"),
    (0xF1, c"IRP_MJ_MDL_READ"),
    (0xF0, c"IRP_MJ_MDL_READ_COMPLETE"),
    (0xEF, c"IRP_MJ_PREPARE_MDL_WRITE"),
    (0xEE, c"IRP_MJ_MDL_WRITE_COMPLETE"),
    (0xED, c"IRP_MJ_VOLUME_MOUNT"),
    (0xEC, c"IRP_MJ_VOLUME_DISMOUNT"),
    (0x80, c"IRP_MJ_OPERATION_END"),
];

/// Returns the name of a major, as FltGetIrpName has it: `IRP_MJ_WRITE` for 4.
#[must_use]
pub fn major_name(major: u8) -> Option<&'static CStr> {
    NAMES.iter().find(|(each, _)| *each == major).map(|(_, name)| *name)
}
