//! A shared value of a type that its keeper need not know, and that its owner gets back by a comparison of two numbers.
//!
//! Room: ntos/cell. Called by: `nt_ke`, which keeps the rooms' state of a machine and the process of a thread. IRQL: any.
//! Locks: none. `Arc<dyn Any>` alone asks the value for its type through its table, at every request several times.

use core::any::{Any, TypeId};
use std::sync::Arc;

/// The value.
///
/// # Invariants
/// `kind` is the type of the value that `value` points at.
#[derive(Clone)]
pub struct Typed {
    kind: TypeId,
    value: Arc<dyn Any + Send + Sync>,
}

impl core::fmt::Debug for Typed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Typed({:?})", self.kind)
    }
}

impl Typed {
    /// Keeps a value.
    #[must_use]
    pub fn new(value: Arc<dyn Any + Send + Sync>) -> Self {
        Self { kind: (*value).type_id(), value }
    }

    /// Returns the value if it is a `T`.
    #[inline(always)]
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        if self.kind != TypeId::of::<T>() {
            return None;
        }
        // SAFETY: the value is a `T` (invariant, line above) and lives as long as this keeps its count.
        Some(unsafe { &*Arc::as_ptr(&self.value).cast::<T>() })
    }

    /// Returns a count of the value if it is a `T`.
    #[must_use]
    pub fn arc<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.value).downcast::<T>().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_what_it_is_and_as_nothing_else() {
        let kept = Typed::new(Arc::new(5_u32));
        assert_eq!((kept.get::<u32>(), kept.get::<i32>()), (Some(&5), None));
        assert_eq!((kept.arc::<u32>().as_deref(), kept.arc::<u64>()), (Some(&5), None));
    }
}
