//! The pool when it is empty: for test binaries of their own, because the pool belongs to the process.

use nt_ex::pool::{self, PoolKind};

/// Does something while all memory is taken: the large pieces first, then every small size.
pub fn without_memory<T>(body: impl FnOnce() -> T) -> T {
    let mut taken = Vec::new();
    let mut take = |size| {
        while let Some(block) = pool::allocate(size, pool::tag(b"tAll"), PoolKind::NonPaged) {
            taken.push(block);
        }
    };
    (12..=40).rev().for_each(|power| take(1 << power));
    (1..=256).rev().for_each(|units| take(units * 16));
    let result = body();
    taken.into_iter().for_each(pool::free);
    result
}
