//! A read or write with everything that it needs in memory of its own, and APCs that note their arguments.

use super::*;

/// A call with its own status block, offset, key and data, aligned to a sector.
pub struct Call {
    pub args: Arguments,
    block: UserBlock,
    reads: bool,
}

/// Where the data starts in a call's block.
const DATA: u64 = 4096;

impl Call {
    pub(super) fn new(handle: Handle, bytes: &[u8], reads: bool) -> Self {
        let block = UserBlock::pages(DATA as usize + bytes.len().max(1).next_multiple_of(4096)).expect("arena");
        block.region().sub(DATA as usize, bytes.len()).write_from(bytes).expect("data");
        block.region().store::<i64>(16, 0).expect("block");
        block.region().store::<u32>(24, 0).expect("block");
        let args = Arguments {
            handle,
            event: Handle::NULL,
            apc_routine: None,
            apc_context: 0,
            iosb: Addr::user(block.addr()),
            buffer: Addr::user(block.addr() + DATA),
            length: bytes.len() as u32,
            byte_offset: Addr::user(block.addr() + 16),
            key: Addr::NULL,
        };
        fill_pattern(&block);
        Self { args, block, reads }
    }
    /// A write through a handle alone: for another thread.
    pub fn of(handle: Handle, bytes: &[u8]) -> Self {
        Self::new(handle, bytes, false)
    }
    pub fn offset(mut self, offset: Option<i64>) -> Self {
        match offset {
            Some(value) => self.block.region().store::<i64>(16, value).expect("block"),
            None => self.args.byte_offset = Addr::NULL,
        }
        self
    }
    pub fn key(mut self, key: u32) -> Self {
        self.block.region().store::<u32>(24, key).expect("block");
        self.args.key = Addr::user(self.block.addr() + 24);
        self
    }
    pub fn event(mut self, event: Handle) -> Self {
        self.args.event = event;
        self
    }
    pub fn context(mut self, context: u64) -> Self {
        self.args.apc_context = context;
        self
    }
    /// With an APC that notes its arguments ([`apcs`]).
    pub fn apc(mut self, context: u64) -> Self {
        self.args.apc_routine = Some(noting_apc());
        self.args.apc_context = context;
        self
    }
    pub fn block(&self) -> u64 {
        self.block.addr()
    }
    pub fn buffer(&self) -> Vec<u8> {
        self.block.region().sub(DATA as usize, self.args.length as usize).to_vec().expect("data")
    }
    /// Changes the protection of the page with the data.
    pub fn protect(&self, to: nt_cell::arena::Protection) {
        self.block.protect(DATA as usize, 4096, to).expect("pages");
    }
    pub fn make(&self) -> Done {
        self.make_in(&nt_ke::current())
    }
    pub fn make_in(&self, frame: &Frame) -> Done {
        fill_pattern(&self.block);
        let service = if self.reads { read::nt_read_file } else { write::nt_write_file };
        let returned = service(frame, &self.args);
        Done { returned, iosb: self.iosb() }
    }
    pub fn iosb(&self) -> Iosb {
        iosb_at(&self.block)
    }
}

/// An APC as it ran: its arguments, and the status block at that time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ran {
    pub context: u64,
    pub iosb: u64,
    pub reserved: u64,
    pub status: NtStatus,
    pub information: u64,
}

thread_local! {
    static RAN: RefCell<Vec<Ran>> = const { RefCell::new(Vec::new()) };
}

extern "win64" fn note(context: u64, iosb: u64, reserved: u64) {
    let block = Addr::user(iosb).region(16, false).ok();
    let status = block.and_then(|b| b.load::<u32>(0).ok()).map_or(NtStatus::SUCCESS, NtStatus);
    let information = block.and_then(|b| b.load::<u64>(8).ok()).unwrap_or(0);
    RAN.with_borrow_mut(|ran| ran.push(Ran { context, iosb, reserved, status, information }));
}

/// An APC routine that notes its arguments in the thread that it runs in.
pub fn noting_apc() -> CodePtr {
    let routine: extern "win64" fn(u64, u64, u64) = note;
    CodePtr::from(routine)
}

/// The APCs that ran in this thread since the last look.
pub fn apcs() -> Vec<Ran> {
    RAN.take()
}
