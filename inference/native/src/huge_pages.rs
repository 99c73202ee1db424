//! Zeroed buffers in huge pages where the system has them: a large buffer read again and again otherwise spends its time
//! looking addresses up. Elsewhere they are ordinary memory. It belongs to the system until it is first written.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::MmapMut;

use crate::error::{Error, Result};

/// Bytes of a huge page, on x86-64 and mostly on Arm.
const PAGE: usize = 2 << 20;
/// Bytes that buffers of less are cut from, one after the other.
const CHUNK: usize = 16 * PAGE;
/// Alignment of a buffer: a cache line, and a vector of 512 bits.
const LINE: usize = 64;

/// What may be made of zeroed bytes and needs no drop.
///
/// # Safety
/// All bits zero are a value, and its alignment is at most a line's.
pub unsafe trait Plain: Copy {}

// SAFETY: numbers are; so is an array of what is.
unsafe impl Plain for u8 {}
unsafe impl Plain for i8 {}
unsafe impl Plain for u16 {}
unsafe impl Plain for i32 {}
unsafe impl Plain for u32 {}
unsafe impl Plain for f32 {}
unsafe impl Plain for f16 {}
unsafe impl Plain for bf16 {}
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Cuts buffers, so that small ones share huge pages. What it maps lives as long as the arena or a buffer of it.
#[derive(Default)]
pub struct Arena {
    mapping: Option<Arc<Mapping>>,
    /// Bytes of the mapping that are given away.
    used: usize,
}

/// An owned slice, aligned to a line.
pub struct Buffer<T> {
    at: NonNull<T>,
    len: usize,
    /// What `at` points into; none when the slice is empty.
    _mapping: Option<Arc<Mapping>>,
    marker: PhantomData<T>,
}

/// Memory of the system's, from a page boundary on.
struct Mapping {
    at: NonNull<u8>,
    len: usize,
    _memory: MmapMut,
}

// SAFETY: a mapping is not read or written but through its buffers, which are disjoint and own what they hold.
unsafe impl Send for Mapping {}
unsafe impl Sync for Mapping {}
// SAFETY: as a vector.
unsafe impl<T: Send> Send for Buffer<T> {}
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl Arena {
    /// One whose first `bytes`, each buffer's rounded up to a line, come from one place.
    pub fn with_room(bytes: usize) -> Result<Self> {
        let bytes = bytes_of::<u8>(bytes)?;
        let mapping = (bytes > 0).then(|| Mapping::new(bytes)).transpose()?;
        Ok(Self {
            mapping: mapping.map(Arc::new),
            used: 0,
        })
    }

    /// A zeroed slice of `len`; it may outlive the arena. Fails when the system has no such memory.
    pub fn zeroed<T: Plain>(&mut self, len: usize) -> Result<Buffer<T>> {
        const { assert!(align_of::<T>() <= LINE) };
        let bytes = bytes_of::<T>(len)?;
        if bytes == 0 {
            return Ok(Buffer::default());
        }
        let mapping = match &self.mapping {
            Some(mapping) if bytes <= mapping.len - self.used => mapping,
            _ => {
                self.used = 0;
                self.mapping
                    .insert(Arc::new(Mapping::new(bytes.max(CHUNK))?))
            }
        };
        // SAFETY: `used + bytes` is within the mapping, so the place is too. Nobody else has it: places are given once.
        // It is aligned, as the mapping is, and `used` is a multiple of a line.
        let at = unsafe { mapping.at.add(self.used) }.cast();
        self.used += bytes;
        Ok(Buffer {
            at,
            len,
            _mapping: Some(Arc::clone(mapping)),
            marker: PhantomData,
        })
    }
}

/// A zeroed slice that shares its pages with nobody; see `Arena::zeroed`.
pub fn zeroed<T: Plain>(len: usize) -> Result<Buffer<T>> {
    Arena::with_room(bytes_of::<T>(len)?)?.zeroed(len)
}

/// Bytes of `len` values, in whole lines.
fn bytes_of<T>(len: usize) -> Result<usize> {
    let bytes = len.checked_mul(size_of::<T>());
    bytes
        .filter(|bytes| *bytes <= isize::MAX as usize - 2 * PAGE)
        .map(|bytes| bytes.next_multiple_of(LINE))
        .ok_or_else(|| Error::new(format!("{len} values are more than any memory holds")))
}

impl Mapping {
    fn new(len: usize) -> Result<Self> {
        // A mapping begins at a small page; a huge one's boundary is before the end of this much more.
        let memory = MmapMut::map_anon(len.saturating_add(PAGE));
        let mut memory =
            memory.map_err(|error| Error::new(format!("no memory for {len} bytes: {error}")))?;
        let start = memory.as_mut_ptr();
        let skipped = start.align_offset(PAGE).min(PAGE);
        // Systems without huge pages refuse, and lose nothing but speed.
        #[cfg(target_os = "linux")]
        let _ = memory.advise_range(memmap2::Advice::HugePage, skipped, len);
        // SAFETY: `skipped` is at most `PAGE`, which the mapping has beside `len`.
        let at = unsafe { NonNull::new_unchecked(start.add(skipped)) };
        Ok(Self {
            at,
            len,
            _memory: memory,
        })
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self {
            at: NonNull::dangling(),
            len: 0,
            _mapping: None,
            marker: PhantomData,
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values lie there, zeroed or written since, for as long as the mapping lives.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and no other buffer has this place.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests;
