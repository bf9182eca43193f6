//! A file system driver with the face of NTFS, over whatever keeps the files: the `ram`
//! volume keeps them in memory, the `dir` volume in a directory of the host.
//!
//! Room: drivers/memfs. Called by: `nt_io` through its dispatch and fast I/O tables, as any driver is.
//! Touches: FCB headers, CCBs and data chunks in pool; FILE_OBJECT members that are a file system's to change.
//! IRQL: PASSIVE_LEVEL; paging requests up to APC_LEVEL. Locks: the tree, then one node's data.
//! Source: nt-io.md section 18 (order of checks), house rule 8. Rules: NT-S-*, NT-A-13, NT-A-14, NT-A-18, NT-R-*.
//! Not here: which oplock gives way to which operation (`nt_fsrtl::oplock`).

mod backing;
mod cached;
mod cleanup;
mod create;
mod dasd;
mod deferred;
mod dir;
mod directory;
mod ea;
mod fileinfo;
mod fsctl;
mod identity;
mod link;
mod lock;
mod main_lock;
mod mount;
mod naming;
mod node;
mod notice;
mod ntfs;
mod oplock;
mod path;
mod protection;
mod ram;
mod read;
mod reparse;
mod sections;
mod security;
mod shorts;
mod sparse;
mod straight;
mod stream;
mod volinfo;
mod write;

use crate::deferred::Until;
use nt_abi::io::{
    DEVICE_OBJECT, DRIVER_OBJECT, FILE_DEVICE_DISK, FILE_DEVICE_DISK_FILE_SYSTEM, FILE_OBJECT, FILE_READ_ONLY_DEVICE,
    FO_SYNCHRONOUS_IO, IO_STACK_LOCATION, IRP, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DIRECTORY_CONTROL,
    IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_LOCK_CONTROL, IRP_MJ_QUERY_EA, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_QUERY_SECURITY, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_SET_EA, IRP_MJ_SET_INFORMATION,
    IRP_MJ_SET_SECURITY, IRP_MJ_SET_VOLUME_INFORMATION, IRP_MJ_WRITE, IRP_MN_NOTIFY_CHANGE_DIRECTORY,
    IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX, IRP_PAGING_IO,
};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Foreign;
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, FastCall, NativeDriver, OwnedIrp};
use nt_io::fast::{FastQuery, QueryOpen};
use nt_io::irp::IoStatus;
use nt_io::system::{AsyncPolicy, System};
use nt_ke::kernel::Slot;
use nt_ke::{Kernel, irql};
use nt_ob::Node as Name;
use std::path::Path;
use std::sync::{Arc, Weak};

pub use node::Volume;

/// The folder in the root of a `dir` volume's directory that keeps named streams and short names. The volume does not show it.
pub const OWN_FOLDER: &str = ".ntio";

/// Bytes of a sector; noncached requests are multiples of it.
pub const SECTOR: u16 = 512;

/// A mounted volume.
#[derive(Clone, Debug)]
pub struct MountedVolume {
    /// `\Device\HarddiskVolumeN`.
    pub name: String,
    /// The drive letter's link, `\??\C:`.
    pub link: String,
    /// The storage device that the name leads to.
    pub storage: Device,
    /// The file system's volume device.
    pub device: Device,
    /// What is on the volume.
    pub volume: Arc<Volume>,
}

nt_abi::layout! {
    /// The device extension of a volume.
    pub struct VOLUME_EXTENSION: 0x8 {
        /// Which one of its driver's it is.
        Index @ 0x00: u64;
    }
}

/// The driver of all volumes of a machine.
#[derive(Default)]
struct MemFs {
    // Whoever mounted a volume keeps it; the driver outlives it until the machine is gone.
    volumes: boxcar::Vec<Weak<Volume>>,
}

/// The driver, where its machine keeps it.
struct FileSystem {
    native: Arc<MemFs>,
    driver: Foreign<DRIVER_OBJECT>,
}

