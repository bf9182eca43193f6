//! Kernel-mode callers written in Rust: the five calls as a driver makes them.
//!
//! Room: machine. Called by: embedding programs, the `ntio` crate, benches. Calls: `nt_io`, `nt_fltmgr`, `nt_ks`, with
//! PreviousMode = KernelMode, in a thread of the system process. IRQL: PASSIVE_LEVEL. Locks: none.
//! Data is copied into nonpaged pool, where a driver would have it; each call waits for the end of its request.

use crate::Machine;
use nt_abi::io::FILE_OBJECT;
use nt_abi::ke::{DISPATCHER_HEADER, KEVENT};
use nt_abi::ks::{
    IOCTL_KS_PROPERTY, IOCTL_KS_READ_STREAM, IOCTL_KS_WRITE_STREAM, KSIDENTIFIER, KSPROPERTY_CONNECTION_STATE,
    KSPROPERTY_TYPE_SET, KSPROPSETID_Connection, KSSTREAM_READ, KSSTREAM_WRITE,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Addr, Foreign};
use nt_ex::pool::{self, Scratch};
use nt_fltmgr::generated::{self, Transfer as FltTransfer};
use nt_fltmgr::{FltMgr, Instance};
use nt_io::create::CreateSpec;
use nt_io::event::{self, LocalEvent};
use nt_io::rw::{Arguments, Direction};
use nt_ke::{Frame, Kernel, Mode, Thread};
use nt_ks::clientio::{self, Transfer};
use nt_ks::connect;
use nt_ks::frames::FrameList;
use nt_ks::streamio::{self, ControlRequest, StreamRequest};
use nt_ob::access::{GENERIC_READ, GENERIC_WRITE};
use nt_ob::types::ObjectType;
use nt_ob::{Handle, ObjectRef};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

/// A thread of the system process that runs kernel code; it runs on one host thread at a time.
#[derive(Clone, Debug)]
pub struct KernelClient {
    kernel: Arc<Kernel>,
    thread: Arc<Thread>,
    one_host_thread: PhantomData<Cell<()>>,
}

/// A copy of bytes for one call, and their length.
fn block(bytes: &[u8]) -> NtResult<(Scratch, u32)> {
    let length = u32::try_from(bytes.len()).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    Ok((Scratch::of(bytes, pool::tag(b"KCli"))?, length))
}

fn local_event() -> NtResult<LocalEvent> {
    LocalEvent::new().ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())
}

/// Returns what a call came to, once `event` says that a pending one has ended.
fn settle(frame: &Frame, status: NtStatus, event: Foreign<KEVENT>, block: &LocalEvent) -> NtResult<u64> {
    if status.is_error() {
        return status.fail();
    }
    if status == NtStatus::PENDING {
        let header = event.at(KEVENT::Header).view::<DISPATCHER_HEADER>();
        let waited = nt_ke::wait::wait_for_single(frame, header, Mode::Kernel, false, None);
        if waited.is_error() {
            return waited.fail();
        }
    }
    let result = block.result();
    if result.status.is_error() { result.status.fail() } else { Ok(result.information) }
}

impl Machine {
    /// Makes a thread of the system process for kernel code written in Rust.
    pub fn kernel_client(&self) -> NtResult<KernelClient> {
        let thread = self.processes().create_thread(self.kernel(), self.processes().system())?;
        Ok(KernelClient { kernel: Arc::clone(self.kernel()), thread, one_host_thread: PhantomData })
    }

    /// Finds a filter's instance on a volume (0 is `C:`): what FltWriteFile starts below.
    pub fn instance(&self, filter: &str, volume: usize) -> NtResult<Arc<Instance>> {
        let manager = FltMgr::of(self.kernel())?;
        let volumes = manager.volumes();
        let volume = volumes.get(volume).ok_or(NtStatus::FLT_VOLUME_NOT_FOUND.error())?;
        let instances = volume.instances();
        let found = instances.iter().find(|each| each.filter().name().eq_ignore_ascii_case(filter));
        found.cloned().ok_or(NtStatus::FLT_INSTANCE_NOT_FOUND.error())
    }
}

