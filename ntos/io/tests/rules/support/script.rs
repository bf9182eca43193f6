//! The driver that does what a test tells it, and notes what it met.

use super::*;

/// What the driver does with a read, write or control request.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// Completes it at once: marked pending or not, with a final result, and returns a status of its own.
    Now { pend: bool, last: NtStatus, information: u64, returned: NtStatus },
    /// Marks it pending and keeps it.
    Hold { cancelable: bool },
}

/// A request as the driver met it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub major: u8,
    pub offset: i64,
    pub length: u32,
    pub key: u32,
    pub stack_flags: u8,
    pub flags: u32,
    pub mode: u8,
    pub user_buffer: u64,
    pub system_buffer: u64,
    pub mdl: u64,
    pub file_event: bool,
    pub irql: u8,
    pub apcs_disabled: bool,
    pub thread: u64,
    pub irp: u64,
    pub file: u64,
}

/// A fast I/O call as the driver met it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FastSeen {
    pub offset: i64,
    pub length: u32,
    pub wait: bool,
    pub key: u32,
    pub buffer: u64,
}

struct State {
    plan: Plan,
    fast: Option<IoStatus>,
    seen: Vec<Seen>,
    fast_seen: Vec<FastSeen>,
    held: Vec<PendedIrp>,
    cancelled: usize,
}

impl Default for State {
    fn default() -> Self {
        let plan = Plan::Now { pend: false, last: NtStatus::SUCCESS, information: 0, returned: NtStatus::SUCCESS };
        Self { plan, fast: None, seen: Vec::new(), fast_seen: Vec::new(), held: Vec::new(), cancelled: 0 }
    }
}

type Probe = Box<dyn Fn(&OwnedIrp) + Send>;

/// The driver.
#[derive(Default)]
pub struct Script {
    state: Mutex<State>,
    probe: Mutex<Option<Probe>>,
}

impl Script {
    pub fn plan(&self, plan: Plan) {
        self.state.lock().plan = plan;
    }
    /// Completes at once, not pended, with what it returns.
    pub fn answers(&self, status: NtStatus, information: u64) {
        self.plan(Plan::Now { pend: false, last: status, information, returned: status });
    }
    /// Looks at each request as it arrives.
    pub fn look(&self, probe: impl Fn(&OwnedIrp) + Send + 'static) {
        *self.probe.lock() = Some(Box::new(probe));
    }
    pub fn fast(&self, result: Option<IoStatus>) {
        self.state.lock().fast = result;
    }
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().seen)
    }
    pub fn fast_seen(&self) -> Vec<FastSeen> {
        std::mem::take(&mut self.state.lock().fast_seen)
    }
    pub fn held(&self) -> usize {
        self.state.lock().held.len()
    }
    /// How many requests the cancel routine ended.
    pub fn cancelled(&self) -> usize {
        self.state.lock().cancelled
    }
    /// Forgets what was seen and counted.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.seen.clear();
        state.cancelled = 0;
    }
    pub(super) fn take(&self, packet: Option<Foreign<IRP>>) -> Option<PendedIrp> {
        let mut state = self.state.lock();
        let at = state.held.iter().position(|held| packet.is_none_or(|packet| held.irp() == packet))?;
        Some(state.held.remove(at))
    }
    /// Completes the request that was kept longest.
    pub fn finish(&self, status: NtStatus, information: u64) {
        let held = self.take(None).expect("a request is held");
        held.irp().swap_code(IRP::CancelRoutine, None);
        held.complete(status, information);
    }
}

pub(super) static SCRIPTS: Mutex<Vec<(u64, Arc<Script>)>> = nt_ke::lock::Mutex::new(Vec::new());

extern "win64" fn cancel_routine(device: u64, packet: u64) {
    let packet = Foreign::<IRP>::of_table(packet);
    nt_io::cancelable::release_cancel_lock(packet.get(IRP::CancelIrql));
    let script = SCRIPTS.lock().iter().find(|(at, _)| *at == device).map(|(_, script)| Arc::clone(script));
    let Some(script) = script else { return };
    if let Some(held) = script.take(Some(packet)) {
        script.state.lock().cancelled += 1;
        held.complete(NtStatus::CANCELLED, 0);
    }
}

impl NativeDriver for Script {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        let stack = irp.stack();
        let major = stack.get(IO_STACK_LOCATION::MajorFunction);
        if ![IRP_MJ_READ, IRP_MJ_WRITE, IRP_MJ_DEVICE_CONTROL].contains(&major) {
            return irp.complete(NtStatus::SUCCESS, 0);
        }
        let packet = irp.irp();
        let file = irp.file();
        if let Some(probe) = &*self.probe.lock() {
            probe(&irp);
        }
        let mut state = self.state.lock();
        state.seen.push(Seen {
            major,
            offset: stack.get(IO_STACK_LOCATION::Write_ByteOffset),
            length: stack.get(IO_STACK_LOCATION::Write_Length),
            key: stack.get(IO_STACK_LOCATION::Write_Key),
            stack_flags: stack.get(IO_STACK_LOCATION::Flags),
            flags: packet.get(IRP::Flags),
            mode: packet.get(IRP::RequestorMode),
            user_buffer: packet.addr_at(IRP::UserBuffer),
            system_buffer: packet.addr_at(IRP::AssociatedIrp_SystemBuffer),
            mdl: packet.addr_at(IRP::MdlAddress),
            file_event: file.is_some_and(|file| dispatcher::read_state(file.at(FILE_OBJECT::Event))),
            irql: nt_ke::irql::current(),
            apcs_disabled: nt_ke::current().thread.apcs_disabled(),
            thread: packet.addr_at(IRP::Tail_Thread),
            irp: packet.addr(),
            file: file.map_or(0, Foreign::addr),
        });
        match state.plan {
            Plan::Now { pend, last, information, returned } => {
                drop(state);
                if pend {
                    irp::mark_pending(packet);
                }
                let _ = irp.complete(last, information);
                OwnedIrp::answered(returned)
            }
            Plan::Hold { cancelable } => {
                if cancelable {
                    let routine: extern "win64" fn(u64, u64) = cancel_routine;
                    packet.set_code(IRP::CancelRoutine, Some(CodePtr::from(routine)));
                }
                let (held, answer) = irp.pend();
                state.held.push(held);
                answer
            }
        }
    }
    fn fast_write(&self, call: &FastCall) -> Option<IoStatus> {
        let mut state = self.state.lock();
        state.fast_seen.push(FastSeen {
            offset: call.offset,
            length: call.length,
            wait: call.wait,
            key: call.key,
            buffer: call.buffer.addr(),
        });
        state.fast
    }
    fn fast_read(&self, call: &FastCall) -> Option<IoStatus> {
        self.fast_write(call)
    }
    fn has_fast_io(&self) -> bool {
        true
    }
}
