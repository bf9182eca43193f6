//! Oplocks of the volume's streams: what is granted, and who waits for a break.
//!
//! Room: drivers/memfs. Called by: dispatch, `create`, `fileinfo`, `naming`, `cleanup`, `write`. Calls: `nt_fsrtl::oplock`.
//! IRQL: PASSIVE_LEVEL. Locks: the tree and the node's main lock while one is granted; none while anybody waits.
//! Source: "Granting Oplocks", "Breaking Oplocks", fastfat's order of checks; rules NT-OPL-01 to NT-OPL-12, NT-L-12, NT-REN-24.
//! The OPLOCK is the one in the advanced header (FSRTL_FCB_HEADER_V2). What works with names looks without waiting while it holds
//! the tree ([`Turn`]), lets go of the tree, waits, and begins anew.

use crate::node::{FCB, Node, Open, Volume, open_of};
use crate::{MemFs, deferred, lock};
use nt_abi::io::*;
use nt_abi::mm::FSRTL_ADVANCED_FCB_HEADER;
use nt_abi::{Field, NtResult, NtStatus};
use nt_cell::Foreign;
use nt_fsrtl::filelock;
use nt_fsrtl::oplock::{
    self, Act, Control, Kind, OPLOCK, OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, OPLOCK_FSCTRL_FLAG_ALL_KEYS_MATCH, Operation,
    Oplock, Owner, Request, Subject, Then,
};
use nt_io::complete;
use nt_io::device::Device;
use nt_io::driver::{Answer, OwnedIrp};
use nt_io::irp::{self, Irp};
use nt_ke::work::WorkQueue;
use nt_trace::rule;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

const CELL: Field<FSRTL_ADVANCED_FCB_HEADER, OPLOCK> = Field::at(FSRTL_ADVANCED_FCB_HEADER::Oplock.offset());

fn of_fcb(fcb: Foreign<FCB>) -> Oplock {
    fcb.at(FCB::Header).at(CELL)
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Requests that end with this thread's operation, once its locks are gone.
    static ENDED: RefCell<Vec<Irp>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, requests that are to end are kept: it is made before the tree is locked, and goes after.
pub(crate) struct Kept(());

impl Kept {
    pub(crate) fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            ENDED.with_borrow_mut(std::mem::take).into_iter().for_each(complete::complete_request);
        }
    }
}

fn end(packet: Irp) {
    if DEPTH.get() == 0 {
        complete::complete_request(packet);
    } else {
        ENDED.with_borrow_mut(|all| all.push(packet));
    }
}

impl Node {
    /// The oplock of the stream.
    pub(crate) fn oplock(&self) -> Oplock {
        of_fcb(self.fcb)
    }
}

/// The stream that a packet is about, if its oplock is anybody's.
fn contested(irp: &OwnedIrp) -> Option<Oplock> {
    let file = irp.file()?;
    let oplock = of_fcb(file.ptr(FILE_OBJECT::FsContext)?.view());
    if oplock::is_quiet(oplock) || file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN != 0 {
        return None;
    }
    Some(oplock)
}

/// Breaks what the packet's operation breaks (NT-OPL-10), before anything is locked or looked at. A packet whose issuer does not
/// wait for it is answered PENDING, and comes again by a worker.
pub(crate) fn pass(device: Device, irp: OwnedIrp) -> Result<OwnedIrp, Answer> {
    match contested(&irp) {
        None => Ok(irp),
        Some(oplock) => pass_contested(device, irp, oplock),
    }
}

