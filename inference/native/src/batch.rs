//! One step's work as it comes from JS, and the checks that make it safe to index with. Nothing below this file checks again.

pub mod adjustments;
pub mod copies;

use self::adjustments::Adjustments;
use self::copies::Copies;
use crate::error::{Error, Result};
use crate::kv_pool::KvPool;
use crate::model::Shape;
use crate::sampler::Sampling;
use crate::sampler::logprobs::MAX_TOP;

/// See `ForwardBatch` in forward-batch.ts: the same fields in the same order.
#[derive(Default)]
pub struct Batch {
    pub token_ids: Vec<i32>,
    pub positions: Vec<i32>,
    pub slots: Vec<i32>,
    pub query_starts: Vec<i32>,
    pub context_lens: Vec<i32>,
    pub block_tables: Vec<i32>,
    pub max_blocks: usize,
    pub sample_rows: Vec<i32>,
    pub temperatures: Vec<f32>,
    pub top_ps: Vec<f32>,
    pub top_ks: Vec<i32>,
    pub seeds: Vec<u32>,
    /// Empty where no sample uses it.
    pub min_ps: Vec<f32>,
    pub adjustments: Adjustments,
    /// Empty where no sample asks; −1 for one that does not.
    pub num_logprobs: Vec<i32>,
    pub copies: Copies,
}

impl Batch {
    pub fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    pub fn num_seqs(&self) -> usize {
        self.context_lens.len()
    }

    /// Fails with the name of the first field that is out of range.
    pub fn check(&self, shape: &Shape, pool: &KvPool) -> Result<()> {
        let (num_tokens, num_seqs) = (self.num_tokens(), self.num_seqs());
        let (num_samples, block_size) = (self.sample_rows.len(), pool.layout.block_size);
        let ensure = |holds: bool, field: &str| {
            if holds {
                Ok(())
            } else {
                Err(Error::new(format!("{field} is out of range")))
            }
        };
        let within = |values: &[i32], end: usize| {
            values
                .iter()
                .all(|value| *value >= 0 && (*value as usize) < end)
        };
        ensure(
            num_tokens > 0 && within(&self.token_ids, shape.vocab_size),
            "tokenIds",
        )?;
        ensure(
            self.positions.len() == num_tokens && within(&self.positions, shape.context_length),
            "positions",
        )?;
        ensure(
            self.slots.len() == num_tokens && within(&self.slots, pool.num_slots()),
            "slots",
        )?;
        let mut slots = self.slots.clone();
        slots.sort_unstable();
        ensure(slots.windows(2).all(|pair| pair[0] != pair[1]), "slots")?; // Two writers of one slot would race.
        let starts = &self.query_starts;
        ensure(
            starts.len() == num_seqs + 1
                && starts[0] == 0
                && starts[num_seqs] as usize == num_tokens,
            "queryStarts",
        )?;
        ensure(
            starts.windows(2).all(|pair| pair[0] < pair[1]),
            "queryStarts",
        )?;
        let capacity = self
            .max_blocks
            .checked_mul(block_size)
            .filter(|all| i32::try_from(*all).is_ok())
            .unwrap_or(0);
        ensure(
            self.context_lens
                .iter()
                .all(|len| *len > 0 && *len as usize <= capacity),
            "contextLens",
        )?;
        ensure(
            self.block_tables.len() == num_seqs * self.max_blocks,
            "blockTables",
        )?;
        for seq in 0..num_seqs {
            let len = self.context_lens[seq] as usize;
            let used = &self.block_tables[seq * self.max_blocks..][..len.div_ceil(block_size)];
            ensure(within(used, pool.num_blocks), "blockTables")?;
            let rows = starts[seq] as usize..starts[seq + 1] as usize;
            ensure(within(&self.positions[rows], len), "positions")?;
        }
        self.copies.check(pool)?;
        ensure(within(&self.sample_rows, num_tokens), "sampleRows")?;
        ensure(
            self.temperatures.len() == num_samples
                && self
                    .temperatures
                    .iter()
                    .all(|each| each.is_finite() && *each >= 0.0),
            "temperatures",
        )?;
        ensure(
            self.top_ps.len() == num_samples
                && self.top_ps.iter().all(|each| *each > 0.0 && *each <= 1.0),
            "topPs",
        )?;
        ensure(
            self.top_ks.len() == num_samples && self.top_ks.iter().all(|each| *each >= 0),
            "topKs",
        )?;
        ensure(self.seeds.len() == num_samples, "seeds")?;
        let is_per_sample = |len: usize| len == 0 || len == num_samples;
        ensure(
            is_per_sample(self.min_ps.len())
                && self.min_ps.iter().all(|each| (0.0..=1.0).contains(each)),
            "minPs",
        )?;
        ensure(
            self.adjustments.are_sound(num_samples, shape.vocab_size),
            "adjustments",
        )?;
        ensure(
            is_per_sample(self.num_logprobs.len())
                && self
                    .num_logprobs
                    .iter()
                    .all(|each| (-1..=MAX_TOP as i32).contains(each)),
            "numLogprobs",
        )
    }

    /// Alternatives whose logprobs a sample asks for beside its own; none when it asks for no logprobs.
    pub fn logprobs_of(&self, sample: usize) -> Option<usize> {
        let count = self.num_logprobs.get(sample).copied()?;
        usize::try_from(count).ok()
    }

    /// Columns of the alternatives of this step.
    pub fn max_top(&self) -> usize {
        let most = self.num_logprobs.iter().copied().max().unwrap_or(0);
        usize::try_from(most).unwrap_or(0)
    }

    pub fn sampling(&self, sample: usize) -> Sampling {
        let row = self.sample_rows[sample] as usize;
        Sampling {
            temperature: self.temperatures[sample],
            min_p: self.min_ps.get(sample).copied().unwrap_or(0.0),
            top_k: self.top_ks[sample] as usize,
            top_p: self.top_ps[sample],
            seed: self.seeds[sample],
            position: self.positions[row] as u32 + 1,
        }
    }
}

#[cfg(test)]
mod tests;
