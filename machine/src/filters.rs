//! Filters of a machine: the built-in ones, and what is registered.
//!
//! Room: machine. Called by: `front/cli`, embedding programs. Calls: `nt_fltmgr`. IRQL: PASSIVE_LEVEL.

use crate::Machine;
use nt_abi::{NtResult, NtStatus};
use nt_fltmgr::spy::Spy;
use nt_fltmgr::{Altitude, Filter, FltMgr, MiniFilter, register_native};
use std::sync::Arc;

/// Where altitudes are chosen from when none is given: the group "FSFilter Activity Monitor".
const CHOSEN_FROM: u32 = 385_900;

impl Machine {
    /// Registers and starts a filter that ntio brings along.
    pub fn add_built_in(&self, name: &str, altitude: Option<&str>) -> NtResult<Arc<Filter>> {
        match name {
            "spy" => self.add_filter(Arc::new(Spy::new(altitude))),
            _ => NtStatus::FLT_FILTER_NOT_FOUND.fail(),
        }
    }

    /// Registers and starts a filter written in Rust.
    pub fn add_filter(&self, filter: Arc<dyn MiniFilter>) -> NtResult<Arc<Filter>> {
        let _system = self.enter_system();
        register_native(self.kernel(), filter)
    }

    /// Returns the registered filters: {name, altitude, instances}.
    #[must_use]
    pub fn filters(&self) -> Vec<(String, String, usize)> {
        let Ok(manager) = FltMgr::of(self.kernel()) else { return Vec::new() };
        let volumes = manager.volumes();
        let count = |filter: &Arc<Filter>| {
            let on = |instances: Arc<Vec<Arc<nt_fltmgr::Instance>>>| {
                instances.iter().filter(|each| Arc::ptr_eq(each.filter(), filter)).count()
            };
            volumes.iter().map(|volume| on(volume.instances())).sum()
        };
        let rows = manager.filters();
        rows.iter()
            .map(|filter| (filter.name().to_owned(), filter.altitude().text().to_owned(), count(filter)))
            .collect()
    }

    /// Chooses an altitude that no filter has.
    #[must_use]
    pub fn free_altitude(&self) -> String {
        let taken: Vec<Altitude> =
            self.filters().iter().filter_map(|(_, altitude, _)| Altitude::parse(altitude).ok()).collect();
        let free = |text: &String| Altitude::parse(text).is_ok_and(|altitude| !taken.contains(&altitude));
        (CHOSEN_FROM..).map(|number| number.to_string()).find(free).unwrap_or_default()
    }
}
