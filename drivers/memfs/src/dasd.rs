//! The volume itself, opened by its device's name: its sectors, and who locked or dismounted it.
//!
//! Room: drivers/memfs. Called by: the dispatch of IRPs whose file object has FO_VOLUME_OPEN. IRQL: PASSIVE_LEVEL.
//! Locks: the volume's sectors. Source: FSCTL_LOCK_VOLUME, FSCTL_DISMOUNT_VOLUME pages; rules NT-S-02, NT-S-16 to NT-S-18.
//! The files are not laid out in these sectors: what is written to them is read back from them and from nowhere else.
//! The boot area holds what a program looks for there: the file system's name and the size.

use crate::node::{Mount, Volume, open_any};
use crate::write::buffer;
use crate::{SECTOR, set_position};
use nt_abi::io::{FILE_OBJECT, IO_STACK_LOCATION, SL_FORCE_DIRECT_WRITE};
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_ex::pool;
use nt_io::driver::OwnedIrp;
use nt_io::irp::IoStatus;
use nt_trace::rule;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// What a file system keeps its boot code in: writable at any time.
const BOOT_AREA: u64 = 16 * SECTOR as u64;
const PAGE: u64 = 4096;
const APPEND: i64 = -1;

/// Sectors that were written to; all others read as zero.
#[derive(Default)]
pub(crate) struct Sectors {
    pages: BTreeMap<u64, Foreign<Bytes>>,
}

impl Sectors {
    /// The sectors of a new volume: its boot sector says what it is.
    pub(crate) fn formatted(size: u64, serial: u32) -> NtResult<Self> {
        let mut boot = [0; 512];
        boot[..11].copy_from_slice(b"\xEB\x52\x90NTFS    ");
        boot[11..13].copy_from_slice(&SECTOR.to_le_bytes());
        boot[13] = 8;
        boot[0x28..0x30].copy_from_slice(&(size / u64::from(SECTOR)).to_le_bytes());
        boot[0x48..0x4C].copy_from_slice(&serial.to_le_bytes());
        boot[510..].copy_from_slice(&[0x55, 0xAA]);
        let mut sectors = Self::default();
        let page = sectors.page(0)?;
        let _own_memory = page.sub(0, boot.len()).write_from(&boot);
        Ok(sectors)
    }

    fn page(&mut self, index: u64) -> NtResult<Region> {
        let block = match self.pages.get(&index) {
            Some(block) => *block,
            None => {
                let block = pool::allocate(PAGE as usize, pool::tag(b"RamV"), pool::PoolKind::NonPaged);
                let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
                self.pages.insert(index, block);
                block
            }
        };
        Ok(Region::pool(block, PAGE as usize))
    }

    /// Cuts a range at the pages: {page, offset in it, offset in the range, length}.
    fn pieces(start: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = start + done as u64;
            let size = ((PAGE - at % PAGE) as usize).min(length - done);
            let piece = (at / PAGE, (at % PAGE) as usize, done, size);
            done += size;
            (size != 0).then_some(piece)
        })
    }

    fn write(&mut self, start: u64, from: Region) -> NtResult<()> {
        for (index, at, done, size) in Self::pieces(start, from.len()) {
            let copied = self.page(index)?.sub(at, size).copy_from(from.sub(done, size));
            copied.map_err(|_| NtStatus::INVALID_USER_BUFFER.error())?;
        }
        Ok(())
    }

    fn read(&self, start: u64, to: Region) -> Result<(), Fault> {
        for (index, at, done, size) in Self::pieces(start, to.len()) {
            match self.pages.get(&index) {
                Some(block) => to.sub(done, size).copy_from(Region::pool(*block, PAGE as usize).sub(at, size))?,
                None => to.sub(done, size).fill(0)?,
            }
        }
        Ok(())
    }
}

impl Drop for Sectors {
    fn drop(&mut self) {
        for block in self.pages.values() {
            pool::free(*block);
        }
    }
}

fn nothing() -> IoStatus {
    IoStatus::new(NtStatus::SUCCESS, 0)
}

/// The volume's size in bytes; a volume without sectors takes no such request.
fn size(volume: &Volume) -> NtResult<u64> {
    volume.backing.sectors().ok_or(NtStatus::INVALID_DEVICE_REQUEST.error())
}

