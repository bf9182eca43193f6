//! Unwind, exception and context records: winnt.h.
