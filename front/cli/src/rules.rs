//! `ntio rules`: every rule of the ledgers, how far it is implemented, and the tests that show it.
//!
//! Room: front/cli. Calls: `ntio_rules`, which carries the table.

use crate::args::RulesArgs;
use crate::verdict::{Failure, out};

pub(crate) fn print(args: &RulesArgs) -> Result<u8, Failure> {
    if args.json { out(&(ntio_rules::json() + "\n")) } else { out(&ntio_rules::text()) }
}
