//! One thread's way through a step: the phases of the llama architecture.

use super::attention::Run;
use super::sampling::LogprobSlots;
use super::workspace::{Activations, Own, Workspace};
use crate::batch::Batch;
use crate::error::Result;
use crate::kernels::{Kernels, PANEL, TileOutput};
use crate::matrix::{BLOCK, Matrix, TILE};
use crate::model::{LayerWeights, Model};
use crate::shared::Shared;
use crate::threads::Member;

/// The KV pool of a step.
pub struct Memory {
    /// (keys, values) of each layer, see `kv_pool::Layer`
    pub layers: Vec<(Shared<u16>, Shared<u16>)>,
    pub block_size: usize,
}

#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub model: &'a Model,
    pub kernels: &'a Kernels,
    pub memory: &'a Memory,
    pub batch: &'a Batch,
    pub runs: &'a [Run],
    pub work: &'a Workspace,
    pub logprobs: &'a LogprobSlots,
    pub num_threads: usize,
    pub member: &'a Member<'a>,
}

// SAFETY of every `unsafe` block in this impl: within a phase each element of the workspace and of the KV pool is either
// written by exactly one thread (units are claimed once, a unit's tokens, tiles or heads are its own, and slots are
// distinct: `Batch::check`) or only read. Indices were checked by `Batch::check`; kernels come from `Kernels::detect`.
impl Step<'_> {
    pub fn run(&self) -> Result<()> {
        self.embed();
        for (weights, (keys, values)) in self.model.layers.iter().zip(&self.memory.layers) {
            self.query_key_value(weights, keys, values);
            self.attention(keys, values);
            let width = self.model.shape.q_width();
            self.add_projection(&weights.output, &self.work.input, width);
            self.gate_and_up(weights);
            self.add_projection(&weights.down, &self.work.hidden, self.model.shape.ffn_width);
        }
        self.head();
        self.sample()
    }

    fn embed(&self) {
        let width = self.model.shape.width;
        self.member.each(self.batch.num_tokens(), PANEL, |tokens| {
            for token in tokens {
                let row = unsafe { self.work.residual.slice(token * width, width) };
                let id = self.batch.token_ids[token] as usize;
                self.model.embedding.dequantize_row(id, row);
            }
        });
    }

    /// Projects the normalised residual; rotates queries and keys; stores keys and values in their slots.
    fn query_key_value(&self, weights: &LayerWeights, keys: &Shared<u16>, values: &Shared<u16>) {
        let shape = &self.model.shape;
        let (q_tiles, kv_tiles) = (weights.query.num_tiles(), weights.key.num_tiles());
        let num_tokens = self.batch.num_tokens();
        let source = |token| token;
        let num_tiles = q_tiles + 2 * kv_tiles;
        self.normalised(
            &weights.attention_norm,
            num_tokens,
            source,
            num_tiles,
            |input, tile| {
                if tile < q_tiles {
                    self.project(&weights.query, tile, input, num_tokens, |token, out| {
                        self.rotate(token, tile * TILE, out);
                        unsafe {
                            self.work
                                .query
                                .slice(token * shape.q_width() + tile * TILE, TILE)
                        }
                        .copy_from_slice(out);
                    });
                    return;
                }
                let at = (tile - q_tiles) % kv_tiles;
                let is_key = tile < q_tiles + kv_tiles;
                let (matrix, memory) = if is_key {
                    (&weights.key, keys)
                } else {
                    (&weights.value, values)
                };
                self.project(matrix, at, input, num_tokens, |token, out| {
                    if is_key {
                        self.rotate(token, at * TILE, out);
                    }
                    let slot = self.batch.slots[token] as usize * shape.kv_width();
                    unsafe {
                        let place = memory.slice(slot + at * TILE, TILE);
                        if let Some(place) = place.first_chunk_mut() {
                            (self.kernels.store_f16)(out, place);
                        }
                    }
                });
            },
        );
    }

    /// Applies rope to 16 values of a query or key; `at` is the place of the first in its row.
    fn rotate(&self, token: usize, at: usize, values: &mut [f32; TILE]) {
        let (half, first) = (
            self.model.shape.rope_dim / 2,
            at % self.model.shape.head_dim / 2,
        );
        if first < half {
            let angles =
                &self.model.rope[self.batch.positions[token] as usize * half..][first..half];
            let angles = &angles[..angles.len().min(TILE / 2)];
            unsafe { (self.kernels.rotate)(values, angles) };
        }
    }

    fn gate_and_up(&self, weights: &LayerWeights) {
        let width = self.model.shape.ffn_width;
        let num_tokens = self.batch.num_tokens();
        // A unit is a block of the hidden width, two tiles of each matrix.
        let num_units = width / BLOCK;
        self.normalised(
            &weights.ffn_norm,
            num_tokens,
            |token| token,
            num_units,
            |input, unit| {
                let mut block = [[0.0; BLOCK]; PANEL];
                let (mut gate, mut up): (TileOutput, TileOutput) =
                    ([[0.0; TILE]; PANEL], [[0.0; TILE]; PANEL]);
                for panel in 0..num_tokens.div_ceil(PANEL) {
                    let count = PANEL.min(num_tokens - panel * PANEL);
                    for half in 0..BLOCK / TILE {
                        let tile = unit * (BLOCK / TILE) + half;
                        self.multiply(&weights.gate, tile, input, panel, count, &mut gate);
                        self.multiply(&weights.up, tile, input, panel, count, &mut up);
                        for index in 0..count {
                            unsafe { (self.kernels.silu_mul)(&mut gate[index], &up[index]) };
                            block[index][half * TILE..][..TILE].copy_from_slice(&gate[index]);
                        }
                    }
                    for (index, block) in block.iter().enumerate().take(count) {
                        unsafe {
                            self.store(
                                &self.work.hidden,
                                panel * PANEL + index,
                                unit * BLOCK,
                                block,
                                width,
                            );
                        };
                    }
                }
            },
        );
    }

    /// Adds a projection of `input` to the residual.
    fn add_projection(&self, matrix: &Matrix, input: &Activations, width: usize) {
        debug_assert_eq!(width, matrix.num_columns);
        let num_tokens = self.batch.num_tokens();
        let num_tiles = matrix.num_tiles();
        self.member
            .each(num_tiles, self.chunk(num_tiles, num_tokens), |tiles| {
                for tile in tiles {
                    self.project(matrix, tile, input, num_tokens, |token, values| {
                        let at = token * self.model.shape.width + tile * TILE;
                        let residual = unsafe { self.work.residual.slice(at, TILE) };
                        for (residual, value) in residual.iter_mut().zip(values) {
                            *residual += *value;
                        }
                    });
                }
            });
    }

    /// Logits of the sampled rows.
    fn head(&self) {
        let (rows, vocab) = (&self.batch.sample_rows, self.model.shape.vocab_size);
        let head = self.model.head();
        let source = |row: usize| rows[row] as usize;
        self.normalised(
            &self.model.final_norm,
            rows.len(),
            source,
            head.num_tiles(),
            |input, tile| {
                let lanes = TILE.min(vocab - tile * TILE);
                self.project(head, tile, input, rows.len(), |row, values| {
                    unsafe { self.work.logits.slice(row * vocab + tile * TILE, lanes) }
                        .copy_from_slice(&values[..lanes]);
                });
            },
        );
    }

    /// This thread's scratch.
    pub fn own(&self) -> &Own {
        &self.work.own[self.member.index]
    }
}
