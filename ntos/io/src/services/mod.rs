//! The rest of the file services under their exported names: directories, attributes, volumes, names without a handle.
//!
//! Room: ntos/io. IRQL: PASSIVE_LEVEL. Locks: none of its own. Source: the Zw pages of ntifs.h and wdm.h, "Using Nt and Zw
//! Versions"; rules NT-B-11 to NT-B-13. Not here: what the services do (`directory`, `ea`, `byname`, `info`, `flush`).

pub mod exports;
