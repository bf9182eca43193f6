//! `ntio rules`: every rule of the ledgers and how far it is implemented.
//!
//! Room: front/cli. Calls: nothing.

use crate::args::RulesArgs;
use crate::verdict::Failure;

pub(crate) fn print(args: &RulesArgs) -> Result<u8, Failure> {
    let _ = args;
    Err(Failure::usage("the command 'rules' is not there yet"))
}
