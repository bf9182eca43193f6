//! ntio