impl FileSystem {
    /// Makes it for the first volume, under the name by which filters know NTFS (NT-VOL-21).
    fn of(kernel: &Arc<Kernel>) -> NtResult<Arc<Self>> {
        if let Some(there) = kernel.try_room::<Self>(Slot::Fs) {
            return Ok(there);
        }
        let native = Arc::new(MemFs::default());
        let driver = driver::create_native(kernel, "\\FileSystem\\Ntfs", Arc::clone(&native) as Arc<dyn NativeDriver>)?;
        let made = Arc::new(Self { native, driver: driver.body() });
        let _made = kernel.room_or(Slot::Fs, || Arc::clone(&made));
        Ok(made)
    }
}

impl MountedVolume {
    /// Write-protects the volume: it takes no change any more, and says so (FILE_READ_ONLY_VOLUME, FILE_READ_ONLY_DEVICE).
    ///
    /// # Errors
    /// ACCESS_DENIED while anything is open on it.
    pub fn protect(&self) -> NtResult<()> {
        self.volume.mount.protect()?;
        self.storage.or32(DEVICE_OBJECT::Characteristics, FILE_READ_ONLY_DEVICE);
        Ok(())
    }

    /// Is the volume write-protected: because it was asked for, or because what it lies on is?
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.volume.mount.is_protected()
    }

    /// Lets names be tunnelled, or no longer: a file whose name is made anew within 15 seconds keeps its creation
    /// time, and its short name.
    pub fn set_tunnelling(&self, on: bool) {
        self.volume.mount.set_tunnelling(on);
    }

    /// Lets names have short (8.3) names beside them, by which they are found too, or no longer. A `dir` volume keeps them in
    /// its folder `.ntio` for the next mount.
    pub fn set_short_names(&self, on: bool) {
        self.volume.mount.shorts.set(on);
    }
}

fn extension_of(device: Device) -> Option<Foreign<VOLUME_EXTENSION>> {
    device.ptr(DEVICE_OBJECT::DeviceExtension).map(|extension| extension.view())
}

impl MemFs {
    /// Which volume a device is.
    fn volume(&self, device: Device) -> Option<&Weak<Volume>> {
        let index = usize::try_from(extension_of(device)?.get(VOLUME_EXTENSION::Index)).ok()?;
        self.volumes.get(index)
    }
}

/// The volume, as long as it is mounted.
fn mounted(volume: &Weak<Volume>) -> NtResult<Arc<Volume>> {
    volume.upgrade().ok_or(NtStatus::VOLUME_DISMOUNTED.error())
}

/// Makes volume `index` (1 is `C:`) with room for `size` bytes of data, and gives it its names.
pub fn mount(kernel: &Arc<Kernel>, index: u32, size: Option<u64>) -> NtResult<MountedVolume> {
    let backing = ram::Ram::new(kernel, size.unwrap_or(64 << 30))?;
    mount_on(kernel, index, Box::new(backing))
}

/// Makes volume `index` of a directory of the host.
pub fn mount_dir(kernel: &Arc<Kernel>, index: u32, path: &Path) -> NtResult<MountedVolume> {
    mount_on(kernel, index, Box::new(dir::Dir::new(path)?))
}

fn mount_on(kernel: &Arc<Kernel>, index: u32, backing: Box<dyn backing::Backing>) -> NtResult<MountedVolume> {
    let volume = Volume::new(index, backing)?;
    let fs = FileSystem::of(kernel)?;
    let name = format!("\\Device\\HarddiskVolume{index}");
    let spec = DeviceSpec { name: Some(&name), kind: FILE_DEVICE_DISK, ..DeviceSpec::default() };
    let storage = device::create(kernel, fs.driver, &spec)?.body();
    let extension = VOLUME_EXTENSION::SIZE;
    let spec = DeviceSpec { kind: FILE_DEVICE_DISK_FILE_SYSTEM, extension, ..DeviceSpec::default() };
    let volume_device = device::create(kernel, fs.driver, &spec)?.body();
    let number = fs.native.volumes.push(Arc::downgrade(&volume));
    if let Some(extension) = extension_of(volume_device) {
        extension.set(VOLUME_EXTENSION::Index, number as u64);
    }

    for device in [storage, volume_device] {
        device.set(DEVICE_OBJECT::SectorSize, SECTOR);
        device::ready(device);
    }
    device::mount(storage, volume_device, 0x4E54_494F + index, "ntio")?;
    let letter = char::from(b'B' + u8::try_from(index.min(24)).unwrap_or(24));
    let link = format!("\\??\\{letter}:");
    System::of(kernel).namespace.insert(&link, Name::Link(name.clone()))?;
    let mounted = MountedVolume { name, link, storage, device: volume_device, volume };
    if mounted.volume.backing.is_read_only() {
        mounted.protect()?;
    }
    Ok(mounted)
}

