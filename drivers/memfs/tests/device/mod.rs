//! A device that records what arrives and answers as it is told: the bottom of a stack without a file system.
#![expect(dead_code, reason = "each test file uses its part")]

use super::support::{GENERIC_READ, GENERIC_WRITE, SYNCHRONIZE, World};
use nt_abi::NtStatus;
use nt_abi::io::{
    DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP, IRP_BUFFERED_IO, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE,
    IRP_MJ_READ, IRP_MJ_WRITE, IRP_PAGING_IO,
};
use nt_cell::{Foreign, Region};
use nt_ex::pool;
use nt_io::create::{self, CreateSpec};
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_io::irp::{self, IoStatus};
use nt_ke::Mutex;
use nt_ob::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request as the driver saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub major: u8,
    pub minor: u8,
    pub stack_flags: u8,
    pub irp_flags: u32,
    pub user: bool,
    pub length: u32,
    pub key: u32,
    pub offset: i64,
    pub system_buffer: u64,
    pub user_buffer: u64,
    pub mdl: u64,
    /// Of a create, after it: the file object's name and the Information.
    pub name_after: Option<String>,
    pub information_after: u64,
    /// The first eight bytes of the data, where the device's method puts them in kernel memory.
    pub head: Option<u64>,
}

pub struct Recorder {
    pub seen: Mutex<Vec<Seen>>,
    /// All but reads and writes.
    pub others: Mutex<Vec<Seen>>,
    /// What reads and writes are completed with; `None` is SUCCESS with the whole length.
    pub answer: Mutex<Option<IoStatus>>,
    /// What all others than create, cleanup and close are completed with.
    pub other_answer: Mutex<NtStatus>,
    /// Transfers are marked pending before they are completed.
    pub late: AtomicBool,
    /// Where requests go on to: the recorder stands on another device.
    below: Option<Device>,
}

impl NativeDriver for Recorder {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        let (packet, stack) = (irp.irp(), irp.stack());
        let major = stack.get(IO_STACK_LOCATION::MajorFunction);
        let length = stack.get(IO_STACK_LOCATION::Write_Length);
        let transfer = matches!(major, IRP_MJ_WRITE | IRP_MJ_READ);
        let seen = Seen {
            major,
            minor: stack.get(IO_STACK_LOCATION::MinorFunction),
            stack_flags: stack.get(IO_STACK_LOCATION::Flags),
            irp_flags: packet.get(IRP::Flags),
            user: irp.from_user(),
            length,
            key: stack.get(IO_STACK_LOCATION::Write_Key),
            offset: stack.get(IO_STACK_LOCATION::Write_ByteOffset),
            system_buffer: packet.addr_at(IRP::AssociatedIrp_SystemBuffer),
            user_buffer: packet.addr_at(IRP::UserBuffer),
            mdl: packet.addr_at(IRP::MdlAddress),
            ..Seen::default()
        };
        // What the cache sends below a caller's request is told apart.
        let paging = packet.get(IRP::Flags) & IRP_PAGING_IO != 0;
        if !transfer || paging {
            self.others.lock().push(seen);
        } else {
            let buffered = packet.get(IRP::Flags) & IRP_BUFFERED_IO != 0 && length >= 8;
            let head = buffered.then(|| packet.region_at(IRP::AssociatedIrp_SystemBuffer, 8).load::<u64>(0));
            self.seen.lock().push(Seen { head: head.and_then(Result::ok), ..seen });
        }
        if let Some(below) = self.below {
            if !matches!(major, IRP_MJ_CREATE | IRP_MJ_CLEANUP) {
                return irp.skip_to(below);
            }
            // The file system answers both at once: what it did to the file object can be seen when it returns.
            let file = irp.file();
            let iosb = packet.ptr(IRP::UserIosb);
            let answer = irp.skip_to(below);
            if let (Some(file), Some(iosb), Some(seen)) = (file, iosb, self.others.lock().last_mut()) {
                let units = nt_rtl::unicode::units(file.at(FILE_OBJECT::FileName)).unwrap_or_default();
                seen.name_after = Some(String::from_utf16_lossy(&units));
                seen.information_after = iosb.get(nt_abi::io::IO_STATUS_BLOCK::Information);
            }
            return answer;
        }
        let whole = IoStatus::new(NtStatus::SUCCESS, if transfer { u64::from(length) } else { 0 });
        let result = match major {
            _ if transfer => self.answer.lock().unwrap_or(whole),
            IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE => whole,
            _ => IoStatus::new(*self.other_answer.lock(), 0),
        };
        if transfer && self.late.load(Ordering::Relaxed) {
            let (pended, answer) = irp.pend();
            pended.complete(result.status, result.information);
            return answer;
        }
        irp.complete(result.status, result.information)
    }
}

