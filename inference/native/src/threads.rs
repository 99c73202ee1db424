//! A fixed team of threads that runs one closure at a time on all of them. Between jobs they sleep (an idle engine uses
//! no CPU); inside a job they meet at barriers, spinning briefly before they yield.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Turns of a spin before a waiting thread offers its core: phases last microseconds, but cores are shared.
const SPINS: u32 = 3000;

type Job = &'static (dyn Fn(usize) + Sync);

struct State {
    job: Option<Job>,
    /// Counts jobs, so that a thread never runs one twice.
    generation: u64,
    is_closing: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    barrier: Barrier,
}

pub struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    /// `num_threads` includes the thread that calls `run`.
    pub fn new(num_threads: usize) -> Self {
        let num_threads = num_threads.max(1);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                job: None,
                generation: 0,
                is_closing: false,
            }),
            wake: Condvar::new(),
            barrier: Barrier::new(num_threads),
        });
        let threads = (1..num_threads)
            .map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("engine-{index}"))
                    .spawn(move || work(&shared, index))
            })
            .collect::<Result<_, _>>()
            .expect("the system has no thread left for the engine");
        Self { shared, threads }
    }

    pub fn len(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `job(thread)` on every thread of the team, this one as 0, and returns when all are done. All threads must
    /// make the same calls to `barrier`.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        // SAFETY: the reference outlives its use: every thread passes the closing barrier below after its last use of the
        // job and before this function returns.
        let job: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job) };
        {
            let mut state = self
                .shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            state.job = Some(job);
            state.generation += 1;
        }
        self.shared.wake.notify_all();
        guarded(job, 0);
        self.shared.barrier.wait();
    }

    /// Inside a job: returns once every thread of the team has called it.
    pub fn barrier(&self) {
        self.shared.barrier.wait();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_closing = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        let job = {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if state.is_closing {
                    return;
                }
                if state.generation != seen {
                    seen = state.generation;
                    break state.job;
                }
                state = shared
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        if let Some(job) = job {
            guarded(job, index);
        }
        shared.barrier.wait();
    }
}

/// A panic in one thread would leave the others at a barrier for ever: the process ends instead and is restarted.
fn guarded(job: Job, index: usize) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(index))).is_err() {
        std::process::abort();
    }
}

/// A reusable barrier: the last one to come opens it for all.
struct Barrier {
    num_threads: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
}

impl Barrier {
    fn new(num_threads: usize) -> Self {
        Self {
            num_threads,
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
        }
    }

    fn wait(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.num_threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// The share of `total` items that belongs to `thread`: contiguous, sizes differ by at most one.
pub fn share(total: usize, thread: usize, num_threads: usize) -> std::ops::Range<usize> {
    total * thread / num_threads..total * (thread + 1) / num_threads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_a_job_once_on_every_thread_and_waits_for_all() {
        let team = Team::new(3);
        for _ in 0..200 {
            let counts: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
            team.run(&|thread| {
                counts[thread].fetch_add(1, Ordering::SeqCst);
                team.barrier();
                assert!(counts.iter().all(|each| each.load(Ordering::SeqCst) == 1));
            });
            assert!(counts.iter().all(|each| each.load(Ordering::SeqCst) == 1));
        }
    }

    #[test]
    fn shares_cover_everything_once() {
        for total in 0..40 {
            for num_threads in 1..7 {
                let all: Vec<usize> = (0..num_threads)
                    .flat_map(|thread| share(total, thread, num_threads))
                    .collect();
                assert_eq!(all, (0..total).collect::<Vec<_>>());
            }
        }
    }
}
