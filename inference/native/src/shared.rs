//! A buffer that a team of threads writes in disjoint parts.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::UnsafeCell;
use std::marker::PhantomData;

use crate::huge_pages::{Buffer, Plain, zeroed};

/// Hands out overlapping mutable views without a lock; the phases of a step decide who may touch what.
pub struct Shared<T> {
    at: *mut T,
    len: usize,
    /// Empty when the buffer is borrowed.
    owned: Buffer<T>,
    marker: PhantomData<UnsafeCell<T>>,
}

// SAFETY: access goes through `slice`, whose callers promise disjointness.
unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T: Plain> Shared<T> {
    /// An owned buffer without any room; see `grow`.
    pub fn new() -> Self {
        Self::borrow(&mut [])
    }

    /// Views a buffer that outlives the step.
    pub fn borrow(buffer: &mut [T]) -> Self {
        Self {
            at: buffer.as_mut_ptr(),
            len: buffer.len(),
            owned: Buffer::default(),
            marker: PhantomData,
        }
    }

    /// Makes room for at least `len` values; what they are is whatever was left there, or zero. Ends the process when
    /// there is no memory, as a vector would.
    pub fn grow(&mut self, len: usize) {
        if len > self.len {
            // What is never written takes no memory.
            let len = len.next_power_of_two();
            self.owned = zeroed(len).unwrap_or_else(|_| handle_alloc_error(Layout::new::<T>()));
            self.at = self.owned.as_mut_ptr();
            self.len = len;
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    /// Until the next phase no other thread writes to this part, and none reads it if this one writes.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "a view beyond its buffer"
        );
        // SAFETY: in range by the check above, valid as long as self; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(start), len) }
    }

    /// Where `len` values from `start` on are, for threads that share them by parts of each.
    pub fn pointer(&self, start: usize, len: usize) -> *mut T {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "a view beyond its buffer"
        );
        // SAFETY: in range by the check above.
        unsafe { self.at.add(start) }
    }

    /// Writes values to places that are `stride` apart, from `start` on.
    ///
    /// # Safety
    /// As of `slice`, for these places.
    pub unsafe fn scatter<const N: usize>(&self, start: usize, stride: usize, values: [T; N]) {
        let last = (N - 1)
            .checked_mul(stride)
            .and_then(|len| len.checked_add(start));
        assert!(
            last.is_some_and(|last| last < self.len),
            "a place beyond its buffer"
        );
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: up to the last in range by the check above; exclusive by the caller's promise.
            unsafe { *self.at.add(start + index * stride) = value };
        }
    }
}
