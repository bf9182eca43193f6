//! The cache as filters, callers and the volume see it, by the rules of cc.md: the native door.
#[path = "../support/mod.rs"]
mod support;

mod birth;
mod closing;
mod copying;
mod failing;
mod flushing;
mod invariants;
mod lazy;
mod mapped;
mod noncached;
mod paging;
mod reading;
mod relied_on;
mod scene;
mod sizes;
mod traces;
