//! The attention phase: which tokens attend together, and what becomes of their outputs.

use super::step::Step;
use super::workspace::score_stride;
use crate::batch::Batch;
use crate::kernels::{HeadTask, MAX_ROWS, scratch_len};
use crate::matrix::BLOCK;
use crate::model::Shape;

/// Units a thread, below which they are made smaller: with three for two threads, one waits for half of the time.
const LEAST_UNITS: usize = 4;

/// Neighbouring tokens of one sequence that attend together.
pub struct Run {
    sequence: usize,
    first_token: usize,
    num_tokens: usize,
}

/// Cuts a batch into runs that fit an attention task.
pub fn runs_of(batch: &Batch, shape: &Shape) -> Vec<Run> {
    let most = MAX_ROWS / (shape.num_heads / shape.num_kv_heads);
    let mut runs = Vec::new();
    for sequence in 0..batch.num_seqs() {
        let end = batch.query_starts[sequence + 1] as usize;
        for first_token in (batch.query_starts[sequence] as usize..end).step_by(most) {
            runs.push(Run {
                sequence,
                first_token,
                num_tokens: most.min(end - first_token),
            });
        }
    }
    runs
}

// SAFETY of every `unsafe` block in this impl: as in step.rs.
impl Step<'_> {
    /// Leaves the attention's output, quantised, in the input. A unit is a run and a KV head; where that makes too few to
    /// share out evenly, it is a run and a query head.
    pub fn attention(&self, layer: usize, window: Option<usize>) {
        let shape = &self.model.shape;
        let group = shape.num_heads / shape.num_kv_heads;
        // Outputs are quantised in whole blocks.
        let is_split = self.runs.len() * shape.num_kv_heads < self.num_threads * LEAST_UNITS
            && shape.head_dim.is_multiple_of(BLOCK);
        let heads = if is_split { 1 } else { group };
        let units_of_run = shape.num_heads / heads;
        // The heads of a run lie side by side in each block: where there are runs enough, a thread takes them all.
        let chunk = if self.runs.len() < self.num_threads * LEAST_UNITS {
            1
        } else {
            units_of_run
        };
        // The last runs of a prompt attend to most; claimed first, they leave no long end.
        self.member
            .each(self.runs.len() * units_of_run, chunk, |units| {
                for unit in units {
                    let run = &self.runs[self.runs.len() - 1 - unit / units_of_run];
                    self.attend(run, layer, unit % units_of_run * heads, heads, window);
                }
            });
    }

    /// Attention of a run in `heads` query heads of one KV head, from `first_head` on.
    fn attend(
        &self,
        run: &Run,
        layer: usize,
        first_head: usize,
        heads: usize,
        window: Option<usize>,
    ) {
        let shape = &self.model.shape;
        let (head_dim, q_width) = (shape.head_dim, shape.q_width());
        let kv_head = first_head / (shape.num_heads / shape.num_kv_heads);
        let num_rows = run.num_tokens * heads;
        let score_stride = score_stride(self.batch);
        let first = run.first_token * q_width;
        let (own, layout) = (self.own(), self.memory.layout);
        unsafe {
            let outputs = own.heads.slice(0, num_rows * head_dim);
            let mut task = HeadTask {
                queries: &self.work.query.slice(first, run.num_tokens * q_width)
                    [first_head * head_dim..],
                query_stride: q_width,
                group: heads,
                head_dim,
                positions: &self.batch.positions[run.first_token..][..run.num_tokens],
                window,
                block_table: &self.batch.block_tables[run.sequence * self.batch.max_blocks..]
                    [..self.batch.max_blocks],
                block_size: layout.block_size,
                format: layout.format,
                pool: self.memory.pool.slice(0, self.memory.pool.len()),
                block_stride: layout.len(),
                keys_at: layout.keys_at(layer, kv_head),
                values_at: layout.values_at(layer, kv_head),
                output: outputs,
                scores: own.scores.slice(0, num_rows * score_stride),
                score_stride,
                scratch: own.span.slice(0, scratch_len(head_dim)),
            };
            (self.kernels.attend)(&mut task);
            for (index, values) in outputs.chunks_exact(heads * head_dim).enumerate() {
                let (token, at) = (run.first_token + index, first_head * head_dim);
                self.work
                    .input
                    .store(self.kernels, token, at, values, q_width);
            }
        }
    }
}
