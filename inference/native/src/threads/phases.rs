//! How a team keeps step: units are claimed by compare-and-swap, a phase ends with its last unit.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::waiting::Waiting;

/// Which phase the team is in and how far it is. A phase opens when all units of the one before are done.
#[derive(Default)]
pub struct Phases {
    /// The phase in the upper half, its next unclaimed unit in the lower.
    claimed: Line<AtomicU64>,
    /// Units of this phase that are done.
    done: Line<AtomicUsize>,
    waiting: Line<Waiting>,
}

/// Keeps counters that different threads touch out of each other's cache line.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

impl Phases {
    pub fn current(&self) -> u32 {
        (self.claimed.0.load(Ordering::Acquire) >> 32) as u32
    }

    pub fn claim(&self, phase: u32, total: usize, chunk: usize) -> Option<Range<usize>> {
        let mut seen = self.claimed.0.load(Ordering::Acquire);
        loop {
            let start = (seen & u64::from(u32::MAX)) as usize;
            if (seen >> 32) as u32 != phase || start >= total {
                return None;
            }
            let end = total.min(start + chunk.max(1));
            let wanted = u64::from(phase) << 32 | end as u64;
            match self.claimed.0.compare_exchange_weak(
                seen,
                wanted,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(start..end),
                Err(other) => seen = other,
            }
        }
    }

    pub fn finish(&self, phase: u32, total: usize, len: usize) {
        if self.done.0.fetch_add(len, Ordering::AcqRel) + len == total {
            self.done.0.store(0, Ordering::Relaxed);
            let next = u64::from(phase.wrapping_add(1)) << 32;
            self.claimed.0.store(next, Ordering::Release);
            self.waiting.0.wake();
        }
    }

    /// Returns once all units of `phase` are done.
    pub fn await_end(&self, phase: u32) {
        self.waiting.0.until(|| self.current() != phase);
    }
}
