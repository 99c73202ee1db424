//! A fixed team of threads that runs one job at a time. A job is a sequence of phases; the units of a phase are claimed,
//! not dealt, so a thread that the system has put aside, or that wakes late, delays nobody: the others do its share.
//! Between jobs all threads sleep, and within one those that wait for long: an idle engine uses no CPU, a held-up one little.

mod phases;
#[cfg(test)]
mod tests;
mod waiting;

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use self::phases::Phases;
use self::waiting::Waiting;

type Job = &'static (dyn Fn(&Member<'_>) + Sync);

struct State {
    /// None once the job is over: who wakes after that has missed it.
    job: Option<Job>,
    /// Counts jobs, so that a thread never runs one twice.
    generation: u64,
    /// The number of the job's first phase.
    first_phase: u32,
    is_closing: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// Threads, other than the caller of `run`, that hold the job. Raised under the lock.
    inside: AtomicUsize,
    /// The caller of `run`, for `inside` to fall to 0.
    leaving: Waiting,
    phases: Phases,
    /// Held while a job runs: several models may share a team.
    turn: Mutex<()>,
}

pub struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Team {
    /// `num_threads` includes the thread that calls `run`.
    pub fn new(num_threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                job: None,
                generation: 0,
                first_phase: 0,
                is_closing: false,
            }),
            wake: Condvar::new(),
            inside: AtomicUsize::new(0),
            leaving: Waiting::default(),
            phases: Phases::default(),
            turn: Mutex::default(),
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

    /// Runs `job` on the threads of the team that come in time, this one as 0, and returns when all its phases are done.
    /// Jobs of several callers come one after the other; a job runs no other.
    /// On every thread the job must call `Member::each` the same number of times with the same totals.
    pub fn run(&self, job: &(dyn Fn(&Member<'_>) + Sync)) {
        // SAFETY: the reference outlives its use: a thread takes the job and raises `inside` under the lock; below, the job
        // is taken back under the lock, and `inside` is awaited before this function returns.
        let job: Job = unsafe { std::mem::transmute::<&(dyn Fn(&Member<'_>) + Sync), Job>(job) };
        let turn = self.shared.turn.lock();
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        let first_phase = self.shared.phases.current();
        {
            let mut state = self.shared.lock();
            state.job = Some(job);
            state.generation += 1;
            state.first_phase = first_phase;
        }
        self.shared.wake.notify_all();
        guarded(job, &Member::new(&self.shared, 0, first_phase));
        self.shared.lock().job = None;
        let Shared {
            inside, leaving, ..
        } = &*self.shared;
        leaving.until(|| inside.load(Ordering::Acquire) == 0);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        let (job, first_phase) = {
            let mut state = shared.lock();
            loop {
                if state.is_closing {
                    return;
                }
                if let Some(job) = state.job
                    && state.generation != seen
                {
                    seen = state.generation;
                    shared.inside.fetch_add(1, Ordering::Relaxed);
                    break (job, state.first_phase);
                }
                state = shared
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        guarded(job, &Member::new(shared, index, first_phase));
        shared.inside.fetch_sub(1, Ordering::Release);
        shared.leaving.wake();
    }
}

/// A panic in one thread would leave a unit undone and the others waiting for ever: the process ends and is restarted.
fn guarded(job: Job, member: &Member<'_>) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(member))).is_err() {
        std::process::abort();
    }
}

/// One thread's part in a job.
pub struct Member<'a> {
    shared: &'a Shared,
    /// Unique among the threads of the team, from 0.
    pub index: usize,
    phase: Cell<u32>,
}

impl<'a> Member<'a> {
    fn new(shared: &'a Shared, index: usize, first_phase: u32) -> Self {
        Self {
            shared,
            index,
            phase: Cell::new(first_phase),
        }
    }

    /// The next phase: claims ranges of at most `chunk` of the units 0 … `total` − 1 and works on them. Returns when all
    /// units are done, by whichever thread; what any thread wrote in the phase can then be read by all.
    pub fn each(&self, total: usize, chunk: usize, mut work: impl FnMut(Range<usize>)) {
        if total == 0 {
            return;
        }
        let phase = self.phase.replace(self.phase.get().wrapping_add(1));
        let phases = &self.shared.phases;
        while let Some(range) = phases.claim(phase, total, chunk) {
            let len = range.len();
            work(range);
            phases.finish(phase, total, len);
        }
        phases.await_end(phase);
    }
}
