//! The names that ks.sys exports, as far as drivers of the write path ask for them: all absent.
//!
//! Room: drivers/ks. Read by: the loader, `ntio imports`.

use nt_cell::{Entry, Export, Support};

const fn absent(name: &'static str) -> Export {
    Export {
        image: "ks.sys",
        name,
        support: Support::Absent("Kernel Streaming is not there yet"),
        entry: Entry::Missing,
    }
}

/// What this room exports to drivers.
pub static EXPORTS: &[Export] = &[
    absent("KsWriteFile"),
    absent("KsReadFile"),
    absent("KsStreamIo"),
    absent("KsSynchronousIoControlDevice"),
    absent("KsProbeStreamIrp"),
    absent("KsCreatePin"),
    absent("KsAllocateObjectHeader"),
    absent("KsFreeObjectHeader"),
    absent("KsAllocateDeviceHeader"),
    absent("KsFreeDeviceHeader"),
    absent("KsSetMajorFunctionHandler"),
    absent("KsDispatchIrp"),
    absent("KsInitializeDriver"),
];
