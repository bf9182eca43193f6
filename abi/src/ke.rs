//! Kernel objects and processor structures: wdm.h, ntddk.h.