#[cold]
fn pass_contested(device: Device, irp: OwnedIrp, oplock: Oplock) -> Result<OwnedIrp, Answer> {
    let Some(subject) = Subject::of(irp.irp()) else { return Ok(irp) };
    let stack = irp.stack();
    let waits = nt_io::file::is_waited_for(subject.irp)
        || stack.get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_SET_INFORMATION;
    rule!(NT_L_12);
    if waits {
        let status = oplock::check(oplock, &subject, 0, Then::Wait);
        retell(&irp);
        return if status.is_error() { Err(irp.complete(status, 0)) } else { Ok(irp) };
    }
    let length = match stack.get(IO_STACK_LOCATION::MajorFunction) {
        IRP_MJ_READ | IRP_MJ_WRITE => stack.get(IO_STACK_LOCATION::Write_Length),
        _ => 0,
    };
    let lent = match deferred::lend(&irp, length) {
        Ok(lent) => lent,
        Err(error) => return Err(irp.complete(error.status(), 0)),
    };
    let again = move |packet: Irp| {
        if irp::status(packet).status.is_error() {
            let _ended = OwnedIrp::arrived(packet).complete(NtStatus::CANCELLED, 0);
            return;
        }
        WorkQueue::queue(&nt_ke::current().kernel, move || {
            let _lent = lent;
            let _answered = MemFs::again(device, OwnedIrp::arrived(packet));
        });
    };
    let status = oplock::check(oplock, &subject, 0, Then::Post { before: Box::new(|| {}), after: Box::new(again) });
    retell(&irp);
    if status == NtStatus::PENDING { Err(irp.leave(status).1) } else { Ok(irp) }
}

fn retell(irp: &OwnedIrp) {
    if let Some(Ok(open)) = irp.file().map(open_of) {
        lock::tell(&open.node);
    }
}

/// Under the main lock: has somebody got an oplock since the write passed, that it has to break first?
pub(crate) fn may_write(node: &Node, irp: &OwnedIrp) -> NtResult<()> {
    if oplock::is_quiet(node.oplock()) {
        return Ok(());
    }
    match Subject::of(irp.irp()) {
        Some(subject) if oplock::would_break(node.oplock(), &subject.act) => NtStatus::RETRY.fail(),
        _ => Ok(()),
    }
}

/// A name in the directory came, went or changed through this file object: who caches its listing is told, but for the owner of
/// the directory's key.
pub(crate) fn children(directory: &Node, by: Foreign<FILE_OBJECT>) {
    if !oplock::is_quiet(directory.oplock()) {
        oplock::tell(directory.oplock(), &Act { owner: Owner::of_child(by), operation: Operation::Children });
    }
}

/// The last handle of a file object is gone, and what it held with it (NT-OPL-11).
pub(crate) fn cleanup(node: &Node, file: Foreign<FILE_OBJECT>) {
    if !oplock::is_quiet(node.oplock()) {
        oplock::cleanup(node.oplock(), file.addr());
        lock::tell(node);
    }
}

/// FSCTL_REQUEST_OPLOCK and kin (NT-OPL-01 to NT-OPL-04).
pub(crate) fn control(volume: &Volume, irp: OwnedIrp) -> Answer {
    let open = match irp.file().map(open_of) {
        Some(Ok(open)) if irp.file().is_none_or(|file| file.get(FILE_OBJECT::Flags) & FO_VOLUME_OPEN == 0) => open,
        Some(Err(error)) => return irp.complete(error.status(), 0),
        _ => return irp.complete(NtStatus::INVALID_PARAMETER, 0),
    };
    let (packet, node) = (irp.irp(), &open.node);
    let wanted = Control::of(packet);
    let kind = wanted.requests(packet);
    if let Some(kind) = kind
        && node.is_directory()
        && !kind.is_for_directories()
    {
        rule!(NT_OPL_03);
        return irp.complete(NtStatus::INVALID_PARAMETER, 0);
    }
    let status = {
        // Opens and transfers stand still: what was let through before is over.
        let _kept = Kept::begin();
        let _tree = volume.tree.lock();
        let _main = match kind.is_some().then(|| node.main.exclusive()).transpose() {
            Ok(main) => main,
            Err(error) => return irp.complete(error.status(), 0),
        };
        let (opens, flags) = match kind {
            Some(kind) if oplock::is_shared_request(&wanted, packet) => {
                // Read and read-handle: what is stored through a view breaks nothing.
                let stored = kind != Kind::Two && nt_cc::user_writable_references(node.sections()) != 0;
                (u32::from(stored || filelock::any(node.lock())), 0)
            }
            Some(_) => {
                let sharing = node.sharing.lock();
                let same = if sharing.have_one_key() { OPLOCK_FSCTRL_FLAG_ALL_KEYS_MATCH } else { 0 };
                (sharing.handles, same)
            }
            None => (0, 0),
        };
        let request = Request::ending(irp.into_irp(), Box::new(end));
        let status = oplock::control(node.oplock(), request, &wanted, opens, flags);
        lock::tell(node);
        status
    };
    if status == NtStatus::PENDING && kind.is_some() {
        volume.note_oplocked(&open);
    }
    OwnedIrp::answered(status)
}

