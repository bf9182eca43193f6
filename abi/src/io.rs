//! I/O manager structures and constants: wdm.h, ntifs.h.
