//! Names and create parameters in the words of a Rust program.
//!
//! Room: machine. Called by: front ends, tests. Calls: nothing. Source: ZwCreateFile page.

use nt_io::create::CreateSpec;

/// SYNCHRONIZE.
pub const SYNCHRONIZE: u32 = 0x0010_0000;
/// FILE_GENERIC_READ.
pub const GENERIC_READ: u32 = 0x0012_0089;
/// FILE_GENERIC_WRITE.
pub const GENERIC_WRITE: u32 = 0x0012_0116;
/// FILE_SYNCHRONOUS_IO_NONALERT.
pub const SYNCHRONOUS: u32 = 0x20;
/// FILE_OPEN.
pub const OPEN: u32 = 1;
/// FILE_CREATE.
pub const CREATE: u32 = 2;
/// FILE_OPEN_IF.
pub const OPEN_IF: u32 = 3;
/// FILE_OVERWRITE_IF.
pub const OVERWRITE_IF: u32 = 5;

/// Returns the parameters of a synchronous open for reading and writing that creates a missing file; all sharing
/// allowed. `C:\x` stands for `\??\C:\x`.
#[must_use]
pub fn spec(path: &str) -> CreateSpec {
    let drive = path.as_bytes().get(1) == Some(&b':');
    let full = if drive { format!("\\??\\{path}") } else { path.to_owned() };
    CreateSpec {
        access: GENERIC_READ | GENERIC_WRITE,
        name: full.encode_utf16().collect(),
        disposition: OPEN_IF,
        options: SYNCHRONOUS,
        ..CreateSpec::default()
    }
}
