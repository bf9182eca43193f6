//! The states of a pin, the queue that opens and closes with them, and reset.
//!
//! Room: drivers/ks. Called by: the client's properties, cleanup. Calls: KSPIN_DISPATCH. IRQL: PASSIVE_LEVEL.
//! Locks: the filter's control mutex (KS-ST-15); the queue's. Source: KSPIN_DISPATCH, IOCTL_KS_RESET_STATE pages; rules KS-ST-01
//! to KS-ST-15, KS-RS-01 to KS-RS-07, KS-AV-08.

use super::{AvPin, Flag};
use crate::avs::queue::{self, LEADING, TRAILING};
use crate::avs::{call, finding, pointer, process};
use crate::property;
use nt_abi::ks::*;
use nt_abi::{NtResult, NtStatus};
use nt_io::irp::Irp;
use nt_ke::Mode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl AvPin {
    /// Changes the state, by single steps for pins of the standard transport (KS-ST-02 to KS-ST-06).
    pub fn set_state(self: &Arc<Self>, wanted: u32) -> NtResult<()> {
        if wanted > KSSTATE_RUN {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        self.filter.control.with(|| self.walk(wanted))
    }

    fn walk(self: &Arc<Self>, wanted: u32) -> NtResult<()> {
        let origin = self.state.load(Ordering::Acquire);
        if origin == wanted {
            return Ok(());
        }
        if origin == KSSTATE_STOP {
            self.others_are_there()?;
        }
        self.body().set(KSPIN::DeviceState, wanted);
        let mut now = origin;
        while now != wanted {
            let next = match (self.has(Flag::NoStandardTransport), wanted > now) {
                (true, _) => wanted,
                (false, true) => now + 1,
                (false, false) => now - 1,
            };
            let status = self.step(now, next);
            if status.is_error() && next > now {
                self.body().set(KSPIN::DeviceState, origin);
                while now != origin {
                    let _undone = self.step(now, now - 1); // KS-ST-05
                    now -= 1;
                }
                return status.fail();
            }
            now = next;
        }
        Ok(())
    }

    /// KS-ST-07: other kinds of pins have as many instances as they must.
    fn others_are_there(&self) -> NtResult<()> {
        for id in (0..self.filter.kinds()).filter(|id| *id != self.id()) {
            let necessary = self.filter.kind(id)?.get(KSPIN_DESCRIPTOR_EX::InstancesNecessary);
            if self.filter.instances(id).len() < necessary as usize {
                return NtStatus::DEVICE_NOT_READY.fail();
            }
        }
        Ok(())
    }

    fn step(self: &Arc<Self>, from: u32, to: u32) -> NtStatus {
        let up = to > from;
        if up
            && from == KSSTATE_STOP
            && let Err(error) = self.open_queue()
        {
            return error.status();
        }
        let minimum = self.minimum();
        if !up && from >= minimum && to < minimum {
            self.state.store(to, Ordering::Release);
            process::turn(self.gate(), false);
            self.processing.with(|| ()); // whoever processes now is done when the mutex is free
        }
        let was = self.body().get(KSPIN::ClientState);
        self.body().set(KSPIN::ClientState, to);
        let status = self.callback(KSPIN_DISPATCH::SetDeviceState, &[u64::from(to), u64::from(from)]);
        if status == NtStatus::PENDING {
            finding("KS-V-10", "SetDeviceState returned STATUS_PENDING");
        }
        if status.is_error() && up {
            self.body().set(KSPIN::ClientState, was);
            if from == KSSTATE_STOP {
                self.close_queue();
            }
            return status;
        }
        self.state.store(to, Ordering::Release);
        if up && from < minimum && to >= minimum {
            process::turn(self.gate(), true);
            if self.queue.has_frame(LEADING) {
                process::attempt_pin(self, false); // KS-AV-08 (a)
            }
        }
        if to == KSSTATE_STOP {
            self.close_queue();
        }
        status
    }

    fn open_queue(&self) -> NtResult<()> {
        let mut edges = self.edges.lock();
        edges.drain(..).for_each(pointer::free);
        edges.push(pointer::allocate(self, LEADING, 0)?);
        if self.has(Flag::DistinctTrailingEdge) {
            edges.push(pointer::allocate(self, TRAILING, 0)?);
        }
        self.queue.open(edges[0], edges.get(1).copied());
        Ok(())
    }

    /// KS-ST-11, KS-ST-12: everything ends; frames that are locked elsewhere are waited for.
    fn close_queue(&self) {
        if self.queue.clones() != 0 {
            finding("KS-V-13", "a pin stops while the driver still has clones of its stream pointers");
        }
        queue::finish(self, self.queue.close());
        let frame = nt_ke::current();
        for _ in 0..5000 {
            if self.queue.is_empty() && self.expected.load(Ordering::Acquire) == 0 {
                return;
            }
            let _later = nt_ke::wait::delay(&frame, Mode::Kernel, false, -10_000);
        }
        finding("KS-V-14", "a pin is stopped, and after five seconds a request on it has not ended");
    }

    /// IOCTL_KS_RESET_STATE.
    pub(super) fn reset(self: &Arc<Self>, packet: Irp) -> NtResult<()> {
        let value = property::reset_value(packet)?;
        if value > KSRESET_END {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        if self.body().get(KSPIN::ResetState) == value {
            return Ok(()); // KS-RS-06
        }
        self.body().set(KSPIN::ResetState, value);
        if value == KSRESET_BEGIN {
            queue::finish(self, self.queue.cancel_all());
        }
        let _nothing = self.callback(KSPIN_DISPATCH::Reset, &[u64::from(value)]); // KS-RS-07
        if let Some(code) = self.filter.table().and_then(|table| table.code(KSFILTER_DISPATCH::Reset)) {
            let _nothing = call(code, &[self.filter.body().addr(), u64::from(value)]);
        }
        Ok(())
    }
}
