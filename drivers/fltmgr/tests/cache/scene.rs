//! A volume under one filter that records everything, and what a test looks at beside it: sizes, maps, the medium.

use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::flt::*;
use nt_abi::io::*;
use nt_abi::mm::{FSRTL_ADVANCED_FCB_HEADER, MDL, SECTION_OBJECT_POINTERS};
use nt_cc::{CacheMap, Manager, Policy};
use nt_cell::{Foreign, Region};
use nt_fltmgr::{CallbackData, PostOp, PreOp};
use nt_io::irp::IoStatus;
use nt_ke::Mutex;
use std::sync::Arc;

/// One callback.
#[derive(Clone, Debug)]
pub struct Event {
    /// U: the test's thread; S: a thread of the system process; O: another.
    pub thread: char,
    pub post: bool,
    pub major: u8,
    pub fast: bool,
    pub notice: bool,
    pub file: u64,
    pub offset: i64,
    pub length: u32,
    pub irp_flags: u32,
    pub stack_flags: u8,
    pub minor: u8,
    pub key: u32,
    pub from_user: bool,
    pub status: NtStatus,
    pub information: u64,
    pub irql: u8,
    pub top_level: u64,
    /// MdlFlags and virtual address of a transfer's MDL.
    pub mdl: Option<(u16, u64)>,
    pub buffer: u64,
    pub process: u64,
    /// EOF and VDL in the FCB header.
    pub sizes: (i64, i64),
    /// The bytes of a paging write, from its MDL.
    pub bytes: Vec<u8>,
}

type Hook = Arc<dyn Fn(&Event, CallbackData) -> Option<PreOp> + Send + Sync>;

#[derive(Default)]
pub struct Tape {
    pub events: Mutex<Vec<Event>>,
    names: Mutex<Vec<(u64, String)>>,
    hook: Mutex<Option<Hook>>,
    /// What paging writes are answered with below the filter.
    answer: Mutex<Option<NtStatus>>,
    user: Mutex<u64>,
}

pub struct Scene {
    pub tape: Arc<Tape>,
    pub world: World,
}

const MAJORS: &[u8] = &[
    IRP_MJ_CREATE,
    IRP_MJ_CLOSE,
    IRP_MJ_READ,
    IRP_MJ_WRITE,
    IRP_MJ_SET_INFORMATION,
    IRP_MJ_FLUSH_BUFFERS,
    IRP_MJ_CLEANUP,
    IRP_MJ_ACQUIRE_FOR_CC_FLUSH,
    IRP_MJ_RELEASE_FOR_CC_FLUSH,
    IRP_MJ_ACQUIRE_FOR_MOD_WRITE,
    IRP_MJ_RELEASE_FOR_MOD_WRITE,
    IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION,
    IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION,
];

pub fn header(file: Foreign<FILE_OBJECT>) -> Option<Foreign<FSRTL_ADVANCED_FCB_HEADER>> {
    file.ptr(FILE_OBJECT::FsContext).map(Foreign::view)
}

fn sizes_of(file: Foreign<FILE_OBJECT>) -> (i64, i64) {
    header(file).map_or((0, 0), |header| {
        (header.get(FSRTL_ADVANCED_FCB_HEADER::FileSize), header.get(FSRTL_ADVANCED_FCB_HEADER::ValidDataLength))
    })
}