/// Completes a transfer: on an asynchronous handle as the machine's policy says (NT-C-13), else at once. One that was
/// `waited` for is at its end when the dispatch routine returns, whatever the policy (NT-N-09, NT-S-14).
fn deliver(irp: OwnedIrp, result: IoStatus, waited: bool) -> Answer {
    let synchronous = irp.file().is_none_or(|file| file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0);
    let paging = irp.irp().get(IRP::Flags) & IRP_PAGING_IO != 0;
    if synchronous || paging {
        return irp.complete(result.status, result.information);
    }
    let frame = nt_ke::current();
    let policy = match System::of(&frame.kernel).policy() {
        AsyncPolicy::Worker | AsyncPolicy::Dispatch if waited => AsyncPolicy::Pend,
        policy => policy,
    };
    match policy {
        AsyncPolicy::Inline => irp.complete(result.status, result.information),
        AsyncPolicy::Pend => {
            let (pended, answer) = irp.pend();
            pended.complete(result.status, result.information);
            answer
        }
        AsyncPolicy::Worker | AsyncPolicy::Dispatch => {
            let (pended, answer) = irp.pend();
            nt_ke::work::WorkQueue::queue(&frame.kernel, move || {
                let level = if policy == AsyncPolicy::Dispatch { irql::DISPATCH_LEVEL } else { irql::PASSIVE_LEVEL };
                let _level = irql::at(level);
                pended.complete(result.status, result.information);
            });
            answer
        }
    }
}

/// Does a directory request ask for changes?
fn is_watch(irp: &OwnedIrp) -> bool {
    let minor = irp.stack().get(IO_STACK_LOCATION::MinorFunction);
    matches!(minor, IRP_MN_NOTIFY_CHANGE_DIRECTORY | IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX)
}

/// Runs `body` with the packet as the thread's top-level request, unless there is one already (NT-CC-42, NT-CC-45).
fn within(irp: &OwnedIrp, body: impl FnOnce(&OwnedIrp) -> NtResult<IoStatus>) -> IoStatus {
    let frame = nt_ke::current();
    if frame.thread.top_level() != 0 {
        return outcome(body(irp));
    }
    frame.thread.set_top_level(irp.irp().addr());
    let result = outcome(body(irp));
    frame.thread.set_top_level(0);
    result
}

fn outcome(result: NtResult<IoStatus>) -> IoStatus {
    result.unwrap_or_else(|error| IoStatus::new(error.status(), 0))
}

impl MemFs {
    /// A packet that had to wait comes again, by a worker.
    fn again(device: Device, irp: OwnedIrp) -> Answer {
        match nt_ke::current().kernel.try_room::<FileSystem>(Slot::Fs) {
            Some(system) => system.native.dispatch(device, irp),
            None => irp.complete(NtStatus::VOLUME_DISMOUNTED, 0),
        }
    }
}

