//! A batch as Node hands it over. Fields and their order are those of native.ts.

use napi::bindgen_prelude::{Float32Array, Int32Array, Uint32Array};
use napi_derive::napi;

use crate::batch::Batch;
use crate::batch::adjustments::Adjustments;
use crate::batch::copies::Copies;

#[napi(object)]
pub struct ForwardBatch {
    pub token_ids: Int32Array,
    pub positions: Int32Array,
    pub slots: Int32Array,
    pub query_starts: Int32Array,
    pub context_lens: Int32Array,
    pub block_tables: Int32Array,
    pub max_blocks: u32,
    pub sample_rows: Int32Array,
    pub temperatures: Float32Array,
    pub top_ps: Float32Array,
    pub top_ks: Int32Array,
    pub seeds: Uint32Array,
    pub min_ps: Option<Float32Array>,
    pub adjustments: Option<AdjustmentRows>,
    pub num_logprobs: Option<Int32Array>,
    pub copies: Option<BlockCopies>,
}

#[napi(object)]
pub struct BlockCopies {
    pub sources: Int32Array,
    pub targets: Int32Array,
}

#[napi(object)]
pub struct AdjustmentRows {
    pub starts: Int32Array,
    pub ids: Int32Array,
    pub biases: Float32Array,
    pub scales: Float32Array,
    pub penalties: Float32Array,
}

/// The arrays belong to Node's garbage collector; a step on another thread needs its own.
pub fn copied(batch: &ForwardBatch) -> Batch {
    let adjustments = batch.adjustments.as_ref();
    let copies = batch.copies.as_ref();
    Batch {
        token_ids: batch.token_ids.to_vec(),
        positions: batch.positions.to_vec(),
        slots: batch.slots.to_vec(),
        query_starts: batch.query_starts.to_vec(),
        context_lens: batch.context_lens.to_vec(),
        block_tables: batch.block_tables.to_vec(),
        max_blocks: batch.max_blocks as usize,
        sample_rows: batch.sample_rows.to_vec(),
        temperatures: batch.temperatures.to_vec(),
        top_ps: batch.top_ps.to_vec(),
        top_ks: batch.top_ks.to_vec(),
        seeds: batch.seeds.to_vec(),
        min_ps: batch
            .min_ps
            .as_ref()
            .map_or_else(Vec::new, |min_ps| min_ps.to_vec()),
        adjustments: adjustments.map_or_else(Adjustments::default, |rows| Adjustments {
            starts: rows.starts.to_vec(),
            ids: rows.ids.to_vec(),
            biases: rows.biases.to_vec(),
            scales: rows.scales.to_vec(),
            penalties: rows.penalties.to_vec(),
        }),
        num_logprobs: batch
            .num_logprobs
            .as_ref()
            .map_or_else(Vec::new, |counts| counts.to_vec()),
        copies: copies.map_or_else(Copies::default, |copies| Copies {
            sources: copies.sources.to_vec(),
            targets: copies.targets.to_vec(),
        }),
    }
}
