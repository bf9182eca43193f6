//! The layout tables of the ledgers, asserted against every field at compile time.