impl NativeDriver for MemFs {
    fn dispatch(&self, device: Device, irp: OwnedIrp) -> Answer {
        let major = irp.stack().get(IO_STACK_LOCATION::MajorFunction);
        if device.get(DEVICE_OBJECT::DeviceType) != FILE_DEVICE_DISK_FILE_SYSTEM {
            return irp.complete(NtStatus::INVALID_DEVICE_REQUEST, 0);
        }
        let Some(volume) = self.volume(device) else {
            return irp.complete(NtStatus::VOLUME_DISMOUNTED, 0);
        };
        let irp = match major {
            IRP_MJ_READ | IRP_MJ_WRITE | IRP_MJ_SET_INFORMATION | IRP_MJ_LOCK_CONTROL | IRP_MJ_FILE_SYSTEM_CONTROL => {
                match oplock::pass(device, irp) {
                    Ok(irp) => irp,
                    Err(answer) => return answer,
                }
            }
            _ => irp,
        };
        match major {
            IRP_MJ_WRITE => {
                if !write::may_start(&irp) {
                    return deferred::put_off(volume, irp, Until::Room); // NT-CC-15
                }
                let wait = write::is_waited_for(&irp);
                let result = within(&irp, |irp| write::write(volume, irp, wait));
                if result.status == NtStatus::RETRY {
                    return self.dispatch(device, irp); // an oplock was granted meanwhile
                }
                if result.status == NtStatus::CANT_WAIT && !wait {
                    return deferred::put_off(volume, irp, Until::Worker); // NT-S-13
                }
                deliver(irp, result, wait)
            }
            IRP_MJ_READ => {
                let result = within(&irp, |irp| read::read(volume, irp));
                deliver(irp, result, false)
            }
            IRP_MJ_DIRECTORY_CONTROL if is_watch(&irp) => notice::watch(irp),
            IRP_MJ_DIRECTORY_CONTROL => {
                let result = outcome(mounted(volume).and_then(|volume| directory::query(&volume, &irp)));
                deliver(irp, result, false)
            }
            IRP_MJ_LOCK_CONTROL => lock::control(irp),
            _ => {
                let volume = match mounted(volume) {
                    Ok(volume) => volume,
                    Err(error) => return irp.complete(error.status(), 0),
                };
                let volume = &*volume;
                if major == IRP_MJ_FILE_SYSTEM_CONTROL && fsctl::is_about_oplocks(&irp) {
                    return oplock::control(volume, irp);
                }
                if volume.mount.is_protected() && protection::refuses(&irp) {
                    return irp.complete(NtStatus::MEDIA_WRITE_PROTECTED, 0);
                }
                let result = within(&irp, |irp| match major {
                    IRP_MJ_CREATE => create::create(volume, irp),
                    IRP_MJ_CLEANUP => cleanup::cleanup(volume, irp),
                    IRP_MJ_CLOSE => cleanup::close(irp),
                    IRP_MJ_QUERY_INFORMATION => fileinfo::query(volume, irp),
                    IRP_MJ_SET_INFORMATION => fileinfo::set(volume, irp),
                    IRP_MJ_QUERY_VOLUME_INFORMATION => volinfo::query(volume, irp),
                    IRP_MJ_QUERY_EA => ea::query(irp),
                    IRP_MJ_SET_VOLUME_INFORMATION => volinfo::set(volume, device, irp),
                    IRP_MJ_SET_EA => ea::set(irp),
                    IRP_MJ_QUERY_SECURITY => security::query(irp),
                    IRP_MJ_SET_SECURITY => security::set(irp),
                    IRP_MJ_FILE_SYSTEM_CONTROL => fsctl::control(volume, irp),
                    IRP_MJ_FLUSH_BUFFERS => cleanup::flush(volume, irp),
                    _ => NtStatus::INVALID_DEVICE_REQUEST.fail(),
                });
                notice::tell();
                irp.complete(result.status, result.information)
            }
        }
    }

    fn has_fast_io(&self) -> bool {
        true
    }

    fn hold_for_section(&self, file: Foreign<FILE_OBJECT>, body: &mut dyn FnMut()) {
        straight::hold_for_section(file, body);
    }

    fn fast_write(&self, call: &FastCall) -> Option<IoStatus> {
        write::fast_write(call)
    }

    fn fast_read(&self, call: &FastCall) -> Option<IoStatus> {
        read::fast_read(call)
    }

    fn fast_query(&self, query: &FastQuery) -> Option<IoStatus> {
        fileinfo::fast_query(query)
    }

    fn query_open(&self, query: &QueryOpen) -> Option<IoStatus> {
        let volume = mounted(self.volume(query.device)?).ok()?;
        create::query_open(&volume, query)
    }
}

/// Moves the position of a synchronous file (NT-O-14).
fn set_position(file: Foreign<FILE_OBJECT>, position: i64) {
    if file.get(FILE_OBJECT::Flags) & FO_SYNCHRONOUS_IO != 0 {
        file.set(FILE_OBJECT::CurrentByteOffset, position);
    }
}
