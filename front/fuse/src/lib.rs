//! ntio_fuse
