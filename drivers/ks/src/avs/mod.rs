//! AVStream: devices, filters and pins of drivers that describe them by tables and are called back.
//!
//! Room: drivers/ks. Called by: drivers that call KsInitializeDriver. Calls: their dispatch tables. IRQL: PASSIVE_LEVEL,
//! where a page says so DISPATCH_LEVEL. Locks: device, filter control and processing mutexes, in this order (KS-AV-07).
//! Source: the AVStream pages; rules KS-AV-01 to KS-AV-35. What a driver sees (KSDEVICE, KSFILTERFACTORY, KSFILTER, KSPIN) lies
//! in pool behind an [`AVS_EXT`], whose key leads to the Rust object. Not here: splitters, mappings, injection, clocks,
//! allocators, filters that pins of other drivers are connected to.

pub mod bag;
pub mod device;
pub mod exports;
pub mod filter;
pub mod pin;
pub mod pointer;
pub mod process;
pub mod queue;

use nt_abi::ke::KMUTANT;
use nt_abi::ks::{KSDEVICE, KSFILTER, KSFILTERFACTORY, KSGATE, KSPIN};
use nt_abi::{NtResult, NtStatus};
use nt_cell::{CodePtr, Foreign, Slab, callout};
use nt_ex::pool;
use nt_io::system::System;
use nt_ke::dispatcher::{self, kind};
use nt_ke::{Frame, Mode, Mutex};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

nt_abi::layout! {
    /// What lies in front of each structure that a driver gets.
    pub struct AVS_EXT: 0x30 {
        /// A mark that tells ours from other memory.
        Mark @ 0x00: u64;
        /// The key of the Rust object.
        Native @ 0x08: u64;
        /// The AND gate of a filter or a pin (KS-AV-15).
        Gate @ 0x10: KSGATE;
        /// Reserved.
        Spare @ 0x20: [u64; 2];
    }
}

const MARK: u64 = 0x4B53_4156_5354_524D;

/// A Rust object behind a driver's structure.
#[derive(Clone)]
pub enum Object {
    /// KSDEVICE.
    Device(Arc<device::AvDevice>),
    /// KSFILTERFACTORY.
    Factory(Arc<device::Factory>),
    /// KSFILTER.
    Filter(Arc<filter::AvFilter>),
    /// KSPIN.
    Pin(Arc<pin::AvPin>),
}

static OBJECTS: LazyLock<Slab<Object>> = LazyLock::new(Slab::new);

/// A structure of type `T` with its extension in front; the owner frees it.
#[derive(Debug)]
pub struct Block<T> {
    ext: Foreign<AVS_EXT>,
    body: Foreign<T>,
}

impl<T> Block<T> {
    fn new(size: usize) -> NtResult<Self> {
        let block = pool::allocate(AVS_EXT::SIZE + size, pool::tag(b"KsAv"), pool::PoolKind::NonPaged);
        let ext: Foreign<AVS_EXT> = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?.view();
        ext.set(AVS_EXT::Mark, MARK);
        ext.at(AVS_EXT::Gate).set(KSGATE::Count, 1);
        Ok(Self { ext, body: ext.following() })
    }

    /// Returns what the driver sees.
    #[must_use]
    pub fn body(&self) -> Foreign<T> {
        self.body
    }
    pub(crate) fn gate(&self) -> Foreign<KSGATE> {
        self.ext.at(AVS_EXT::Gate)
    }
    /// From here on the driver's pointer leads to `object`.
    pub(crate) fn publish(&self, object: Object) {
        self.ext.set(AVS_EXT::Native, OBJECTS.insert(object));
    }
    /// From here on it leads nowhere.
    pub(crate) fn retire(&self) {
        OBJECTS.remove(self.ext.get(AVS_EXT::Native));
        self.ext.set(AVS_EXT::Native, 0);
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        self.ext.set(AVS_EXT::Mark, 0);
        pool::free(self.ext);
    }
}

/// Returns the Rust object behind a driver's structure.
pub(crate) fn object<T>(body: Foreign<T>) -> Option<Object> {
    let ext = body.preceding::<AVS_EXT>();
    if ext.get(AVS_EXT::Mark) != MARK {
        return None;
    }
    OBJECTS.get(ext.get(AVS_EXT::Native)).map(|object| Object::clone(&object))
}

