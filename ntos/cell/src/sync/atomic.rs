//! Atomics on the machine of a model check, under the names and shapes of `core::sync::atomic`.
//!
//! Room: ntos/cell, feature `shuttle` only. Calls: `buffers`. A store that is not SeqCst is x86's MOV and waits in the buffer; a
//! SeqCst store and all that reads and writes are locked instructions. A load's ordering asks nothing of the machine.

use super::buffers::{self, Word};
use core::fmt;
pub use core::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// What keeps a compiler from reordering: nothing to the machine.
pub fn compiler_fence(_: Ordering) {}

/// MFENCE for `SeqCst`; the weaker ones are nothing to the machine.
pub fn fence(order: Ordering) {
    if order == Ordering::SeqCst {
        buffers::drain();
    }
}

macro_rules! atomics {
    ($($(#[$what:meta])* $name:ident($of:ty) from $bits:ident $back:expr;)+) => {$(
        $(#[$what])*
        #[derive(Default)]
        pub struct $name {
            word: OnceLock<Arc<Word>>,
            first: $of,
        }

        impl $name {
            /// Makes one.
            pub const fn new(first: $of) -> Self {
                Self { word: OnceLock::new(), first }
            }
            fn word(&self) -> &Arc<Word> {
                self.word.get_or_init(|| Arc::new(Word::new(self.first as u64)))
            }
            fn back($bits: u64) -> $of {
                $back
            }
            /// As the host's.
            pub fn load(&self, _: Ordering) -> $of {
                Self::back(buffers::load(self.word()))
            }
            /// As the host's.
            pub fn store(&self, value: $of, order: Ordering) {
                if order == Ordering::SeqCst {
                    self.swap(value, order);
                } else {
                    buffers::store(self.word(), value as u64);
                }
            }
            /// As the host's.
            pub fn swap(&self, value: $of, _: Ordering) -> $of {
                self.change(|_| Some(value))
            }
            /// As the host's.
            ///
            /// # Errors
            /// The value, when it is not `current`.
            pub fn compare_exchange(&self, current: $of, new: $of, _: Ordering, _: Ordering) -> Result<$of, $of> {
                let was = self.change(|was| (was == current).then_some(new));
                if was == current { Ok(was) } else { Err(was) }
            }
            /// As the host's; x86 knows no weak one.
            ///
            /// # Errors
            /// The value, when it is not `current`.
            pub fn compare_exchange_weak(&self, current: $of, new: $of, a: Ordering, b: Ordering) -> Result<$of, $of> {
                self.compare_exchange(current, new, a, b)
            }
            fn change(&self, change: impl FnOnce($of) -> Option<$of>) -> $of {
                Self::back(buffers::change(self.word(), |was| change(Self::back(was)).map(|new| new as u64)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )+};
}

macro_rules! numbers {
    ($($name:ident($of:ty))+) => {$(
        atomics! {
            /// A number.
            $name($of) from bits bits as $of;
        }

        impl $name {
            /// As the host's.
            pub fn fetch_add(&self, more: $of, _: Ordering) -> $of {
                self.change(|was| Some(was.wrapping_add(more)))
            }
            /// As the host's.
            pub fn fetch_sub(&self, less: $of, _: Ordering) -> $of {
                self.change(|was| Some(was.wrapping_sub(less)))
            }
            /// As the host's.
            pub fn fetch_or(&self, bits: $of, _: Ordering) -> $of {
                self.change(|was| Some(was | bits))
            }
        }
    )+};
}

atomics! {
    /// A flag.
    AtomicBool(bool) from bits bits != 0;
}
numbers! { AtomicU8(u8) AtomicU32(u32) AtomicI32(i32) AtomicU64(u64) AtomicUsize(usize) }
