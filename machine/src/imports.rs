//! All names that a driver can import, from every room.
//!
//! Room: machine. Called by: the loader's user, `ntio imports`. Calls: every room's table. House rule 12.

use nt_cell::Export;

/// Returns every row of the export table.
#[must_use]
pub fn exports() -> Vec<&'static [Export]> {
    vec![
        nt_ke::exports::EXPORTS,
        nt_ke::later::exports::EXPORTS,
        nt_ex::exports::EXPORTS,
        nt_ex::locks::exports::EXPORTS,
        nt_ex::lists::exports::EXPORTS,
        nt_ex::extimer::exports::EXPORTS,
        nt_mm::exports::EXPORTS,
        nt_rtl::exports::EXPORTS,
        nt_se::exports::EXPORTS,
        nt_se::rtl::exports::EXPORTS,
        nt_io::exports::EXPORTS,
        nt_io::life::exports::EXPORTS,
        nt_io::ecp::exports::EXPORTS,
        nt_io::lock::exports::EXPORTS,
        nt_io::services::exports::EXPORTS,
        nt_io::handles::exports::EXPORTS,
        nt_io::system_thread::exports::EXPORTS,
        nt_io::notify::exports::EXPORTS,
        nt_io::security::exports::EXPORTS,
        nt_io::keys::exports::EXPORTS,
        nt_io::reparse::exports::EXPORTS,
        nt_io::share::exports::EXPORTS,
        nt_fsrtl::exports::EXPORTS,
        nt_fsrtl::tunnel::exports::EXPORTS,
        nt_fsrtl::notify::exports::EXPORTS,
        nt_fsrtl::oplock::exports::EXPORTS,
        nt_cc::exports::EXPORTS,
        nt_section::exports::EXPORTS,
        nt_fltmgr::exports::EXPORTS,
        nt_fltmgr::calls::exports::EXPORTS,
        nt_fltmgr::oplock::exports::EXPORTS,
        nt_fltmgr::ecp::exports::EXPORTS,
        nt_fltmgr::context::exports::EXPORTS,
        nt_fltmgr::name::exports::EXPORTS,
        nt_fltmgr::deferred::exports::EXPORTS,
        nt_fltmgr::queue::exports::EXPORTS,
        nt_fltmgr::objects::exports::EXPORTS,
        nt_fltmgr::port::exports::EXPORTS,
        nt_ks::exports::EXPORTS,
        nt_ks::avs::exports::EXPORTS,
    ]
}

/// Finds a row by image (any case) and name.
#[must_use]
pub fn find(image: &str, name: &str) -> Option<&'static Export> {
    exports().into_iter().flatten().find(|row| row.name == name && row.image.eq_ignore_ascii_case(image))
}

/// What MmGetSystemRoutineAddress gives for a name of the kernel or the HAL: 0 where nothing plain is exported.
pub(crate) fn routine(name: &str) -> u64 {
    let kernel = |row: &&Export| row.name == name && matches!(row.image, "ntoskrnl.exe" | "hal.dll");
    match exports().into_iter().flatten().find(kernel).map(|row| row.entry) {
        Some(nt_cell::Entry::Code(code)) => code as usize as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn each_name_stands_in_one_table() {
        let mut rows = HashMap::new();
        for row in exports().into_iter().flatten() {
            *rows.entry((row.image, row.name)).or_insert(0) += 1;
        }
        let twice: Vec<_> = rows.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(find("NTOSKRNL.EXE", "MmProbeAndLockPages").is_some() && find("ntoskrnl.exe", "KeSetEvent").is_some());
    }
}