/// Returns the device that a KSDEVICE stands for.
#[must_use]
pub fn device_of(body: Foreign<KSDEVICE>) -> Option<Arc<device::AvDevice>> {
    if let Object::Device(found) = object(body)? { Some(found) } else { None }
}
/// Returns the factory that a KSFILTERFACTORY stands for.
#[must_use]
pub fn factory_of(body: Foreign<KSFILTERFACTORY>) -> Option<Arc<device::Factory>> {
    if let Object::Factory(found) = object(body)? { Some(found) } else { None }
}
/// Returns the filter that a KSFILTER stands for.
#[must_use]
pub fn filter_of(body: Foreign<KSFILTER>) -> Option<Arc<filter::AvFilter>> {
    if let Object::Filter(found) = object(body)? { Some(found) } else { None }
}
/// Returns the pin that a KSPIN stands for.
#[must_use]
pub fn pin_of(body: Foreign<KSPIN>) -> Option<Arc<pin::AvPin>> {
    if let Object::Pin(found) = object(body)? { Some(found) } else { None }
}

/// Calls a routine of a driver's dispatch table that returns a status; a driver that raises has failed.
pub(crate) fn call(code: CodePtr, arguments: &[u64]) -> NtStatus {
    match callout::call(code, arguments) {
        Ok(status) => NtStatus(status as u32),
        Err(raised) => raised.status,
    }
}

pub(crate) fn finding(rule: &str, message: &str) {
    if let Some(frame) = nt_ke::try_current() {
        System::of(&frame.kernel).finding(rule, "violation", "", message);
    }
}

/// The order of the mutexes: a thread that holds one takes later ones only (KS-AV-07).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// KsAcquireDevice.
    Device,
    /// KsAcquireControl.
    Control,
    /// KsFilterAcquireProcessingMutex, KsPinAcquireProcessingMutex.
    Processing,
}

/// Which levels each thread holds, while somebody listens.
static HELD: LazyLock<Mutex<HashMap<u64, Vec<Level>>>> = LazyLock::new(Mutex::default);

/// A mutex that drivers take by Ks...Acquire... and may hold over calls.
#[derive(Debug)]
pub struct AvMutex {
    object: Foreign<KMUTANT>,
    level: Level,
}

impl AvMutex {
    fn new(level: Level) -> NtResult<Self> {
        let object = pool::zeroed::<KMUTANT>(pool::tag(b"KsMx")).ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        dispatcher::initialize_header(object.at(KMUTANT::Header), kind::MUTANT, 14, 1);
        Ok(Self { object, level })
    }

    fn listened(frame: &Frame) -> bool {
        System::of(&frame.kernel).observer(|_| ()).is_some()
    }

    /// Waits for the mutex; KS-V-11 when the thread holds the same or a later one.
    pub fn acquire(&self) {
        let frame = nt_ke::current();
        if Self::listened(&frame) {
            let mut held = HELD.lock();
            let mine = held.entry(frame.thread.object()).or_default();
            let wrong = mine.iter().any(|level| *level >= self.level);
            mine.push(self.level);
            drop(held);
            if wrong {
                finding(
                    "KS-V-11",
                    "a mutex was taken by a thread that holds the same or a later one: device, control, processing",
                );
            }
        }
        let header = self.object.at(KMUTANT::Header);
        let _mine = nt_ke::wait::wait_for_single(&frame, header, Mode::Kernel, false, None);
    }

    /// Lets it go.
    pub fn release(&self) {
        let frame = nt_ke::current();
        let thread = frame.thread.object();
        let mut held = HELD.lock();
        if let Some(mine) = held.get_mut(&thread) {
            if let Some(at) = mine.iter().rposition(|level| *level == self.level) {
                mine.remove(at);
            }
            if mine.is_empty() {
                held.remove(&thread);
            }
        }
        drop(held);
        let _not_mine = nt_ke::wait::release_mutant(self.object, thread);
    }

    /// Runs `body` with the mutex held.
    pub fn with<R>(&self, body: impl FnOnce() -> R) -> R {
        self.acquire();
        let result = body();
        self.release();
        result
    }
}

impl Drop for AvMutex {
    fn drop(&mut self) {
        pool::free(self.object);
    }
}

/// A word of what a client sent; what it did not send is zero.
fn word(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}
