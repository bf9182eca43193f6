//! FsRtlNotify*: what compiled file systems call.
//!
//! Room: ntos/fsrtl. Called by: compiled file systems, through the loader. Calls: `notify`.
//! IRQL: <= APC_LEVEL. Locks: none here. Source: ntifs.h, the FsRtlNotify* pages.
//! The directory's STRING is the file system's: it is read at each report, so that a directory which was renamed goes on.

use super::{Change, Notifier, Place, Watch};
use crate::exports::{at, bytes, code};
use nt_abi::ob::ANSI_STRING;
use nt_cell::{Slab, exports};
use nt_ex::pool;
use std::sync::{Arc, LazyLock};

nt_abi::layout! {
    /// What a PNOTIFY_SYNC points at.
    pub struct NOTIFY_SYNC: 0x10 {
        /// The key of the notifier.
        Key @ 0x00: u64;
    }
}

static NOTIFIERS: LazyLock<Slab<Arc<Notifier>>> = LazyLock::new(Slab::new);

fn notifier(sync: u64) -> Option<Arc<Notifier>> {
    let sync = at::<NOTIFY_SYNC>(sync)?;
    NOTIFIERS.get(sync.get(NOTIFY_SYNC::Key)).map(|found| Arc::clone(&found))
}

/// A counted string of bytes.
struct Counted(Vec<u8>);

impl Counted {
    fn at(address: u64) -> Option<Self> {
        let string = at::<ANSI_STRING>(address)?;
        let length = usize::from(string.get(ANSI_STRING::Length));
        string.region_at(ANSI_STRING::Buffer, length).to_vec().ok().map(Self)
    }

    /// Full names start with a backslash: a Unicode one has a NUL after it.
    fn is_wide(&self) -> bool {
        self.0.len() >= 2 && self.0[1] == 0
    }

    fn units(&self, wide: bool) -> Vec<u16> {
        if wide { nt_rtl::unicode::units_of(&self.0) } else { self.0.iter().map(|&byte| u16::from(byte)).collect() }
    }
}

/// The directory's name where the file system keeps it.
struct Named(u64);

impl Place for Named {
    fn path(&self) -> Vec<u16> {
        let name = Counted::at(self.0);
        name.map(|name| name.units(name.is_wide())).unwrap_or_default()
    }
}

fn initialize(place: u64) -> u32 {
    let Some(sync) = pool::zeroed::<NOTIFY_SYNC>(pool::tag(b"FSns")) else {
        return nt_abi::NtStatus::INSUFFICIENT_RESOURCES.0;
    };
    sync.set(NOTIFY_SYNC::Key, NOTIFIERS.insert(Arc::new(Notifier::new())));
    let _stored = bytes(place, 8).store::<u64>(0, sync.addr());
    0
}

fn uninitialize(place: u64) {
    let Ok(address) = bytes(place, 8).load::<u64>(0) else { return };
    let Some(sync) = at::<NOTIFY_SYNC>(address) else { return };
    if let Some(notifier) = notifier(address) {
        notifier.cleanup_all(None);
    }
    NOTIFIERS.remove(sync.get(NOTIFY_SYNC::Key));
    pool::free(sync);
    let _stored = bytes(place, 8).store::<u64>(0, 0);
}

struct Asked {
    name: u64,
    packet: u64,
    watch: Watch,
}

fn change_directory(sync: u64, asked: Asked) {
    let Some(notifier) = notifier(sync) else { return };
    match at(asked.packet) {
        None => drop(notifier.deleted(Some(asked.watch.list), asked.watch.context)),
        Some(packet) => _ = notifier.watch(asked.watch, Box::new(Named(asked.name)), packet),
    }
}

struct Told {
    target: u64,
    offset: u16,
    stream: u64,
    parent: u64,
    filter: u32,
    action: u32,
    target_context: u64,
    filter_context: u64,
}

fn report(sync: u64, list: u64, told: &Told) {
    let Some(notifier) = notifier(sync).filter(|notifier| notifier.any()) else { return };
    let Some(name) = Counted::at(told.target) else { return };
    let wide = name.is_wide();
    let stream = Counted::at(told.stream).map(|stream| stream.units(wide));
    let parent = Counted::at(told.parent).map(|parent| parent.units(wide));
    let last = if wide { usize::from(told.offset) / 2 } else { usize::from(told.offset) };
    let change = Change {
        path: &name.units(wide),
        last,
        parent: parent.as_deref(),
        stream: stream.as_deref(),
        filter: told.filter,
        action: told.action,
        target: told.target_context,
        filter_context: told.filter_context,
        ..Change::default()
    };
    drop(notifier.report(Some(list), &[change]));
}

exports! { "ntoskrnl.exe" =>
    Full raises FsRtlNotifyInitializeSync(sync: u64) {
        let status = initialize(sync);
        if status != 0 { nt_cell::raise::raise(nt_abi::NtStatus(status)); }
    }
    Full code FsRtlNotifyUninitializeSync(sync: u64) { uninitialize(sync); }
    Full code FsRtlNotifyFullChangeDirectory(sync: u64, list: u64, context: u64, name: u64, tree: u8, ignore: u8, filter: u32, packet: u64, traverse: u64, subject: u64) {
        let watch = Watch { list, context, tree: tree != 0, ignore_buffer: ignore != 0, filter, traverse: code(traverse), subject, allow: None };
        change_directory(sync, Asked { name, packet, watch });
    }
    Full code FsRtlNotifyFilterChangeDirectory(sync: u64, list: u64, context: u64, name: u64, tree: u8, ignore: u8, filter: u32, packet: u64, traverse: u64, subject: u64, allow: u64) {
        let watch = Watch { list, context, tree: tree != 0, ignore_buffer: ignore != 0, filter, traverse: code(traverse), subject, allow: code(allow) };
        change_directory(sync, Asked { name, packet, watch });
    }
    Full code FsRtlNotifyFullReportChange(sync: u64, list: u64, target: u64, offset: u16, stream: u64, parent: u64, filter: u32, action: u32, target_context: u64) {
        report(sync, list, &Told { target, offset, stream, parent, filter, action, target_context, filter_context: 0 });
    }
    Full code FsRtlNotifyFilterReportChange(sync: u64, list: u64, target: u64, offset: u16, stream: u64, parent: u64, filter: u32, action: u32, target_context: u64, filter_context: u64) {
        report(sync, list, &Told { target, offset, stream, parent, filter, action, target_context, filter_context });
    }
    Full code FsRtlNotifyCleanup(sync: u64, list: u64, context: u64) {
        if let Some(notifier) = notifier(sync) { notifier.cleanup(Some(list), context); }
    }
    Full code FsRtlNotifyCleanupAll(sync: u64, list: u64) {
        if let Some(notifier) = notifier(sync) { notifier.cleanup_all(Some(list)); }
    }
}
