//! A built-in device with a filter open, pins in any state, and requests of a user process on them.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::support::{Iosb, PATTERN, SYNC, World, fill_pattern, iosb_at, pattern_block};
use nt_abi::NtStatus;
use nt_abi::ks::*;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::control::{self, ControlArguments};
use nt_io::create::{self, CreateSpec};
use nt_io::event;
use nt_io::service::Caller;
use nt_ke::Mutex;
use nt_ks::connect;
use nt_ks::device::BuiltIn;
use nt_ks::sink::Sink;
use nt_ob::Handle;
use std::io::Write;
use std::sync::Arc;

type OnFrame = Box<dyn Fn(&[u8]) + Send>;

#[derive(Clone, Default)]
struct Taken {
    bytes: Arc<Mutex<Vec<u8>>>,
    on_frame: Arc<Mutex<Option<OnFrame>>>,
}

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.lock().extend(bytes);
        if let Some(body) = &*self.on_frame.lock() {
            body(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub struct Pins {
    taken: Taken,
    pub filter: Handle,
    _device: BuiltIn,
    pub world: World,
}

/// What a call returned, and what the status block held in the end.
pub type Said = (NtStatus, (NtStatus, u64));

/// NtDeviceIoControlFile by a user process, waited for.
pub fn device_control(world: &World, handle: Handle, code: u32, input: (Addr, u32), output: (Addr, u32)) -> Said {
    let block = pattern_block();
    let status = begin(world, handle, code, input, output, &block);
    if status == NtStatus::PENDING {
        event::wait_for(&world.frame(), handle, false, None).expect("wait");
    }
    let result = match iosb_at(&block) {
        Iosb::Is(status, information) => (status, information),
        Iosb::Untouched => (NtStatus(PATTERN as u32), PATTERN),
    };
    (status, result)
}

fn begin(
    world: &World,
    handle: Handle,
    code: u32,
    input: (Addr, u32),
    output: (Addr, u32),
    block: &UserBlock,
) -> NtStatus {
    let arguments = ControlArguments {
        caller: Caller::plain(handle, Addr::user(block.addr())),
        code,
        input,
        output,
        file_system: false,
    };
    control::nt_control_file(&world.frame(), &arguments)
}

impl Pins {
    pub fn new(sink: Sink) -> Self {
        Self::with(sink, Taken::default())
    }

    /// Keeps what its pins take.
    pub fn recording() -> Self {
        let taken = Taken::default();
        Self::with(Sink::writer(taken.clone()), taken)
    }

    fn with(sink: Sink, taken: Taken) -> Self {
        let world = World::new();
        let device = BuiltIn::install(&world.kernel, "test", sink).expect("device");
        let spec = CreateSpec {
            access: 0x0012_019F,
            name: "\\??\\NtioKs.test".encode_utf16().collect(),
            options: SYNC,
            disposition: 1,
            ..CreateSpec::default()
        };
        let (filter, _) = create::nt_create_file(&world.frame(), &spec).expect("filter");
        Self { taken, filter, _device: device, world }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.taken.bytes.lock().clone()
    }
    pub fn on_frame(&self, body: impl Fn(&[u8]) + Send + 'static) {
        *self.taken.on_frame.lock() = Some(Box::new(body));
    }

    pub fn open(&self, id: u32, access: u32, options: u32) -> Handle {
        let name = connect::pin_name(&connect::client_connect(id), &connect::stream_format());
        let spec = CreateSpec { access, root: self.filter, name, options, ..CreateSpec::default() };
        create::nt_create_file(&self.world.frame(), &spec).expect("pin").0
    }

    /// A pin in the state of running.
    pub fn running(&self, id: u32, options: u32) -> Handle {
        let pin = self.open(id, 0xC010_0000, options);
        self.state(pin, KSSTATE_RUN);
        pin
    }

    pub fn control(&self, handle: Handle, code: u32, input: (Addr, u32), output: (Addr, u32)) -> Said {
        device_control(&self.world, handle, code, input, output)
    }

    /// A stream request with a status block of the caller's; not waited for.
    pub fn start(&self, handle: Handle, code: u32, list: (Addr, u32), block: &UserBlock) -> NtStatus {
        fill_pattern(block);
        begin(&self.world, handle, code, (Addr::NULL, 0), list, block)
    }

    fn property(&self, handle: Handle, id: u32, flags: u32, value: (Addr, u32)) -> Said {
        let request = UserBlock::new(24).expect("arena");
        let region = request.region().sub(0, 24);
        region.sub(0, 16).write_from(&KSPROPSETID_Connection.to_bytes()).expect("block");
        region.store::<u32>(16, id).expect("block");
        region.store::<u32>(20, flags).expect("block");
        self.control(handle, IOCTL_KS_PROPERTY, (Addr::user(request.addr()), 24), value)
    }

    pub fn state(&self, handle: Handle, state: u32) {
        assert_eq!(self.state_of(handle, state), NtStatus::SUCCESS);
    }
    pub fn state_of(&self, handle: Handle, state: u32) -> NtStatus {
        let value = UserBlock::new(4).expect("arena");
        value.region().store::<u32>(0, state).expect("block");
        self.property(handle, KSPROPERTY_CONNECTION_STATE, KSPROPERTY_TYPE_SET, (Addr::user(value.addr()), 4)).0
    }

    pub fn format(&self, handle: Handle) -> Vec<u8> {
        let value = UserBlock::new(64).expect("arena");
        let named = (Addr::user(value.addr()), 64);
        let (status, _) = self.property(handle, KSPROPERTY_CONNECTION_DATAFORMAT, KSPROPERTY_TYPE_GET, named);
        assert_eq!(status, NtStatus::SUCCESS);
        value.region().sub(0, 64).to_vec().expect("block")
    }

    pub fn reset(&self, handle: Handle, value: u32) -> NtStatus {
        let block = UserBlock::new(4).expect("arena");
        block.region().store::<u32>(0, value).expect("block");
        self.control(handle, IOCTL_KS_RESET_STATE, (Addr::user(block.addr()), 4), (Addr::NULL, 0)).0
    }
}
