//! String imports of the C runtime that are written in Rust: reads go through guarded loads, a fault raises in the driver.
//!
//! Room: loader/ldr. Called by: drivers. IRQL: any. Locks: none. Case folding is ASCII, as the kernel's own `_stricmp` in
//! the C locale; for `_wcsicmp` this is partial.

use nt_abi::{NtStatus, Word};
use nt_cell::{Fault, Region, exports, raise};

fn unit<W: Word>(addr: u64) -> Result<u64, Fault> {
    // SAFETY: a driver's string: never a Rust object (S-3); a bad address is a `Fault`.
    unsafe { Region::from_raw(addr, size_of::<W>()) }.load::<W>(0).map(W::to_bits)
}

fn lower(unit: u64) -> u64 {
    if (0x41..=0x5a).contains(&unit) { unit + 32 } else { unit }
}

fn or_raise<T: Default>(done: Result<T, Fault>) -> T {
    done.unwrap_or_else(|_| {
        raise::raise(NtStatus(0xc000_0005));
        T::default()
    })
}

fn compare<W: Word>(a: u64, b: u64, most: u64) -> Result<i32, Fault> {
    for at in 0..most {
        let step = at.wrapping_mul(size_of::<W>() as u64);
        let (x, y) = (lower(unit::<W>(a.wrapping_add(step))?), lower(unit::<W>(b.wrapping_add(step))?));
        if x != y {
            return Ok(x as i32 - y as i32);
        }
        if x == 0 {
            break;
        }
    }
    Ok(0)
}

fn find<W: Word>(text: u64, wanted: u64, last: bool) -> Result<u64, Fault> {
    let (mut at, mut found) = (text, 0);
    loop {
        let here = unit::<W>(at)?;
        if here == wanted {
            found = at;
        }
        if here == 0 || (found != 0 && !last) {
            return Ok(found);
        }
        at = at.wrapping_add(size_of::<W>() as u64);
    }
}

fn search<W: Word>(text: u64, part: u64) -> Result<u64, Fault> {
    let step = size_of::<W>() as u64;
    let mut start = text;
    loop {
        let mut offset = 0;
        loop {
            let wanted = unit::<W>(part.wrapping_add(offset))?;
            if wanted == 0 {
                return Ok(start);
            }
            let here = unit::<W>(start.wrapping_add(offset))?;
            if here == 0 {
                return Ok(0);
            }
            if here != wanted {
                break;
            }
            offset += step;
        }
        start = start.wrapping_add(step);
    }
}

exports! { "ntoskrnl.exe" =>
    Full raises _stricmp(a: u64, b: u64) -> i32 { or_raise(compare::<u8>(a, b, u64::MAX)) }
    Full raises _strnicmp(a: u64, b: u64, most: u64) -> i32 { or_raise(compare::<u8>(a, b, most)) }
    Partial("folds ASCII only") raises _wcsicmp(a: u64, b: u64) -> i32 { or_raise(compare::<u16>(a, b, u64::MAX)) }
    Partial("folds ASCII only") raises _wcsnicmp(a: u64, b: u64, most: u64) -> i32 { or_raise(compare::<u16>(a, b, most)) }
    Full raises strchr(text: u64, wanted: i32) -> u64 { or_raise(find::<u8>(text, u64::from(wanted as u8), false)) }
    Full raises strrchr(text: u64, wanted: i32) -> u64 { or_raise(find::<u8>(text, u64::from(wanted as u8), true)) }
    Full raises wcschr(text: u64, wanted: u16) -> u64 { or_raise(find::<u16>(text, u64::from(wanted), false)) }
    Full raises wcsrchr(text: u64, wanted: u16) -> u64 { or_raise(find::<u16>(text, u64::from(wanted), true)) }
    Full raises strstr(text: u64, part: u64) -> u64 { or_raise(search::<u8>(text, part)) }
    Full raises wcsstr(text: u64, part: u64) -> u64 { or_raise(search::<u16>(text, part)) }
}
