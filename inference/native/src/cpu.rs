//! The CPU executor: one team of threads walks the layers in phases. Rows are split across threads, never a reduction,
//! so a token's result does not depend on what else is in the batch or on the number of threads.

use std::sync::Mutex;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::executor::{Executor, StepOutput};
use crate::kernels::{Column, HeadTask, Kernels, MAX_PASS, TileOutput};
use crate::kv_pool::{KvPool, store_f16};
use crate::matrix::{BLOCK, Matrix, TILE};
use crate::model::{LayerWeights, Model};
use crate::sampler::sample;
use crate::shared::Shared;
use crate::threads::{Team, share};

pub struct CpuExecutor {
    model: Model,
    pool: KvPool,
    kernels: Kernels,
    team: Team,
}

/// Floats of one phase's input, quantised beside them. One row per token.
struct Activations {
    values: Shared<f32>,
    quants: Shared<i8>,
    scales: Shared<f32>,
    sums: Shared<f32>,
    integer_sums: Shared<i32>,
}

/// Everything a step writes, shared by the team. Who writes what in which phase is said at each use.
struct Workspace {
    /// [token, width] residual stream
    residual: Shared<f32>,
    /// What the next projection reads.
    input: Activations,
    /// [token, `ffn_width`]: written while the input is still read
    hidden: Shared<f32>,
    /// [token, `q_width`], [token, `kv_width`] twice
    query: Shared<f32>,
    key: Shared<f32>,
    value: Shared<f32>,
    /// [sample, vocabulary]
    logits: Shared<f32>,
    /// [thread, group · longest context]
    scores: Shared<f32>,
    sampled: Shared<u32>,
}

impl Executor for CpuExecutor {
    fn forward(&mut self, batch: &Batch, wants_logits: bool) -> Result<StepOutput> {
        batch.check(&self.model.shape, &self.pool)?;
        let work = self.workspace(batch);
        let failure = Mutex::new(None);
        let layers: Vec<(Shared<u16>, Shared<u16>)> = self
            .pool
            .layers
            .iter_mut()
            .map(|layer| {
                (
                    Shared::borrow(&mut layer.keys),
                    Shared::borrow(&mut layer.values),
                )
            })
            .collect();
        self.team.run(&|thread| {
            let step = Step {
                executor: self,
                batch,
                work: &work,
                thread,
                num_threads: self.team.len(),
            };
            step.embed();
            for (weights, (keys, values)) in self.model.layers.iter().zip(&layers) {
                step.layer(weights, keys, values);
            }
            if let Err(error) = step.sample() {
                *failure
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
            }
        });
        if let Some(error) = failure
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            return Err(error);
        }
        Ok(StepOutput {
            sampled_ids: work.sampled.into_vec(),
            logits: wants_logits.then(|| work.logits.into_vec()),
        })
    }
}