/// A create, rename or delete on its way: what it has to wait for, once the tree is free again.
pub(crate) struct Turn {
    packet: Irp,
    /// COMPLETE_IF_OPLOCKED: it does not wait.
    goes_on: bool,
    /// A break is not acknowledged yet.
    underway: Cell<bool>,
    awaited: RefCell<Option<(Arc<Node>, Operation)>>,
}

impl Turn {
    pub(crate) fn new(irp: &OwnedIrp) -> Self {
        let stack = irp.stack();
        let create = stack.get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_CREATE;
        let goes_on = create && stack.get(IO_STACK_LOCATION::Create_Options) & FILE_COMPLETE_IF_OPLOCKED != 0;
        Self { packet: irp.irp(), goes_on, underway: Cell::new(false), awaited: RefCell::default() }
    }

    /// Is a break under way that the create did not wait for?
    pub(crate) fn is_underway(&self) -> bool {
        self.underway.get()
    }

    /// Breaks; RETRY when the operation has to wait first.
    pub(crate) fn meet(&self, node: &Arc<Node>, operation: Operation) -> NtResult<()> {
        let oplock = node.oplock();
        if oplock::is_quiet(oplock) {
            return Ok(());
        }
        let subject = Subject::doing(self.packet, operation);
        let status = oplock::check(oplock, &subject, OPLOCK_FLAG_COMPLETE_IF_OPLOCKED, Then::Wait);
        lock::tell(node);
        status.ok()?; // NT-OPL-05: a create that requires an oplock and would break one
        if status != NtStatus::OPLOCK_BREAK_IN_PROGRESS {
            return Ok(());
        }
        if self.goes_on {
            self.underway.set(true);
            return Ok(());
        }
        *self.awaited.borrow_mut() = Some((Arc::clone(node), operation));
        NtStatus::RETRY.fail()
    }

    /// Waits for what [`Turn::meet`] met, without the tree; `false`: there was nothing, the operation is at its end.
    pub(crate) fn wait(&self) -> NtResult<bool> {
        let Some((node, operation)) = self.awaited.take() else { return Ok(false) };
        oplock::check(node.oplock(), &Subject::doing(self.packet, operation), 0, Then::Wait).ok()?;
        lock::tell(&node);
        Ok(true)
    }

    /// The oplocks that keep a file open whose name is in the way (NT-REN-24).
    pub(crate) fn free_name(&self, node: &Arc<Node>) -> NtResult<()> {
        self.meet(node, Operation::Name)
    }
}

impl Volume {
    /// Notes an open that holds an oplock, for what looks for those beneath a directory.
    fn note_oplocked(&self, open: &Arc<Open>) {
        let mut all = self.oplocked.lock();
        all.retain(|each| each.upgrade().is_some_and(|each| !oplock::is_quiet(each.node.oplock())));
        all.push(Arc::downgrade(open));
    }

    /// The opens that may hold one.
    pub(crate) fn oplocked(&self) -> Vec<Arc<Open>> {
        self.oplocked.lock().iter().filter_map(Weak::upgrade).collect()
    }
}
