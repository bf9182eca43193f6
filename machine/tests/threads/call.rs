//! One request: its status block, offset, length and data in a block of its own.

use nt_abi::NtStatus;
use nt_cell::arena::UserBlock;
use nt_cell::{Addr, CodePtr};
use nt_io::lock::LockArguments;
use nt_io::rw::Arguments;
use nt_io::service::Caller;
use nt_io::{read, write};
use nt_ke::Frame;
use nt_ob::Handle;
use std::cell::Cell;

const DATA: u64 = 64;
/// No request ends with this status.
const UNTOUCHED: u32 = 0x7777_7777;

/// A request. It may outlive its handle; its block may not go before the request ends.
pub struct Call {
    pub block: UserBlock,
    pub handle: Handle,
    pub event: Handle,
    pub context: u64,
    apc: bool,
    length: u32,
}

impl Call {
    pub fn new(handle: Handle, offset: i64, bytes: &[u8]) -> Self {
        let block = UserBlock::new(DATA as usize + bytes.len().max(16)).expect("arena");
        let region = block.region();
        region.store::<u32>(0, UNTOUCHED).expect("block");
        region.store::<i64>(16, offset).expect("block");
        region.sub(DATA as usize, bytes.len()).write_from(bytes).expect("block");
        Self { block, handle, event: Handle::NULL, context: 0, apc: false, length: bytes.len() as u32 }
    }
    pub fn event(mut self, event: Handle) -> Self {
        self.event = event;
        self
    }
    pub fn context(mut self, context: u64) -> Self {
        self.context = context;
        self
    }
    pub fn apc(mut self) -> Self {
        self.apc = true;
        self
    }
    pub fn at(&self) -> u64 {
        self.block.addr()
    }
    fn arguments(&self) -> Arguments {
        let routine: extern "win64" fn(u64, u64, u64) = count;
        Arguments {
            handle: self.handle,
            event: self.event,
            apc_routine: self.apc.then(|| CodePtr::from(routine)),
            apc_context: self.context,
            iosb: Addr::user(self.at()),
            buffer: Addr::user(self.at() + DATA),
            length: self.length,
            byte_offset: Addr::user(self.at() + 16),
            key: Addr::NULL,
        }
    }
    pub fn write(&self, frame: &Frame) -> NtStatus {
        write::nt_write_file(frame, &self.arguments())
    }
    pub fn read(&self, frame: &Frame) -> NtStatus {
        read::nt_read_file(frame, &self.arguments())
    }
    /// Locks `length` bytes, waiting for them.
    pub fn lock(&self, frame: &Frame, length: i64) -> NtStatus {
        self.block.region().store::<i64>(24, length).expect("block");
        let args = LockArguments {
            caller: Caller {
                handle: self.handle,
                event: self.event,
                apc_routine: None,
                apc_context: self.context,
                iosb: Addr::user(self.at()),
            },
            byte_offset: Addr::user(self.at() + 16),
            length: Addr::user(self.at() + 24),
            key: 0,
            fail_immediately: false,
            exclusive: true,
        };
        nt_io::lock::nt_lock_file(frame, &args)
    }
    pub fn data(&self) -> Vec<u8> {
        self.block.region().sub(DATA as usize, self.length as usize).to_vec().expect("block")
    }
    /// The status block, `None` while it was not written.
    pub fn ended(&self) -> Option<(NtStatus, u64)> {
        let status = self.block.region().load::<u32>(0).expect("block");
        let information = self.block.region().load::<u64>(8).expect("block");
        (status != UNTOUCHED).then_some((NtStatus(status), information))
    }
}

thread_local! {
    static APCS: Cell<u64> = const { Cell::new(0) };
}

extern "win64" fn count(context: u64, iosb: u64, reserved: u64) {
    let status = Addr::user(iosb).region(16, false).ok().and_then(|block| block.load::<u32>(0).ok());
    assert!(status.is_some_and(|status| status != UNTOUCHED) && reserved == 0, "an APC before its status block");
    APCS.set(APCS.get() + context);
}

/// The sum of the contexts of the APCs that ran in this thread.
pub fn apcs() -> u64 {
    APCS.get()
}
