//! FsRtl*Oplock*: what compiled file systems call.
//!
//! Room: ntos/fsrtl. Called by: compiled file systems, through the loader. Calls: `oplock`. IRQL: <= APC_LEVEL.
//! Locks: none here. Source: ntifs.h, the FsRtl*Oplock* pages; rules NT-OPL-01 to NT-OPL-12.

use super::{
    Act, Control, OPLOCK, OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, OPLOCK_FLAG_PARENT_OBJECT, Operation, Oplock, Owner,
    Request, Subject, Then,
};
use crate::exports::{at, code};
use nt_abi::NtStatus;
use nt_abi::io::{IO_STACK_LOCATION, IRP_MJ_CLEANUP, IRP_MJ_CREATE};
use nt_cell::{CodePtr, callout, exports};
use nt_io::irp::{self, Irp};

fn oplock_at(address: u64) -> Oplock {
    at::<OPLOCK>(address).expect("a driver passed a NULL POPLOCK")
}

/// How the driver wants an operation to wait: without a completion routine, inside the call.
fn then(packet: Irp, context: u64, completion: u64, post: u64) -> Then {
    let Some(completion) = code(completion) else { return Then::Wait };
    let post = code(post);
    let tell = move |routine: CodePtr, packet: Irp| _ = callout::call(routine, &[context, packet.addr()]);
    Then::Post {
        before: Box::new(move || {
            if let Some(post) = post {
                tell(post, packet);
            }
        }),
        after: Box::new(move |packet| tell(completion, packet)),
    }
}

/// FsRtlCheckOplockEx: the operation is the packet's.
fn check(oplock: u64, packet: u64, flags: u32, context: u64, completion: u64, post: u64) -> u32 {
    let (oplock, Some(packet)) = (oplock_at(oplock), at(packet)) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let stack = irp::current(packet);
    let major = stack.get(IO_STACK_LOCATION::MajorFunction);
    if flags & OPLOCK_FLAG_PARENT_OBJECT != 0 {
        let child = stack.ptr(IO_STACK_LOCATION::FileObject);
        let act = Act { owner: child.map_or(Owner::default(), Owner::of_child), operation: Operation::Children };
        let then = then(packet, context, completion, post);
        return super::check(oplock, &Subject { irp: packet, act }, flags, then).0;
    }
    if major == IRP_MJ_CLEANUP {
        super::cleanup(oplock, stack.addr_at(IO_STACK_LOCATION::FileObject));
        return NtStatus::SUCCESS.0;
    }
    if major == IRP_MJ_CREATE
        && let Err(error) = super::adopt_key(packet)
    {
        return error.status().0;
    }
    Subject::of(packet)
        .map_or(NtStatus::SUCCESS, |subject| {
            super::check(oplock, &subject, flags, then(packet, context, completion, post))
        })
        .0
}

/// FsRtlOplockBreakH, FsRtlOplockBreakToNoneEx.
fn break_by(operation: Operation, oplock: u64, packet: u64, flags: u32, routines: (u64, u64, u64)) -> u32 {
    let Some(packet) = at(packet) else { return NtStatus::INVALID_PARAMETER.0 };
    let (context, completion, post) = routines;
    let subject = Subject::doing(packet, operation);
    super::check(oplock_at(oplock), &subject, flags, then(packet, context, completion, post)).0
}

/// FsRtlOplockFsctrlEx; of a create, what its options ask for (NT-OPL-05): that packet stays its driver's.
fn control(oplock: u64, packet: u64, opens: u32, flags: u32) -> u32 {
    let (oplock, Some(packet)) = (oplock_at(oplock), at(packet)) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let stack = irp::current(packet);
    if stack.get(IO_STACK_LOCATION::MajorFunction) != IRP_MJ_CREATE {
        return super::control(oplock, Request::new(packet), &Control::of(packet), opens, flags).0;
    }
    super::reserve(oplock, packet, opens).0
}

fn is(oplock: u64, which: fn(Oplock) -> bool) -> u8 {
    u8::from(which(oplock_at(oplock)))
}

exports! { "ntoskrnl.exe" =>
    Full code FsRtlInitializeOplock(oplock: u64) { super::initialize(oplock_at(oplock)); }
    Full code FsRtlUninitializeOplock(oplock: u64) { super::uninitialize(oplock_at(oplock)); }
    Partial("a create reserves nothing: it is told whether it would break one") code FsRtlOplockFsctrl(oplock: u64, packet: u64, opens: u32) -> u32 { control(oplock, packet, opens, 0) }
    Partial("a create reserves nothing: it is told whether it would break one") code FsRtlOplockFsctrlEx(oplock: u64, packet: u64, opens: u32, flags: u32) -> u32 { control(oplock, packet, opens, flags) }
    Full code FsRtlCheckOplock(oplock: u64, packet: u64, context: u64, completion: u64, post: u64) -> u32 { check(oplock, packet, 0, context, completion, post) }
    Partial("OPLOCK_FLAG_CLOSING_DELETE_ON_CLOSE and OPLOCK_FLAG_BACK_OUT_ATOMIC_OPLOCK do nothing") code FsRtlCheckOplockEx(oplock: u64, packet: u64, flags: u32, context: u64, completion: u64, post: u64) -> u32 { check(oplock, packet, flags, context, completion, post) }
    Full code FsRtlOplockBreakToNone(oplock: u64, _stack: u64, packet: u64, context: u64, completion: u64, post: u64) -> u32 {
        break_by(Operation::Everything, oplock, packet, 0, (context, completion, post))
    }
    Full code FsRtlOplockBreakToNoneEx(oplock: u64, packet: u64, flags: u32, context: u64, completion: u64, post: u64) -> u32 {
        break_by(Operation::Everything, oplock, packet, flags & OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, (context, completion, post))
    }
    Full code FsRtlOplockBreakH(oplock: u64, packet: u64, flags: u32, context: u64, completion: u64, post: u64) -> u32 {
        break_by(Operation::Conflict, oplock, packet, flags, (context, completion, post))
    }
    Full code FsRtlOplockIsFastIoPossible(oplock: u64) -> u8 { is(oplock, super::is_fast_io_possible) }
    Full code FsRtlOplockIsSharedRequest(packet: u64) -> u8 {
        u8::from(at(packet).is_some_and(|packet| super::is_shared_request(&Control::of(packet), packet)))
    }
    Full code FsRtlCurrentOplock(oplock: u64) -> u8 { is(oplock, super::is_held) }
    Full code FsRtlCurrentBatchOplock(oplock: u64) -> u8 { is(oplock, super::is_batch_held) }
    Full code FsRtlCurrentOplockH(oplock: u64) -> u8 { is(oplock, super::is_handle_held) }
    Full code FsRtlOplockKeysEqual(left: u64, right: u64) -> u8 { u8::from(super::are_keys_equal(at(left), at(right))) }
    Absent("waits of an oplock have no time limit here") missing FsRtlCheckOplockEx2;
    Absent("file systems in layers are not there") missing FsRtlUpperOplockFsctrl;
    Absent("file systems in layers are not there") missing FsRtlCheckUpperOplock;
}