impl Tape {
    fn event(&self, data: CallbackData, post: bool) -> Event {
        let frame = nt_ke::current();
        let process = nt_ps::current_process(&frame).id();
        let thread = match () {
            () if process == 4 => 'S',
            () if frame.thread.object() == *self.user.lock() => 'U',
            () => 'O',
        };
        let file = data.file();
        let transfer = matches!(data.major(), IRP_MJ_READ | IRP_MJ_WRITE);
        let mdl = data.iopb().ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress).filter(|_| transfer);
        let paging = data.irp_flags() & IRP_PAGING_IO != 0;
        let lent = mdl.filter(|_| paging && !post && data.major() == IRP_MJ_WRITE);
        let bytes = lent.and_then(|mdl| nt_mm::mdl::region(mdl).ok()?.to_vec().ok());
        let result = data.status();
        Event {
            thread,
            post,
            major: data.major(),
            fast: data.is_fast_io(),
            notice: data.flags() & FLTFL_CALLBACK_DATA_FS_FILTER_OPERATION != 0,
            file: file.map_or(0, Foreign::addr),
            offset: if transfer { data.offset() } else { 0 },
            length: if transfer { data.length() } else { 0 },
            irp_flags: data.irp_flags(),
            stack_flags: data.operation_flags(),
            minor: data.iopb().get(FLT_IO_PARAMETER_BLOCK::MinorFunction),
            key: if transfer { data.key() } else { 0 },
            from_user: data.from_user(),
            status: result.status,
            information: result.information,
            irql: nt_ke::irql::current(),
            top_level: frame.thread.top_level(),
            mdl: mdl.map(|mdl| (mdl.get(MDL::MdlFlags), nt_mm::mdl::virtual_address(mdl))),
            buffer: if transfer { data.iopb().addr_at(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer) } else { 0 },
            process,
            sizes: file.map_or((0, 0), sizes_of),
            bytes: bytes.unwrap_or_default(),
        }
    }

    pub fn line(&self, event: &Event) -> String {
        let names = self.names.lock();
        let file = names.iter().rev().find(|(address, _)| *address == event.file).map_or("?", |(_, name)| name);
        let name = match event.major {
            IRP_MJ_CREATE => "CREATE",
            IRP_MJ_CLOSE => "CLOSE",
            IRP_MJ_READ => "READ",
            IRP_MJ_WRITE => "WRITE",
            IRP_MJ_SET_INFORMATION => "SETINFO",
            IRP_MJ_FLUSH_BUFFERS => "FLUSH",
            IRP_MJ_CLEANUP => "CLEANUP",
            IRP_MJ_ACQUIRE_FOR_CC_FLUSH => "FB",
            IRP_MJ_RELEASE_FOR_CC_FLUSH => "FA",
            IRP_MJ_ACQUIRE_FOR_MOD_WRITE => "FD",
            IRP_MJ_RELEASE_FOR_MOD_WRITE => "FC",
            IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION => "FF",
            IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION => "FE",
            _ => "OTHER",
        };
        let transfer = matches!(event.major, IRP_MJ_READ | IRP_MJ_WRITE);
        let (thread, fast) = (event.thread, if event.fast { "FAST " } else { "" });
        if !event.post {
            return match (transfer, event.fast) {
                (true, true) => format!("{thread}> {fast}{name} {file} {:x}+{:x}", event.offset, event.length),
                (true, false) => {
                    format!("{thread}> {name} {file} {:x}+{:x} {:x}", event.offset, event.length, event.irp_flags)
                }
                _ => format!("{thread}> {name} {file}"),
            };
        }
        match event.status {
            status if status.is_error() || status == NtStatus::FLT_DISALLOW_FAST_IO => {
                format!("{thread}< {fast}{name} {file} {:X}", status.0)
            }
            _ if transfer => format!("{thread}< {fast}{name} {file} {:x}", event.information),
            _ => format!("{thread}< {name} {file}"),
        }
    }
}

impl Scene {
    /// A `ram` volume whose cached data waits for a call of the lazy writer.
    pub fn new() -> Self {
        Self::with(Policy::Behind)
    }

    pub fn with(policy: Policy) -> Self {
        let world = filtered();
        Manager::of(&world.kernel).set_policy(Some(policy));
        let tape = Arc::new(Tape::default());
        *tape.user.lock() = world.frame().thread.object();
        let (before, after) = (Arc::clone(&tape), Arc::clone(&tape));
        world.watch(Watch {
            pre: Box::new(move |data| {
                let event = before.event(data, false);
                before.events.lock().push(event.clone());
                let hook = before.hook.lock().clone();
                hook.and_then(|hook| hook(&event, data)).unwrap_or(PreOp::WithCallback(0))
            }),
            post: Box::new(move |data| {
                let event = after.event(data, true);
                after.events.lock().push(event);
                PostOp::Finished
            }),
            ..Watch::new("A", "400000", MAJORS)
        });
        let below = Arc::clone(&tape);
        world.watch(Watch {
            pre: Box::new(move |data| {
                let answer = below.answer.lock().filter(|_| data.irp_flags() & IRP_PAGING_IO != 0);
                answer.map_or(PreOp::NoCallback, |status| PreOp::Complete(IoStatus::new(status, 0)))
            }),
            ..Watch::new("Below", "100", &[IRP_MJ_WRITE])
        });
        Self { tape, world }
    }

    /// What the filter does from now on in its pre callbacks.
    pub fn on(&self, hook: impl Fn(&Event, CallbackData) -> Option<PreOp> + Send + Sync + 'static) {
        *self.tape.hook.lock() = Some(Arc::new(hook));
    }
    pub fn off(&self) {
        *self.tape.hook.lock() = None;
        *self.tape.answer.lock() = None;
    }
    /// Answers paging writes with a status, below the filter.
    pub fn fail_paging_writes(&self, status: NtStatus) {
        *self.tape.answer.lock() = Some(status);
    }