impl CpuExecutor {
    pub fn new(model: Model, pool: KvPool, kernels: Kernels, num_threads: usize) -> Self {
        Self {
            model,
            pool,
            kernels,
            team: Team::new(num_threads),
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

    fn workspace(&self, batch: &Batch) -> Workspace {
        let shape = &self.model.shape;
        let (tokens, samples) = (batch.num_tokens(), batch.sample_rows.len());
        let rows = tokens.max(samples);
        let widest = shape.width.max(shape.ffn_width).max(shape.q_width());
        let longest = batch.context_lens.iter().max().copied().unwrap_or(0) as usize;
        let group = shape.num_heads / shape.num_kv_heads;
        Workspace {
            residual: Shared::zeroed(tokens * shape.width),
            input: Activations {
                values: Shared::zeroed(rows * widest),
                quants: Shared::zeroed(rows * widest),
                scales: Shared::zeroed(rows * widest / BLOCK),
                sums: Shared::zeroed(rows * widest / BLOCK),
                integer_sums: Shared::zeroed(rows * widest / BLOCK),
            },
            hidden: Shared::zeroed(tokens * shape.ffn_width),
            query: Shared::zeroed(tokens * shape.q_width()),
            key: Shared::zeroed(tokens * shape.kv_width()),
            value: Shared::zeroed(tokens * shape.kv_width()),
            logits: Shared::zeroed(samples * shape.vocab_size),
            scores: Shared::zeroed(self.team.len() * group * longest),
            sampled: Shared::zeroed(samples),
        }
    }
}

/// One thread's view of a step.
#[derive(Clone, Copy)]
struct Step<'a> {
    executor: &'a CpuExecutor,
    batch: &'a Batch,
    work: &'a Workspace,
    thread: usize,
    num_threads: usize,
}

// SAFETY of every `unsafe` block in this impl: between two barriers each element of the workspace and of the KV pool is
// either written by exactly one thread (rows are shared out by token, or by tile, and slots are distinct: `Batch::check`)
// or only read. Indices were checked by `Batch::check`; kernels come from `Kernels::detect`.
impl Step<'_> {
    fn embed(&self) {
        let width = self.executor.model.shape.width;
        for token in self.my_share(self.batch.num_tokens()) {
            let row = unsafe { self.work.residual.slice(token * width, width) };
            self.executor
                .model
                .embedding
                .dequantize_row(self.batch.token_ids[token] as usize, row);
        }
        self.barrier();
    }

    fn layer(&self, weights: &LayerWeights, keys: &Shared<u16>, values: &Shared<u16>) {
        let shape = &self.executor.model.shape;
        let tokens = self.batch.num_tokens();
        self.norm(&weights.attention_norm, tokens, |token| token);
        self.barrier();
        for (matrix, out) in [
            (&weights.query, &self.work.query),
            (&weights.key, &self.work.key),
            (&weights.value, &self.work.value),
        ] {
            self.project(matrix, tokens, |row, at, values| {
                unsafe { out.slice(row * matrix.num_rows + at, values.len()) }
                    .copy_from_slice(values);
            });
        }
        self.barrier();
        self.rotate_and_store(keys, values);
        self.barrier();
        self.attend(keys, values);
        self.barrier();
        self.quantize(tokens, shape.q_width());
        self.barrier();
        self.project(&weights.output, tokens, |row, at, values| {
            self.add_to_residual(row, at, values);
        });
        self.barrier();
        self.norm(&weights.ffn_norm, tokens, |token| token);
        self.barrier();
        self.gate_and_up(weights, tokens);
        self.barrier();
        self.take_hidden(tokens);
        self.barrier();
        self.project(&weights.down, tokens, |row, at, values| {
            self.add_to_residual(row, at, values);
        });
        self.barrier();
    }

    /// Normalises residual row `source(row)` into input row `row`, and quantises it.
    fn norm(&self, weight: &[f32], num_rows: usize, source: impl Fn(usize) -> usize) {
        let shape = &self.executor.model.shape;
        for row in self.my_share(num_rows) {
            unsafe {
                let from = self
                    .work
                    .residual
                    .slice(source(row) * shape.width, shape.width);
                let to = self.work.input.values.slice(row * shape.width, shape.width);
                (self.executor.kernels.rms_norm)(from, weight, shape.norm_epsilon, to);
            }
            self.quantize_row(row, shape.width);
        }
    }

    fn quantize(&self, num_rows: usize, width: usize) {
        for row in self.my_share(num_rows) {
            self.quantize_row(row, width);
        }
    }

    /// Moves the hidden rows to the input and quantises them.
    fn take_hidden(&self, num_rows: usize) {
        let width = self.executor.model.shape.ffn_width;
        for row in self.my_share(num_rows) {
            unsafe {
                self.work
                    .input
                    .values
                    .slice(row * width, width)
                    .copy_from_slice(self.work.hidden.slice(row * width, width));
            };
            self.quantize_row(row, width);
        }
    }