/// A write through a volume handle, never cached.
pub(crate) fn write(volume: &Volume, irp: &OwnedIrp, file: Foreign<FILE_OBJECT>) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let length = u64::from(stack.get(IO_STACK_LOCATION::Write_Length));
    let offset = stack.get(IO_STACK_LOCATION::Write_ByteOffset);
    if length == 0 {
        return Ok(nothing());
    }
    let open = open_any(file)?;
    let mount = &volume.mount;
    if mount.refuses(file) && !open.dismounted.load(Ordering::Relaxed) {
        return NtStatus::VOLUME_DISMOUNTED.fail();
    }
    if mount.is_protected() {
        return NtStatus::MEDIA_WRITE_PROTECTED.fail();
    }
    let size = size(volume)?;
    let extended = open.extended.load(Ordering::Relaxed);
    if !extended && (offset == APPEND || offset >= size as i64) {
        rule!(NT_S_17);
        return Ok(nothing());
    }
    let start = u64::try_from(offset).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    if start >= size {
        return NtStatus::INVALID_PARAMETER.fail(); // past the volume lies nothing, also for who may go there
    }
    let mine = mount.locked_by(file) || open.dismounted.load(Ordering::Relaxed);
    let direct = stack.get(IO_STACK_LOCATION::Flags) & SL_FORCE_DIRECT_WRITE != 0;
    if start >= BOOT_AREA && !mine && !direct {
        rule!(NT_S_16);
        return NtStatus::ACCESS_DENIED.fail();
    }
    aligned(start, length)?;
    rule!(NT_S_18);
    let length = length.min(size - start);
    volume.sectors.write().write(start, buffer(irp, length as usize)?)?;
    set_position(file, (start + length) as i64);
    Ok(IoStatus::new(NtStatus::SUCCESS, length))
}

/// A read through a volume handle: END_OF_FILE from the end on.
pub(crate) fn read(volume: &Volume, irp: &OwnedIrp, file: Foreign<FILE_OBJECT>) -> NtResult<IoStatus> {
    let stack = irp.stack();
    let length = u64::from(stack.get(IO_STACK_LOCATION::Read_Length));
    if length == 0 {
        return Ok(nothing());
    }
    if volume.mount.refuses(file) {
        return NtStatus::VOLUME_DISMOUNTED.fail();
    }
    let offset = stack.get(IO_STACK_LOCATION::Read_ByteOffset);
    let start = u64::try_from(offset).map_err(|_| NtStatus::INVALID_PARAMETER.error())?;
    let size = size(volume)?;
    if start >= size {
        return NtStatus::END_OF_FILE.fail();
    }
    aligned(start, length)?;
    let length = length.min(size - start);
    let copied = volume.sectors.read().read(start, buffer(irp, length as usize)?);
    copied.map_err(|_| NtStatus::ACCESS_VIOLATION.error())?;
    set_position(file, (start + length) as i64);
    Ok(IoStatus::new(NtStatus::SUCCESS, length))
}

fn aligned(start: u64, length: u64) -> NtResult<()> {
    let sector = u64::from(SECTOR);
    if start.is_multiple_of(sector) && length.is_multiple_of(sector) {
        Ok(())
    } else {
        NtStatus::INVALID_PARAMETER.fail()
    }
}

/// FSCTL_LOCK_VOLUME, UNLOCK, DISMOUNT, IS_MOUNTED, ALLOW_EXTENDED_DASD_IO; `None` for any other code.
pub(crate) fn control(volume: &Volume, file: Foreign<FILE_OBJECT>, code: u32) -> Option<NtResult<IoStatus>> {
    const LOCK: u32 = 0x0009_0018;
    const UNLOCK: u32 = 0x0009_001C;
    const DISMOUNT: u32 = 0x0009_0020;
    const IS_MOUNTED: u32 = 0x0009_0028;
    const ALLOW_EXTENDED_DASD_IO: u32 = 0x0009_0083;
    let mount = &volume.mount;
    let on_a_volume = file.get(FILE_OBJECT::Flags) & nt_abi::io::FO_VOLUME_OPEN != 0;
    let done = |result: NtResult<()>| Some(result.map(|()| nothing()));
    match code {
        IS_MOUNTED if mount.refuses(file) => done(NtStatus::VOLUME_DISMOUNTED.fail()),
        IS_MOUNTED => done(Ok(())),
        LOCK | UNLOCK | DISMOUNT | ALLOW_EXTENDED_DASD_IO if !on_a_volume => done(NtStatus::INVALID_PARAMETER.fail()),
        LOCK => done(mount.lock(file)),
        UNLOCK => done(mount.unlock(file)),
        DISMOUNT => done(dismount(volume, mount, file)),
        ALLOW_EXTENDED_DASD_IO => done(open_any(file).map(|open| open.extended.store(true, Ordering::Relaxed))),
        _ => None,
    }
}

/// Every open of the volume ends but the one that asked: the next open mounts it anew.
fn dismount(volume: &Volume, mount: &Mount, file: Foreign<FILE_OBJECT>) -> NtResult<()> {
    let open = open_any(file)?;
    for map in crate::cached::streams_of(file) {
        let written = nt_cc::flush_stream(&map);
        if written.status.is_error() {
            return written.status.fail();
        }
        nt_cc::uninitialize_all(map.sections()); // from now on a transfer is a packet, which is refused
    }
    volume.backing.sync()?;
    {
        let _tree = volume.tree.lock();
        mount.dismount();
        open.dismounted.store(true, Ordering::Relaxed);
    }
    mount.changes.cleanup_all(None); // FsRtlNotifyCleanupAll's page: all requests of the volume
    Ok(())
}
