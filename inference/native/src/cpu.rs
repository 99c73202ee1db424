//! The CPU executor: one team of threads walks the layers in phases. Rows are split across threads, never a reduction,
//! so a token's result does not depend on what else is in the batch or on the number of threads.

#[cfg(test)]
mod architecture_tests;
mod attention;
pub mod encoder;
mod heads;
mod products;
mod projection;
mod sampling;
mod step;
#[cfg(test)]
mod tests;
mod workspace;

use std::sync::{Arc, Mutex, PoisonError};

use self::sampling::LogprobSlots;
use self::step::{Memory, Step};
use self::workspace::Workspace;
use crate::batch::Batch;
use crate::error::Result;
use crate::executor::{Executor, Logprobs, StepOutput};
use crate::kernels::Kernels;
use crate::kv_pool::KvPool;
use crate::model::Model;
use crate::shared::Shared;
use crate::threads::Team;

pub struct CpuExecutor {
    model: Model,
    pool: KvPool,
    kernels: Kernels,
    team: Arc<Team>,
    /// Kept from step to step: fresh memory would cost a page fault for every 4 KiB of it.
    work: Workspace,
}

impl Executor for CpuExecutor {
    fn forward(&mut self, batch: &Batch, wants_logits: bool) -> Result<StepOutput> {
        batch.check(&self.model.shape, &self.pool)?;
        self.work.fit(&self.kernels, &self.model.shape, batch);
        self.pool.copy_blocks(batch.copies.iter());
        let memory = Memory {
            pool: Shared::borrow(&mut self.pool.data),
            layout: self.pool.layout,
        };
        let runs = attention::runs_of(batch, &self.model.shape);
        let slots = heads::slots_of(batch, self.pool.layout);
        let mut logprobs = Logprobs::for_batch(batch);
        let logprob_slots = LogprobSlots::of(logprobs.as_mut());
        let outcome = Mutex::new(Ok(()));
        self.team.run(&|member| {
            let step = Step {
                model: &self.model,
                kernels: &self.kernels,
                memory: &memory,
                batch,
                runs: &runs,
                slots: &slots,
                work: &self.work,
                logprobs: &logprob_slots,
                num_threads: self.team.len(),
                member,
            };
            if let Err(error) = step.run() {
                *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
            }
        });
        outcome
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)?;
        let num_samples = batch.sample_rows.len();
        // SAFETY: the team is done; nobody writes.
        let (ids, logits) = unsafe {
            let logits = num_samples * self.model.shape.vocab_size;
            (
                self.work.sampled.slice(0, num_samples),
                self.work.logits.slice(0, logits),
            )
        };
        Ok(StepOutput {
            sampled_ids: ids.to_vec(),
            logits: wants_logits.then(|| logits.to_vec()),
            logprobs,
        })
    }
}

impl CpuExecutor {
    pub fn new(model: Model, pool: KvPool, kernels: Kernels, num_threads: usize) -> Self {
        Self::on(Arc::new(Team::new(num_threads)), model, pool, kernels)
    }

    /// Another model with a pool of its own, on the same threads.
    pub fn beside(&self, model: Model, pool: KvPool) -> Self {
        Self::on(Arc::clone(&self.team), model, pool, self.kernels)
    }

    fn on(team: Arc<Team>, model: Model, pool: KvPool, kernels: Kernels) -> Self {
        Self {
            work: Workspace::new(team.len()),
            model,
            pool,
            kernels,
            team,
        }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn pool(&self) -> &KvPool {
        &self.pool
    }

    pub fn kernels(&self) -> Kernels {
        self.kernels
    }
}