impl Recorder {
    pub fn last(&self) -> Seen {
        self.seen.lock().last().cloned().expect("a request arrived")
    }
    pub fn count(&self) -> usize {
        self.seen.lock().len()
    }
    /// The requests of a major other than read and write.
    pub fn of(&self, major: u8) -> Vec<Seen> {
        self.others.lock().iter().filter(|seen| seen.major == major).cloned().collect()
    }
    pub fn answers(&self, status: NtStatus, information: u64) {
        *self.answer.lock() = Some(IoStatus::new(status, information));
    }
    pub fn answers_others(&self, status: NtStatus) {
        *self.other_answer.lock() = status;
    }
    pub fn pends(&self) {
        self.late.store(true, Ordering::Relaxed);
    }
    fn new(below: Option<Device>) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::default(),
            others: Mutex::default(),
            answer: Mutex::default(),
            other_answer: Mutex::default(),
            late: AtomicBool::new(false),
            below,
        })
    }
}

/// Makes `\Device\NAME` with these device flags.
pub fn stand_alone(world: &World, name: &str, flags: u32) -> Arc<Recorder> {
    let recorder = Recorder::new(None);
    let made = driver::create_native(&world.kernel, &format!("\\Driver\\{name}"), recorder.clone()).expect("driver");
    let path = format!("\\Device\\{name}");
    let spec = DeviceSpec { name: Some(&path), kind: 0x22, ..DeviceSpec::default() };
    let device = device::create(&world.kernel, made.body(), &spec).expect("device").body();
    device.or32(DEVICE_OBJECT::Flags, flags);
    device::ready(device);
    recorder
}

/// Puts a recorder on top of the world's volume: it sees what the file system gets.
pub fn over_the_volume(world: &World) -> Arc<Recorder> {
    let below = world.volume.device;
    let recorder = Recorder::new(Some(below));
    let made = driver::create_native(&world.kernel, "\\Driver\\Over", recorder.clone()).expect("driver");
    let spec = DeviceSpec { kind: 8, ..DeviceSpec::default() };
    let top = device::create(&world.kernel, made.body(), &spec).expect("device").body();
    assert_eq!(device::attach(top, below), Ok(below));
    device::ready(top);
    recorder
}

/// Opens `\Device\NAME`.
pub fn open(world: &World, name: &str, options: u32) -> Handle {
    let spec = CreateSpec {
        access: GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
        name: format!("\\Device\\{name}").encode_utf16().collect(),
        options,
        ..CreateSpec::default()
    };
    create::nt_create_file(&world.frame(), &spec).expect("open").0
}

/// The file object of a handle.
pub fn file_object(world: &World, handle: Handle) -> Foreign<FILE_OBJECT> {
    let kind = nt_ob::types::ObjectType::File;
    let found = nt_io::event::reference(&world.frame(), handle, kind, 0, nt_ke::Mode::Kernel).expect("a file");
    found.0.body().view()
}

/// Sends a write that kernel code made itself: kernel memory, no handle, no rights; {status, Information}.
pub fn send_write(
    world: &World,
    opened: Foreign<FILE_OBJECT>,
    flags: u32,
    offset: i64,
    bytes: &[u8],
) -> (NtStatus, u64) {
    if let Some(sections) = opened.ptr(FILE_OBJECT::SectionObjectPointer).filter(|_| flags & IRP_PAGING_IO != 0) {
        // A view's page is a page of the cache; this one comes from neither, so the cache must hold none.
        let gone = nt_cc::coherency_flush_and_purge(sections, 0, u64::MAX, false);
        assert_eq!(gone.status, NtStatus::SUCCESS);
    }
    let top = device::related(opened).expect("a device");
    let block = pool::allocate(bytes.len(), pool::tag(b"Test"), pool::PoolKind::NonPaged).expect("pool");
    let region = Region::pool(block, bytes.len());
    region.write_from(bytes).expect("pool");
    let packet = irp::allocate(top.get(DEVICE_OBJECT::StackSize)).expect("a packet");
    packet.set(IRP::Flags, flags);
    packet.set_addr(IRP::UserBuffer, region.addr());
    packet.set_addr(IRP::Tail_Thread, world.frame().thread.object());
    packet.set_ptr(IRP::Tail_OriginalFileObject, Some(opened));
    let stack = irp::next(packet);
    stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_WRITE);
    stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(opened));
    stack.set(IO_STACK_LOCATION::Write_Length, bytes.len() as u32);
    stack.set(IO_STACK_LOCATION::Write_ByteOffset, offset);
    let result = nt_io::file::send_for_result(&world.frame(), packet, top);
    pool::free(block);
    (result.status, result.information)
}
