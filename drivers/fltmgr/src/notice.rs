//! FS-filter operations: what the cache and the memory manager do with a file, told to filters as callbacks.
//!
//! Room: drivers/fltmgr. Called by: `nt_cc` through `nt_io`. IRQL: <= APC_LEVEL. Locks: none.
//! Source: FLT_PARAMETERS for IRP_MJ_ACQUIRE_FOR_CC_FLUSH page; rules NT-CC-41, FLT-O-04. The operation is no packet: it
//! has neither a device below nor a result, and the file system of this project takes no lock in it.

use crate::data::BLOCK;
use crate::operation::{Operation, Origin, PreEnd};
use crate::volume::Volume;
use nt_abi::NtStatus;
use nt_abi::flt::{FLT_CALLBACK_DATA, FLT_IO_PARAMETER_BLOCK, FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION};
use nt_abi::io::FILE_OBJECT;
use nt_cell::Foreign;
use nt_io::system::{Notice, Notices};

/// Tells the filters of the volumes.
pub(crate) struct Teller;

impl Notices for Teller {
    fn notify(&self, file: Foreign<FILE_OBJECT>, notice: Notice) -> NtStatus {
        let (frame, major) = (nt_ke::current(), notice.major);
        let Some(volume) = Volume::of_file(&frame.kernel, file) else { return NtStatus::SUCCESS };
        if !volume.gate.wants(major) {
            return NtStatus::SUCCESS;
        }
        let made = Operation::new(&volume, &frame.kernel, Some(file), None, Origin::Notice, 0, 0);
        let Ok(operation) = made else { return NtStatus::INSUFFICIENT_RESOURCES };
        let data = operation.block.at(BLOCK::Data);
        data.set(FLT_CALLBACK_DATA::Flags, FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION);
        data.set_addr(FLT_CALLBACK_DATA::Thread, frame.thread.object());
        let iopb = operation.block.at(BLOCK::Iopb);
        iopb.set(FLT_IO_PARAMETER_BLOCK::MajorFunction, major);
        iopb.set_addr(FLT_IO_PARAMETER_BLOCK::Others_Argument1, notice.parameters[0]);
        iopb.set_addr(FLT_IO_PARAMETER_BLOCK::Others_Argument2, notice.parameters[1]);
        operation.begin();
        let end = operation.run_pre();
        let status = if end == PreEnd::Completed { operation.data().status().status } else { NtStatus::SUCCESS };
        let _done = operation.run_post();
        operation.retire();
        status
    }
}
