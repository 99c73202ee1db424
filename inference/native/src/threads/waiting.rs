//! Waiting for other threads of the team: first awake, as they are about to finish a unit; then asleep, as the system has
//! put one of them aside, and what this thread would spin away is what the others, or other processes, need to get on.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, PoisonError};

/// Turns of a spin, some microseconds.
const SPINS: u32 = 100;
/// Offers of the core after that, some ten microseconds where nobody else wants it. Going to sleep and being woken takes
/// as long as this.
const OFFERS: u32 = 50;

/// Threads that wait for a condition which other threads bring about.
#[derive(Default)]
pub struct Waiting {
    num_asleep: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
}

impl Waiting {
    /// Returns once `holds`. Whoever makes it hold calls `wake` afterwards.
    pub fn until(&self, holds: impl Fn() -> bool) {
        for _ in 0..SPINS {
            if holds() {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..OFFERS {
            if holds() {
                return;
            }
            std::thread::yield_now();
        }
        self.sleep_until(holds);
    }

    #[cold]
    fn sleep_until(&self, holds: impl Fn() -> bool) {
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.num_asleep.fetch_add(1, Ordering::Relaxed);
        // With the fence in `wake`: either this thread sees what the other did before it, or the other sees this sleeper.
        fence(Ordering::SeqCst);
        while !holds() {
            bed = self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.num_asleep.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the sleep of those whose condition holds by now; next to nothing where nobody sleeps.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.num_asleep.load(Ordering::Relaxed) == 0 {
            return;
        }
        // A thread between its look and its sleep holds the lock.
        drop(self.bed.lock().unwrap_or_else(PoisonError::into_inner));
        self.alarm.notify_all();
    }

    #[cfg(test)]
    pub fn num_asleep(&self) -> usize {
        self.num_asleep.load(Ordering::Relaxed)
    }
}