    /// Opens a file for reading and writing under a label that the traces show.
    pub fn open(&self, label: &str, name: &str, options: u32) -> File<'_> {
        let file = self.world.file(name, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE | 0x1_0000, SYNC | options);
        self.label(label, &file);
        file
    }
    pub fn label(&self, label: &str, file: &File<'_>) {
        self.tape.names.lock().push((file.object().addr(), label.to_owned()));
    }

    /// The trace since the last call.
    pub fn take(&self) -> Vec<String> {
        self.events().iter().map(|event| self.tape.line(event)).collect()
    }
    /// The same, in full.
    pub fn events(&self) -> Vec<Event> {
        self.world.kernel.drain();
        std::mem::take(&mut *self.tape.events.lock())
    }
    /// The paging writes since the last call, before they went down.
    pub fn paging_writes(&self) -> Vec<Event> {
        let wanted = |event: &Event| !event.post && event.major == IRP_MJ_WRITE && event.irp_flags & IRP_PAGING_IO != 0;
        self.events().into_iter().filter(wanted).collect()
    }

    pub fn manager(&self) -> &Manager {
        Manager::of(&self.world.kernel)
    }
    /// A round of the lazy writer.
    pub fn round(&self) {
        self.manager().write_all();
    }
    pub fn sizes(&self, file: &File<'_>) -> (i64, i64) {
        sizes_of(*file.object())
    }
    pub fn sections(&self, file: &File<'_>) -> Foreign<SECTION_OBJECT_POINTERS> {
        file.object().ptr(FILE_OBJECT::SectionObjectPointer).expect("a stream")
    }
    pub fn map(&self, file: &File<'_>) -> Option<Arc<CacheMap>> {
        nt_cc::map_of(self.sections(file))
    }
    /// Writes out and drops what the cache holds of a stream, so that it has to be read.
    pub fn forget(&self, file: &File<'_>) {
        let done = nt_cc::coherency_flush_and_purge(self.sections(file), 0, u64::MAX, false);
        assert_eq!(done.status, NtStatus::SUCCESS);
        self.events();
    }
    pub fn flush(&self, file: &File<'_>) -> NtStatus {
        let block = nt_cell::arena::UserBlock::new(16).expect("arena");
        nt_io::flush::nt_flush_buffers_file(&self.world.frame(), file.handle, nt_cell::Addr::user(block.addr()))
    }

    /// Sleeps for some milliseconds, as a thread of the machine does.
    pub fn sleep(&self, milliseconds: i64) {
        let _woken = nt_ke::wait::delay(&self.world.frame(), nt_ke::Mode::Kernel, false, -10_000 * milliseconds);
    }

    /// What the medium holds, past every filter and the cache.
    pub fn medium(&self, file: &File<'_>, offset: i64, length: usize) -> Vec<u8> {
        let file = *file.object();
        let block = pool_buffer(&vec![0xEE; length.next_multiple_of(4096)]);
        let region = Region::pool(block, length);
        let frame = self.world.frame();
        let device = self.world.volume.device;
        let packet = nt_io::irp::allocate(device.get(DEVICE_OBJECT::StackSize)).expect("a packet");
        packet.set(IRP::Flags, nt_io::paging::SYNCHRONOUS);
        packet.set_addr(IRP::UserBuffer, region.addr());
        packet.set_addr(IRP::Tail_Thread, frame.thread.object());
        packet.set_ptr(IRP::Tail_OriginalFileObject, Some(file));
        let stack = nt_io::irp::next(packet);
        stack.set(IO_STACK_LOCATION::MajorFunction, IRP_MJ_READ);
        stack.set_ptr(IO_STACK_LOCATION::FileObject, Some(file));
        stack.set(IO_STACK_LOCATION::Read_Length, length as u32);
        stack.set(IO_STACK_LOCATION::Read_ByteOffset, offset);
        let done = nt_io::file::send_for_result(&frame, packet, device);
        let bytes = region.sub(0, done.information as usize).to_vec().expect("own block");
        nt_ex::pool::free(block);
        bytes
    }
}

/// `count` bytes that tell where they belong.
pub fn pattern(start: usize, count: usize) -> Vec<u8> {
    (start..start + count).map(|at| (at % 251) as u8 + 1).collect()
}
