//! Filter Manager structures and constants: fltKernel.h.
