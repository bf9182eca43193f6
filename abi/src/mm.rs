//! Memory manager structures: wdm.h.
