//! All names that a driver can import, from every room.
//!
//! Room: machine. Called by: the loader's user, `ntio imports`. Calls: every room's table. House rule 12.

use nt_cell::Export;

/// Returns every row of the export table.
#[must_use]
pub fn exports() -> Vec<&'static [Export]> {
    vec![nt_io::exports::EXPORTS, nt_mm::exports::EXPORTS, nt_rtl::exports::EXPORTS]
}

/// Finds a row by image (any case) and name.
#[must_use]
pub fn find(image: &str, name: &str) -> Option<&'static Export> {
    exports().into_iter().flatten().find(|row| row.name == name && row.image.eq_ignore_ascii_case(image))
}
