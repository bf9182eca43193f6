//! Manual attachment and what is found by name.
//!
//! Room: drivers/fltmgr. Called by: `exports`, machines. IRQL: PASSIVE_LEVEL. Locks: the lists, none while a driver's
//! routine runs. Source: FltAttachVolume, FltDetachVolume pages; rules FLT-I-06 to FLT-I-09, FLT-I-13.

use crate::altitude::Altitude;
use crate::filter::{Filter, FltMgr, Instance, related};
use crate::volume::Volume;
use nt_abi::flt::{FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT, FLTFL_INSTANCE_TEARDOWN_MANUAL};
use nt_abi::{NtResult, NtStatus};
use nt_cell::callout;
use nt_ex::pool;
use nt_ke::Kernel;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl FltMgr {
    /// Returns the volume of a name; VOLUME_NOT_FOUND when there is none (FLT-I-13).
    pub fn volume_named(&self, name: &str) -> NtResult<Arc<Volume>> {
        let found = self.volumes().into_iter().find(|volume| volume.name().eq_ignore_ascii_case(name));
        found.ok_or(NtStatus::FLT_VOLUME_NOT_FOUND.error())
    }

    /// Returns the filter of a name; FILTER_NOT_FOUND when there is none.
    pub fn filter_named(&self, name: &str) -> NtResult<Arc<Filter>> {
        let found = self.filters().into_iter().find(|filter| filter.name().eq_ignore_ascii_case(name));
        found.ok_or(NtStatus::FLT_FILTER_NOT_FOUND.error())
    }

    /// FltAttachVolume (`altitude` absent: the default one) and FltAttachVolumeAtAltitude (FLT-I-06, FLT-I-07).
    pub fn attach_manually(
        &self,
        kernel: &Kernel,
        filter: &Arc<Filter>,
        volume: &Arc<Volume>,
        name: Option<&str>,
        altitude: Option<&str>,
    ) -> NtResult<Arc<Instance>> {
        let at = altitude.map_or_else(|| Ok(filter.altitude.clone()), Altitude::parse)?;
        let name = name.unwrap_or(&filter.instance_name);
        let attached = self.attach(kernel, filter, volume, name, at, FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT);
        attached.map_err(|error| match (error.status(), altitude) {
            (NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION, None) => NtStatus::OBJECT_NAME_COLLISION.error(),
            _ => error,
        })
    }

    /// FltDetachVolume: without a name the filter's highest instance; the filter is asked first (FLT-I-08).
    pub fn detach_manually(&self, filter: &Arc<Filter>, volume: &Arc<Volume>, name: Option<&str>) -> NtResult<()> {
        let instances = volume.instances();
        let found = instances.iter().find(|instance| {
            Arc::ptr_eq(&instance.filter, filter) && name.is_none_or(|name| instance.name.eq_ignore_ascii_case(name))
        });
        let instance = found.ok_or(NtStatus::FLT_INSTANCE_NOT_FOUND.error())?;
        if instance.going.load(Ordering::Acquire) {
            return NtStatus::FLT_DELETING_OBJECT.fail();
        }
        let status = match (&filter.native, filter.routines.query_teardown) {
            (Some(native), _) => native.query_teardown(),
            (None, None) => NtStatus::FLT_DO_NOT_DETACH,
            (None, Some(routine)) => {
                let related = related(instance, volume)?;
                let answer = callout::call(routine, &[related.addr(), 0]);
                pool::free(related);
                answer.map_or_else(|raised| raised.status, |status| NtStatus(status as u32))
            }
        };
        if !status.is_success() {
            return status.fail();
        }
        self.tear_down(instance, FLTFL_INSTANCE_TEARDOWN_MANUAL);
        Ok(())
    }
}
