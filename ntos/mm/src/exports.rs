//! What the memory manager exports to drivers.
//!
//! Room: ntos/mm. Called by: drivers, through the loader. Calls: `mdl`, `probe`.
#![expect(unsafe_code, reason = "unsafe home 3: entry points take a driver's pointers")]

use crate::{mdl, probe};
use nt_abi::mm::{IoReadAccess, MDL, UserMode};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{Foreign, Region, exports, raise};
use std::sync::OnceLock;

/// Takes a driver's pointer to an MDL.
fn mdl_at(addr: u64) -> Foreign<MDL> {
    // SAFETY: the driver passes a pointer to an MDL, as the header declares (S-3).
    unsafe { Foreign::from_raw(addr) }.expect("a driver passed a NULL MDL")
}

fn raise_if_failed(result: NtResult<()>) {
    if let Err(error) = result {
        raise::raise(error.status());
    }
}

/// Returns the address of a variable that holds `value` for good.
fn variable(cell: &'static OnceLock<u64>, value: u64) -> u64 {
    core::ptr::from_ref(cell.get_or_init(|| value)).expose_provenance() as u64
}

static USER_PROBE: OnceLock<u64> = OnceLock::new();
static HIGHEST_USER: OnceLock<u64> = OnceLock::new();
static SYSTEM_START: OnceLock<u64> = OnceLock::new();

/// Maps for the mode asked for; a user-mode mapping exists only where the pages are user memory already.
fn map(at: u64, mode: u8) -> NtResult<u64> {
    let mdl = mdl_at(at);
    if mode != UserMode {
        return mdl::map(mdl);
    }
    let (addr, len) = mdl::span(mdl);
    match Region::user(addr, len as usize) {
        Some(_) => Ok(addr),
        None => NtStatus::NOT_SUPPORTED.fail(),
    }
}

exports! { "ntoskrnl.exe" =>
    Full code IoBuildPartialMdl(source: u64, target: u64, addr: u64, len: u32) {
        mdl::build_partial(mdl_at(source), mdl_at(target), addr, len);
    }
    Full code MmSizeOfMdl(addr: u64, len: u64) -> u64 { mdl::size_of_mdl(addr, len) }
    Full code MmBuildMdlForNonPagedPool(at: u64) { mdl::build_for_nonpaged(mdl_at(at)); }
    Partial("pages are probed and recorded, not pinned: memory unmapped while locked faults")
    raises MmProbeAndLockPages(at: u64, mode: u8, operation: u32) {
        raise_if_failed(mdl::probe_and_lock(mdl_at(at), mode != UserMode, operation != IoReadAccess));
    }
    Full code MmUnlockPages(at: u64) { mdl::unlock(mdl_at(at)); }
    Partial("a user-mode mapping exists only where the pages are user memory already")
    raises MmMapLockedPages(at: u64, mode: u8) -> u64 {
        map(at, mode).unwrap_or_else(|error| { raise::raise(error.status()); 0 })
    }
    Partial("a user-mode mapping exists only where the pages are user memory already; a requested address is ignored")
    raises MmMapLockedPagesSpecifyCache(at: u64, mode: u8, _cache: u32, _requested: u64, _bugcheck: u32, _priority: u32) -> u64 {
        match map(at, mode) {
            Ok(addr) => addr,
            Err(error) if mode == UserMode => { raise::raise(error.status()); 0 }
            Err(_) => 0,
        }
    }
    Full code MmUnmapLockedPages(base: u64, at: u64) {
        let mdl = mdl_at(at);
        if mdl.addr_at(MDL::MappedSystemVa) == base {
            mdl::unmap(mdl);
        }
    }
    Partial("the protection stays: system and user address are one")
    code MmProtectMdlSystemAddress(_at: u64, _protection: u32) -> u32 { NtStatus::NOT_SUPPORTED.0 }
    Absent("no physical pages to hand out; use MmBuildMdlForNonPagedPool") missing MmAllocatePagesForMdlEx;
    Full raises ProbeForRead(addr: u64, len: u64, alignment: u32) { raise_if_failed(probe::for_read(addr, len, alignment)); }
    Full raises ProbeForWrite(addr: u64, len: u64, alignment: u32) { raise_if_failed(probe::for_write(addr, len, alignment)); }
    Full code MmIsAddressValid(addr: u64) -> u8 {
        // SAFETY: one byte is read under fault recovery and thrown away, so it does not matter whose it is.
        u8::from(unsafe { Region::from_raw(addr, 1) }.load::<u8>(0).is_ok())
    }
    Full data MmUserProbeAddress() -> u64 { variable(&USER_PROBE, probe::user_probe_address()) }
    Full data MmHighestUserAddress() -> u64 { variable(&HIGHEST_USER, probe::highest_user_address()) }
    Full data MmSystemRangeStart() -> u64 { variable(&SYSTEM_START, probe::system_range_start()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nt_cell::{Entry, UserBlock};

    fn entry(name: &str) -> Entry {
        EXPORTS.iter().find(|row| row.name == name).expect("exported").entry
    }

    #[test]
    fn nt_b_07_a_failed_probe_waits_in_the_raise_slot() {
        let Entry::Raises(code) = entry("ProbeForRead") else { panic!("it raises") };
        // SAFETY: a change of type back to what the table was made of.
        let probe =
            unsafe { core::mem::transmute::<unsafe extern "win64" fn(), extern "win64" fn(u64, u64, u32)>(code) };
        let block = UserBlock::new(64).expect("arena");
        probe(block.addr(), 64, 8);
        assert_eq!(raise::take(), None);
        probe(block.addr() + 1, 8, 8);
        assert_eq!(raise::take(), Some(NtStatus::DATATYPE_MISALIGNMENT));
        probe(u64::MAX - 64, 8, 1);
        assert_eq!(raise::take(), Some(NtStatus::ACCESS_VIOLATION));
    }

    #[test]
    fn an_address_is_valid_if_it_can_be_read() {
        let Entry::Code(code) = entry("MmIsAddressValid") else { panic!("it does not raise") };
        // SAFETY: a change of type back to what the table was made of.
        let valid = unsafe { core::mem::transmute::<unsafe extern "win64" fn(), extern "win64" fn(u64) -> u8>(code) };
        let block = UserBlock::guarded(16).expect("arena");
        assert_eq!((valid(block.addr()), valid(block.addr() + 16), valid(0), valid(1 << 63)), (1, 0, 0, 0));
    }

    #[test]
    fn data_imports_name_a_variable() {
        let Entry::Data(address) = entry("MmUserProbeAddress") else { panic!("it is data") };
        // SAFETY: the address of a static `u64` that is never written again.
        let value = unsafe { Region::from_raw(address(), 8) }.load::<u64>(0);
        assert_eq!(value, Ok(probe::user_probe_address()));
    }
}
