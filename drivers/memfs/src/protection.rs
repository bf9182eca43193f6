//! What a write-protected volume refuses before it looks at it.
//!
//! Room: drivers/memfs. Called by: the dispatch routine. IRQL: PASSIVE_LEVEL. Locks: none.
//! Source: FSA 2.1.5.15 and the other operations that begin with Volume.IsReadOnly, ZwFlushBuffersFile page; rules NT-S-03, NT-F-04,
//! NT-VOL-17, NT-REP-04. Opens and writes, which it refuses only in part, are `create`'s, `write`'s and `dasd`'s.

use nt_abi::io::{
    FSCTL_DELETE_REPARSE_POINT, FSCTL_SET_REPARSE_POINT, FSCTL_SET_REPARSE_POINT_EX, FSCTL_SET_SPARSE,
    FSCTL_SET_ZERO_DATA, IO_STACK_LOCATION, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_SET_EA,
    IRP_MJ_SET_INFORMATION, IRP_MJ_SET_SECURITY, IRP_MJ_SET_VOLUME_INFORMATION,
};
use nt_io::driver::OwnedIrp;
use nt_io::info::class;
use nt_trace::rule;

/// Would the request change the volume?
pub(crate) fn refuses(irp: &OwnedIrp) -> bool {
    let stack = irp.stack();
    let changes = match stack.get(IO_STACK_LOCATION::MajorFunction) {
        // The position is the file object's.
        IRP_MJ_SET_INFORMATION => stack.get(IO_STACK_LOCATION::SetFile_FileInformationClass) != class::POSITION,
        IRP_MJ_SET_EA | IRP_MJ_SET_SECURITY | IRP_MJ_SET_VOLUME_INFORMATION | IRP_MJ_FLUSH_BUFFERS => true,
        IRP_MJ_FILE_SYSTEM_CONTROL => matches!(
            stack.get(IO_STACK_LOCATION::FileSystemControl_FsControlCode),
            FSCTL_SET_REPARSE_POINT
                | FSCTL_SET_REPARSE_POINT_EX
                | FSCTL_DELETE_REPARSE_POINT
                | FSCTL_SET_ZERO_DATA
                | FSCTL_SET_SPARSE
        ),
        _ => false,
    };
    if changes {
        rule!(NT_S_03);
    }
    changes
}
