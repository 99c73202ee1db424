//! A buffer that a team of threads writes in disjoint parts.

use std::cell::UnsafeCell;
use std::marker::PhantomData;

/// Hands out overlapping mutable views without a lock; the phases of a step decide who may touch what.
pub struct Shared<T> {
    at: *mut T,
    len: usize,
    /// Set when the buffer is owned, not borrowed.
    owned: Option<Vec<T>>,
    marker: PhantomData<UnsafeCell<T>>,
}

// SAFETY: access goes through `slice`, whose callers promise disjointness.
unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T: Copy + Default> Shared<T> {
    pub fn zeroed(len: usize) -> Self {
        let mut owned = vec![T::default(); len];
        Self {
            at: owned.as_mut_ptr(),
            len,
            owned: Some(owned),
            marker: PhantomData,
        }
    }

    /// Views a buffer that outlives the step.
    pub fn borrow(buffer: &mut [T]) -> Self {
        Self {
            at: buffer.as_mut_ptr(),
            len: buffer.len(),
            owned: None,
            marker: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// Until the next barrier no other thread writes to this part, and none reads it if this one writes.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "a view beyond its buffer"
        );
        // SAFETY: in range by the check above, valid as long as self; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(start), len) }
    }

    /// The owned buffer; empty for a borrowed one.
    pub fn into_vec(self) -> Vec<T> {
        self.owned.unwrap_or_default()
    }
}
