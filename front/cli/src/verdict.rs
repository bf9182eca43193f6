//! Exit codes, and failures that carry one.
//!
//! Room: front/cli. Source: the command line's contract, "Exit codes".

use std::fmt;
use std::io::Write;

/// Fine.
pub(crate) const FINE: u8 = 0;
/// A finding: a violation, a failed check, a driver that returned an error.
pub(crate) const FINDINGS: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Not a driver image, or imports that are missing.
pub(crate) const CANNOT_LOAD: u8 = 3;
/// ntio itself failed.
pub(crate) const BROKEN: u8 = 125;
/// The command cannot be executed, as shells have it.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found, as shells have it.
pub(crate) const NOT_FOUND: u8 = 127;
/// Interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// A failure of the command as a whole.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(BROKEN, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Writes data to stdout; a reader that has had enough (`| head`) is no failure.
pub(crate) fn out(text: &str) -> Result<u8, Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::broken(format!("stdout: {error}")))
        }
        _ => Ok(FINE),
    }
}

/// Says a line on stderr; where nobody can read it, nobody misses it.
pub(crate) fn say(line: &str) {
    let _unheard = writeln!(std::io::stderr().lock(), "{line}");
}
