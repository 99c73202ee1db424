//! Runs one step. The trait is what the engine needs of any device; the CPU is its first implementation.

use crate::batch::Batch;
use crate::error::Result;

pub struct StepOutput {
    /// One id per sample row.
    pub sampled_ids: Vec<u32>,
    /// [`num_samples`, `vocab_size`], only when asked for.
    pub logits: Option<Vec<f32>>,
}

/// Weights and KV memory live behind this; ids and block tables are all that crosses it.
pub trait Executor: Send {
    /// Checks the batch, then writes keys and values, and samples. On an error nothing was written.
    fn forward(&mut self, batch: &Batch, wants_logits: bool) -> Result<StepOutput>;
}
