//! The last phase of a step: a token for each sampled row, and logprobs where they are asked for.

use super::step::Step;
use crate::error::Result;
use crate::executor::Logprobs;
use crate::sampler::{best, logprobs, sample};
use crate::shared::Shared;

/// Where a step's logprobs go; see `Logprobs`.
pub struct LogprobSlots {
    sampled: Shared<f32>,
    top_ids: Shared<i32>,
    top_values: Shared<f32>,
}

impl LogprobSlots {
    /// Views `logprobs`, which outlives the step; no room when no sample asks.
    pub fn of(logprobs: Option<&mut Logprobs>) -> Self {
        match logprobs {
            Some(logprobs) => Self {
                sampled: Shared::borrow(&mut logprobs.sampled),
                top_ids: Shared::borrow(&mut logprobs.top_ids),
                top_values: Shared::borrow(&mut logprobs.top_values),
            },
            None => Self {
                sampled: Shared::new(),
                top_ids: Shared::new(),
                top_values: Shared::new(),
            },
        }
    }
}

// SAFETY of every `unsafe` block in this impl: as in step.rs; each sample is claimed by one thread.
impl Step<'_> {
    pub fn sample(&self) -> Result<()> {
        let mut outcome = Ok(());
        self.member.each(self.batch.sample_rows.len(), 1, |rows| {
            for row in rows {
                if let Err(error) = self.sample_row(row) {
                    outcome = Err(error);
                }
            }
        });
        outcome
    }

    fn sample_row(&self, row: usize) -> Result<()> {
        let vocab = self.model.shape.vocab_size;
        let logits = unsafe { self.work.logits.slice(row * vocab, vocab) };
        let sampling = self.batch.sampling(row);
        let adjustments = self.batch.adjustments.row(row);
        let id = if sampling.is_greedy() && adjustments.is_empty() {
            best(self.kernels, logits)?.0
        } else {
            // The logits stay as they are for those who ask; the sampler works on a copy.
            let copy = self.copy_of(logits);
            adjustments.apply(copy);
            sample(self.kernels, copy, sampling)?
        };
        unsafe { self.work.sampled.slice(row, 1)[0] = id };
        match self.batch.logprobs_of(row) {
            Some(count) => self.take_logprobs(row, logits, id, count),
            None => Ok(()),
        }
    }

    fn take_logprobs(&self, row: usize, logits: &[f32], id: u32, count: usize) -> Result<()> {
        let normaliser = logprobs::normaliser(self.kernels, self.copy_of(logits))?;
        let of = |id: u32| logprobs::logprob(logits[id as usize], normaliser);
        let max_top = self.batch.max_top();
        let (sampled, ids, values) = unsafe {
            (
                self.logprobs.sampled.slice(row, 1),
                self.logprobs.top_ids.slice(row * max_top, max_top),
                self.logprobs.top_values.slice(row * max_top, max_top),
            )
        };
        sampled[0] = of(id);
        for (at, id) in logprobs::top(logits, count).into_iter().enumerate() {
            (ids[at], values[at]) = (id as i32, of(id));
        }
        Ok(())
    }

    #[allow(clippy::mut_from_ref)]
    fn copy_of(&self, logits: &[f32]) -> &mut [f32] {
        let copy = unsafe { self.own().logits.slice(0, logits.len()) };
        copy.copy_from_slice(logits);
        copy
    }
}
