//! Runs one step. The trait is what the engine needs of any device; the CPU is its first implementation.

use crate::batch::Batch;
use crate::error::Result;

pub struct StepOutput {
    /// One id per sample row.
    pub sampled_ids: Vec<u32>,
    /// [`num_samples`, `vocab_size`] before any adjustment, only when asked for.
    pub logits: Option<Vec<f32>>,
    /// Only when a sample asked.
    pub logprobs: Option<Logprobs>,
}

/// Natural logarithms of probabilities of the raw logits: before adjustments and temperature, as vLLM's default is.
pub struct Logprobs {
    /// [`num_samples`] of the sampled token; NaN where the sample did not ask.
    pub sampled: Vec<f32>,
    /// [`num_samples`, `Batch::max_top`] the most likely tokens, best first; −1 beyond what the sample asked for.
    pub top_ids: Vec<i32>,
    /// As `top_ids`.
    pub top_values: Vec<f32>,
}

impl Logprobs {
    /// Room for what the samples ask for; none when none does.
    pub fn for_batch(batch: &Batch) -> Option<Self> {
        let num_samples = batch.sample_rows.len();
        (0..num_samples).find_map(|sample| batch.logprobs_of(sample))?;
        let num_tops = num_samples * batch.max_top();
        Some(Self {
            sampled: vec![f32::NAN; num_samples],
            top_ids: vec![-1; num_tops],
            top_values: vec![f32::NAN; num_tops],
        })
    }
}

/// Weights and KV memory live behind this; ids and block tables are all that crosses it.
pub trait Executor: Send {
    /// Checks the batch, then writes keys and values, and samples. On an error nothing was written.
    fn forward(&mut self, batch: &Batch, wants_logits: bool) -> Result<StepOutput>;
}