    fn quantize_row(&self, row: usize, width: usize) {
        let input = &self.work.input;
        let (at, len) = (row * width / BLOCK, width / BLOCK);
        unsafe {
            (self.executor.kernels.quantize)(
                input.values.slice(row * width, width),
                input.quants.slice(row * width, width),
                input.scales.slice(at, len),
                input.sums.slice(at, len),
                input.integer_sums.slice(at, len),
            );
        }
    }

    /// Multiplies this thread's tiles of `matrix` with every input row; `put(row, first output, values)` takes the results.
    fn project(&self, matrix: &Matrix, num_rows: usize, put: impl Fn(usize, usize, &[f32])) {
        let mut out: TileOutput = [[0.0; TILE]; MAX_PASS];
        for tile in self.my_share(matrix.num_tiles()) {
            let lanes = TILE.min(matrix.num_rows - tile * TILE);
            for first in (0..num_rows).step_by(MAX_PASS) {
                let count = MAX_PASS.min(num_rows - first);
                self.multiply(matrix, tile, first, count, &mut out);
                for (index, values) in out.iter().enumerate().take(count) {
                    put(first + index, tile * TILE, &values[..lanes]);
                }
            }
        }
    }

    fn multiply(
        &self,
        matrix: &Matrix,
        tile: usize,
        first: usize,
        count: usize,
        out: &mut TileOutput,
    ) {
        use crate::matrix::Layout;
        let width = matrix.num_columns;
        let column = |index: usize| unsafe {
            let row = (first + index.min(count - 1)) * width;
            let input = &self.work.input;
            Column {
                values: input.values.slice(row, width),
                quants: input.quants.slice(row, width),
                scales: input.scales.slice(row / BLOCK, width / BLOCK),
                sums: input.sums.slice(row / BLOCK, width / BLOCK),
                integer_sums: input.integer_sums.slice(row / BLOCK, width / BLOCK),
            }
        };
        let columns: [Column<'_>; MAX_PASS] = std::array::from_fn(column);
        let kernels = &self.executor.kernels;
        let kernel = match matrix.layout {
            Layout::Q4 => kernels.q4_tile,
            Layout::Q8 => kernels.q8_tile,
            Layout::F32 => kernels.f32_tile,
        };
        unsafe { kernel(matrix.tile(tile), &columns[..count], out) };
    }

    fn add_to_residual(&self, row: usize, at: usize, values: &[f32]) {
        let out = unsafe {
            self.work
                .residual
                .slice(row * self.executor.model.shape.width + at, values.len())
        };
        for (out, value) in out.iter_mut().zip(values) {
            *out += value;
        }
    }

    /// Applies rope to this thread's tokens and writes their keys and values to their slots.
    fn rotate_and_store(&self, keys: &Shared<u16>, values: &Shared<u16>) {
        let shape = &self.executor.model.shape;
        let (q_width, kv_width) = (shape.q_width(), shape.kv_width());
        for token in self.my_share(self.batch.num_tokens()) {
            let position = self.batch.positions[token] as usize;
            let half = shape.rope_dim / 2;
            let angles = &self.executor.model.rope[position * half..(position + 1) * half];
            let slot = self.batch.slots[token] as usize * kv_width;
            unsafe {
                let key = self.work.key.slice(token * kv_width, kv_width);
                rotate(
                    self.work.query.slice(token * q_width, q_width),
                    shape.head_dim,
                    angles,
                );
                rotate(key, shape.head_dim, angles);
                store_f16(key, keys.slice(slot, kv_width));
                store_f16(
                    self.work.value.slice(token * kv_width, kv_width),
                    values.slice(slot, kv_width),
                );
            }
        }
    }

    /// One unit of work is a token and a KV head with its query heads. Units are dealt round robin: later tokens of a
    /// prompt attend to more.
    fn attend(&self, keys: &Shared<u16>, values: &Shared<u16>) {
        let shape = &self.executor.model.shape;
        let (head_dim, kv_width, q_width) = (shape.head_dim, shape.kv_width(), shape.q_width());
        let group = shape.num_heads / shape.num_kv_heads;
        let pool = &self.executor.pool;
        let scores_len = self.work.scores.len() / self.num_threads;
        let mut unit = 0;
        for seq in 0..self.batch.num_seqs() {
            let table = &self.batch.block_tables
                [seq * self.batch.max_blocks..(seq + 1) * self.batch.max_blocks];
            for token in
                self.batch.query_starts[seq] as usize..self.batch.query_starts[seq + 1] as usize
            {
                for kv_head in 0..shape.num_kv_heads {
                    unit += 1;
                    if unit % self.num_threads != self.thread {
                        continue;
                    }
                    let at = token * q_width + kv_head * group * head_dim;
                    unsafe {
                        let mut task = HeadTask {
                            queries: self.work.query.slice(at, group * head_dim),
                            group,
                            head_dim,
                            num_positions: self.batch.positions[token] as usize + 1,
                            block_table: table,
                            block_size: pool.block_size,
                            keys: keys.slice(0, keys.len()),
                            values: values.slice(0, values.len()),
                            kv_stride: kv_width,
                            head_offset: kv_head * head_dim,
                            output: self.work.input.values.slice(at, group * head_dim),
                            scores: self.work.scores.slice(self.thread * scores_len, scores_len),
                        };
                        (self.executor.kernels.attend)(&mut task);
                    }
                }
            }
        }
    }

    /// silu(gate) · up, tile by tile.
    fn gate_and_up(&self, weights: &LayerWeights, num_rows: usize) {
        let ffn_width = self.executor.model.shape.ffn_width;
        let (mut gate, mut up): (TileOutput, TileOutput) =
            ([[0.0; TILE]; MAX_PASS], [[0.0; TILE]; MAX_PASS]);
        for tile in self.my_share(weights.gate.num_tiles()) {
            for first in (0..num_rows).step_by(MAX_PASS) {
                let count = MAX_PASS.min(num_rows - first);
                self.multiply(&weights.gate, tile, first, count, &mut gate);
                self.multiply(&weights.up, tile, first, count, &mut up);
                for index in 0..count {
                    unsafe {
                        (self.executor.kernels.silu_mul)(&mut gate[index], &up[index]);
                        self.work
                            .hidden
                            .slice((first + index) * ffn_width + tile * TILE, TILE)
                            .copy_from_slice(&gate[index]);
                    }
                }
            }
        }
    }

    /// Norms the sampled rows, multiplies them with the head, and picks their tokens.
    fn sample(&self) -> Result<()> {
        let model = &self.executor.model;
        let (rows, vocab) = (&self.batch.sample_rows, model.shape.vocab_size);
        if rows.is_empty() {
            return Ok(());
        }
        self.norm(&model.final_norm, rows.len(), |row| rows[row] as usize);
        self.barrier();
        self.project(model.head(), rows.len(), |row, at, values| {
            unsafe { self.work.logits.slice(row * vocab + at, values.len()) }
                .copy_from_slice(values);
        });
        self.barrier();
        let mut outcome = Ok(());
        for row in (self.thread..rows.len()).step_by(self.num_threads) {
            // The logits stay as they are for those who ask; the sampler works on a copy.
            let mut logits = unsafe { self.work.logits.slice(row * vocab, vocab) }.to_vec();
            match sample(
                &self.executor.kernels,
                &mut logits,
                self.batch.sampling(row),
            ) {
                Ok(id) => unsafe { self.work.sampled.slice(row, 1)[0] = id },
                Err(error) => outcome = Err::<(), Error>(error),
            }
        }
        outcome
    }

    fn my_share(&self, total: usize) -> std::ops::Range<usize> {
        share(total, self.thread, self.num_threads)
    }

    fn barrier(&self) {
        self.executor.team.barrier();
    }
}

/// Rotates neighbouring pairs of each head.
fn rotate(heads: &mut [f32], head_dim: usize, angles: &[(f32, f32)]) {
    for head in heads.chunks_exact_mut(head_dim) {
        for (pair, (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
            let [x, y] = *pair;
            *pair = [x * cos - y * sin, x * sin + y * cos];
        }
    }
}

#[cfg(test)]
mod tests;