impl KernelClient {
    /// Runs `body` in the machine as this thread, in kernel mode: for routines that have no method here.
    pub fn call<R>(&self, body: impl FnOnce(&Frame) -> R) -> R {
        let entered = nt_ke::enter(&self.kernel, &self.thread, Mode::Kernel);
        body(entered.frame())
    }

    /// ZwCreateFile with a kernel handle.
    pub fn open(&self, spec: &CreateSpec) -> NtResult<KernelFile> {
        let attributes = spec.attributes | nt_abi::ob::OBJ_KERNEL_HANDLE;
        let spec = CreateSpec { attributes, ..spec.clone() };
        let (handle, _) = self.call(|frame| nt_io::create::nt_create_file(frame, &spec))?;
        self.file(handle)
    }

    fn file(&self, handle: Handle) -> NtResult<KernelFile> {
        let found = self.call(|frame| event::reference(frame, handle, ObjectType::File, 0, Mode::Kernel));
        match found {
            Ok((object, _)) => Ok(KernelFile { client: self.clone(), handle, object: Some(object.retype()) }),
            Err(error) => {
                let _closed = self.call(|frame| event::close(frame, handle));
                Err(error)
            }
        }
    }
}

/// A file, filter or pin that kernel code has opened: its handle and its file object. Dropping it closes it.
#[derive(Debug)]
pub struct KernelFile {
    client: KernelClient,
    handle: Handle,
    object: Option<ObjectRef<FILE_OBJECT>>,
}

impl Drop for KernelFile {
    fn drop(&mut self) {
        self.client.call(|frame| {
            self.object = None;
            let _closed = event::close(frame, self.handle);
        });
    }
}

impl KernelFile {
    /// Returns the handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Returns the file object.
    #[must_use]
    pub fn object(&self) -> Foreign<FILE_OBJECT> {
        self.object.as_ref().expect("a file object until the drop").body()
    }

    /// Returns the thread that opened the file, for routines that have no method here.
    #[must_use]
    pub fn client(&self) -> &KernelClient {
        &self.client
    }

    /// ZwWriteFile; `None` writes at the current position. Returns how many bytes were written.
    pub fn zw_write(&self, offset: Option<i64>, bytes: &[u8]) -> NtResult<u64> {
        let ((data, length), (at, _)) = (block(bytes)?, block(&offset.unwrap_or(0).to_le_bytes())?);
        let local = local_event()?;
        let arguments = Arguments {
            handle: self.handle,
            event: Handle::NULL,
            apc_routine: None,
            apc_context: 0,
            iosb: Addr::from(local.status_block()),
            buffer: Addr::from(data.block()),
            length,
            byte_offset: if offset.is_some() { Addr::from(at.block()) } else { Addr::NULL },
            key: Addr::NULL,
        };
        self.client.call(|frame| {
            let status = nt_io::write::nt_write_file(frame, &arguments);
            settle(frame, status, self.object().at(FILE_OBJECT::Event), &local)
        })
    }

    /// FltWriteFile below `instance`; `None` writes at the current position, which stays where it is.
    pub fn flt_write(&self, instance: &Arc<Instance>, offset: Option<i64>, bytes: &[u8]) -> NtResult<u64> {
        let (data, length) = block(bytes)?;
        let transfer = FltTransfer {
            file: self.object(),
            offset,
            length,
            buffer: Addr::from(data.block()),
            mdl: None,
            flags: nt_abi::flt::FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET,
            key: 0,
            write: true,
        };
        let result = self.client.call(|frame| generated::transfer(frame, instance, &transfer, None))?;
        if result.status.is_error() { result.status.fail() } else { Ok(result.information) }
    }

    /// KsWriteFile: plain data at the current position. Returns how many bytes were written.
    pub fn ks_write(&self, bytes: &[u8]) -> NtResult<u64> {
        let ((data, length), local) = (block(bytes)?, local_event()?);
        let transfer = Transfer {
            file: self.object(),
            event: None,
            port_context: 0,
            iosb: local.status_block(),
            buffer: Addr::from(data.block()),
            length,
            key: 0,
            mode: Mode::Kernel,
            direction: Direction::Write,
        };
        self.client.call(|frame| {
            let status = clientio::transfer(frame, &transfer);
            settle(frame, status, self.object().at(FILE_OBJECT::Event), &local)
        })
    }

