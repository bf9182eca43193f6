//! Tunnel caches under their exported names.
//!
//! Room: ntos/fsrtl. Called by: compiled file systems, through the loader. Calls: [`super`]. IRQL: <= APC_LEVEL. Locks: none here.
//! Source: ntifs.h, the FsRtl*TunnelCache pages.

use super::{TUNNEL, Tunneled, now};
use crate::exports::{at, bytes};
use nt_abi::ob::UNICODE_STRING;
use nt_cell::{Foreign, exports};
use nt_ex::pool;

fn name(address: u64) -> Vec<u16> {
    at::<UNICODE_STRING>(address).and_then(|name| nt_rtl::unicode::units(name).ok()).unwrap_or_default()
}

fn counted(tunnel: Foreign<TUNNEL>, cache: &super::Tunnel) {
    tunnel.set(TUNNEL::NumEntries, cache.len() as u16);
}

fn add(tunnel: u64, directory: u64, short: u64, long: u64, by_short: bool, length: u32, data: u64) {
    let Some(tunnel) = at::<TUNNEL>(tunnel) else { return };
    let Ok(cache) = super::of(tunnel) else { return };
    let data = bytes(data, length as usize).to_vec().unwrap_or_default();
    cache.add(now(), directory, by_short, Tunneled { short: name(short), long: name(long), data });
    counted(tunnel, &cache);
}

/// Puts a name into the caller's string; with `grow` one that is too long gets a block of pool, which the caller frees.
fn give(string: Foreign<UNICODE_STRING>, name: &[u16], grow: bool) -> Option<()> {
    let raw = nt_rtl::unicode::bytes_of(name);
    let room = usize::from(string.get(UNICODE_STRING::MaximumLength) & !1);
    if grow && raw.len() > room {
        let block = pool::allocate(raw.len(), pool::tag(b"TunL"), pool::PoolKind::Paged)?;
        string.set_ptr(UNICODE_STRING::Buffer, Some(block));
        string.set(UNICODE_STRING::MaximumLength, raw.len() as u16);
    }
    let fits = if grow { raw.len() } else { raw.len().min(room) };
    string.set(UNICODE_STRING::Length, fits as u16);
    string.region_at(UNICODE_STRING::Buffer, fits).write_from(&raw[..fits]).ok()
}

fn find(tunnel: u64, directory: u64, wanted: u64, short: u64, long: u64, length: u64, data: u64) -> Option<()> {
    let tunnel = at::<TUNNEL>(tunnel)?;
    let cache = super::of(tunnel).ok()?;
    let found = cache.find(now(), directory, &name(wanted));
    counted(tunnel, &cache);
    let found = found?;
    let length = bytes(length, 4);
    let fits = found.data.len().min(length.load::<u32>(0).ok()? as usize);
    give(at(short)?, &found.short, false)?;
    give(at(long)?, &found.long, true)?;
    bytes(data, fits).write_from(&found.data[..fits]).ok()?;
    length.store::<u32>(0, fits as u32).ok()
}

exports! { "ntoskrnl.exe" =>
    Full code FsRtlInitializeTunnelCache(tunnel: u64) { if let Some(tunnel) = at(tunnel) { super::initialize(tunnel); } }
    Full code FsRtlDeleteTunnelCache(tunnel: u64) { if let Some(tunnel) = at(tunnel) { super::delete(tunnel); } }
    Full code FsRtlAddToTunnelCache(tunnel: u64, directory: u64, short: u64, long: u64, by_short: u8, length: u32, data: u64) {
        add(tunnel, directory, short, long, by_short != 0, length, data);
    }
    Full code FsRtlFindInTunnelCache(tunnel: u64, directory: u64, name: u64, short: u64, long: u64, length: u64, data: u64) -> u8 {
        u8::from(find(tunnel, directory, name, short, long, length, data).is_some())
    }
    Full code FsRtlDeleteKeyFromTunnelCache(tunnel: u64, directory: u64) {
        if let Some(tunnel) = at::<TUNNEL>(tunnel) && let Ok(cache) = super::of(tunnel) {
            cache.forget(directory);
            counted(tunnel, &cache);
        }
    }
}