    /// KsCreatePin: connects to pin `id` of this filter, as its client. `gives`: the pin gives data.
    pub fn pin(&self, id: u32, gives: bool) -> NtResult<Self> {
        let name = connect::pin_name(&connect::client_connect(id), &connect::stream_format());
        let access = if gives { GENERIC_READ } else { GENERIC_WRITE };
        let spec = CreateSpec { access, root: self.handle, name, ..CreateSpec::default() };
        self.client.open(&spec)
    }

    /// Sets KSPROPERTY_CONNECTION_STATE: one of `KSSTATE_*`.
    pub fn set_state(&self, state: u32) -> NtResult<()> {
        let mut property = [0; KSIDENTIFIER::SIZE];
        property[..16].copy_from_slice(&KSPROPSETID_Connection.to_bytes());
        property[KSIDENTIFIER::Id.offset()..][..4].copy_from_slice(&KSPROPERTY_CONNECTION_STATE.to_le_bytes());
        property[KSIDENTIFIER::Flags.offset()..][..4].copy_from_slice(&KSPROPERTY_TYPE_SET.to_le_bytes());
        let (property, value) = (block(&property)?, block(&state.to_le_bytes())?);
        let named = |(data, length): &(Scratch, u32)| (Addr::from(data.block()), *length);
        self.control(IOCTL_KS_PROPERTY, named(&property), named(&value)).map(|_| ())
    }

    /// KsSynchronousIoControlDevice; returns Information.
    pub fn control(&self, code: u32, input: (Addr, u32), output: (Addr, u32)) -> NtResult<u64> {
        let request = ControlRequest { file: self.object(), mode: Mode::Kernel, code, input, output };
        let result = self.client.call(|frame| streamio::synchronous_control(frame, &request));
        if result.status.is_error() { result.status.fail() } else { Ok(result.information) }
    }

    fn stream_io(&self, frames: &FrameList, flags: u32) -> NtResult<u64> {
        let local = local_event()?;
        let request = StreamRequest::of_kernel(self.object(), frames, &local, flags);
        self.client.call(|frame| {
            let status = streamio::stream_io(frame, &request);
            settle(frame, status, local.event(), &local)
        })
    }

    /// KsStreamIo with KSSTREAM_WRITE: one request, one header a frame. Returns how many bytes of data were written.
    pub fn ks_stream_write(&self, frames: &[&[u8]]) -> NtResult<u64> {
        self.stream_io(&FrameList::filled(frames)?, KSSTREAM_WRITE)
    }

    /// KsStreamIo with KSSTREAM_READ into frames of so many bytes; returns what each was filled with.
    pub fn ks_stream_read(&self, extents: &[usize]) -> NtResult<Vec<Vec<u8>>> {
        let frames = FrameList::empty(extents)?;
        self.stream_io(&frames, KSSTREAM_READ)?;
        (0..extents.len()).map(|index| frames.bytes(index)).collect()
    }

    /// IOCTL_KS_WRITE_STREAM by KsSynchronousIoControlDevice. Returns how many bytes of data were written.
    pub fn ioctl_write_stream(&self, frames: &[&[u8]]) -> NtResult<u64> {
        let frames = FrameList::filled(frames)?;
        self.control(IOCTL_KS_WRITE_STREAM, (Addr::NULL, 0), (frames.addr(), frames.length()))
    }

    /// IOCTL_KS_READ_STREAM into frames of so many bytes; returns what each was filled with.
    pub fn ioctl_read_stream(&self, extents: &[usize]) -> NtResult<Vec<Vec<u8>>> {
        let frames = FrameList::empty(extents)?;
        self.control(IOCTL_KS_READ_STREAM, (Addr::NULL, 0), (frames.addr(), frames.length()))?;
        (0..extents.len()).map(|index| frames.bytes(index)).collect()
    }
}
