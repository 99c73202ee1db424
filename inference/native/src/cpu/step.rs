//! One thread's way through a step: the phases of a decoder.

use super::attention::Run;
use super::heads::Slot;
use super::products::Tile;
use super::projection::Units;
use super::sampling::LogprobSlots;
use super::workspace::{Activations, Own, Workspace};
use crate::batch::Batch;
use crate::error::Result;
use crate::kernels::{Kernels, PANEL};
use crate::kv_pool::BlockLayout;
use crate::matrix::{BLOCK, Layout, Matrix, TILE};
use crate::model::{Gate, LayerWeights, Model};
use crate::shared::Shared;
use crate::threads::Member;

/// The KV pool of a step, see `KvPool`.
pub struct Memory {
    pub pool: Shared<u16>,
    pub layout: BlockLayout,
}

#[derive(Clone, Copy)]
pub struct Step<'a> {
    pub model: &'a Model,
    pub kernels: &'a Kernels,
    pub memory: &'a Memory,
    pub batch: &'a Batch,
    pub runs: &'a [Run],
    /// One a token.
    pub slots: &'a [Slot],
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
        for (layer, weights) in self.model.layers.iter().enumerate() {
            self.query_key_value(layer, weights);
            self.attention(layer, weights.window);
            let norm = weights.attention_post_norm.as_deref();
            self.add_projection(&weights.output, &self.work.input, norm);
            self.gate_and_up(weights);
            let norm = weights.ffn_post_norm.as_deref();
            self.add_projection(&weights.down, &self.work.hidden, norm);
        }
        self.head();
        self.own().end_products(self.kernels);
        self.sample()
    }

    fn embed(&self) {
        let width = self.model.shape.width;
        self.member.each(self.batch.num_tokens(), PANEL, |tokens| {
            for token in tokens {
                let row = unsafe { self.work.residual.slice(token * width, width) };
                let id = self.batch.token_ids[token] as usize;
                self.model.embedding.dequantize_row(id, row);
                if let Some(scale) = self.model.shape.embedding_scale {
                    for value in row {
                        *value *= scale;
                    }
                }
            }
        });
    }

    fn gate_and_up(&self, weights: &LayerWeights) {
        let width = self.model.shape.ffn_width;
        let num_tokens = self.batch.num_tokens();
        // A unit is a block of the hidden width, two tiles of each matrix.
        let units = Units {
            count: width / BLOCK,
            tiles: 2 * BLOCK / TILE,
            columns: weights.gate.num_columns,
        };
        let gated = match self.model.shape.architecture.gate() {
            Gate::Silu => self.kernels.silu_mul,
            Gate::Gelu => self.kernels.gelu_mul,
        };
        self.normalised(
            &weights.ffn_norm,
            num_tokens,
            |token| token,
            units,
            |input, units| {
                let products = self.products(input, num_tokens);
                let hidden = &self.work.hidden;
                let tiles = units.start * (BLOCK / TILE)..units.end * (BLOCK / TILE);
                for first in products.passes() {
                    let mut count = 0;
                    for (pair, index) in tiles.clone().enumerate() {
                        let pass = |matrix, place| {
                            let tile = Tile::new(matrix, index, 2 * pair + place);
                            products.pass(tile, first, place)
                        };
                        let (gate, up) = (pass(&weights.gate, 0), pass(&weights.up, 1));
                        count = gate.len();
                        for (row, (gate, up)) in gate.iter_mut().zip(up).enumerate() {
                            unsafe {
                                gated(gate, up);
                                hidden
                                    .values(first + row, index * TILE, TILE, width)
                                    .copy_from_slice(gate);
                            };
                        }
                    }
                    for token in first..first + count {
                        for block in units.clone() {
                            unsafe { hidden.put_values(self.kernels, token, block, width) };
                        }
                    }
                }
            },
        );
    }

    /// Adds a projection of `input` to the residual, after its norm if it has one.
    fn add_projection(&self, matrix: &Matrix, input: &Activations, norm: Option<&[f32]>) {
        let num_tokens = self.batch.num_tokens();
        let units = Units::tiles_of(matrix);
        let width = self.model.shape.width;
        let work = |input: &Activations, tiles| {
            self.project(matrix, tiles, input, num_tokens, |tile, token, values| {
                let at = token * width + tile * TILE;
                if norm.is_some() {
                    let to = unsafe { self.work.projected.slice(at, TILE) };
                    to.copy_from_slice(values);
                } else {
                    self.add(at, values);
                }
            });
        };
        if matches!(matrix.layout, Layout::Rows(_)) {
            let len = matrix.num_columns;
            let split = |token, to: &Activations| unsafe {
                to.split(self.kernels, token, input.values(token, 0, len, len));
            };
            self.prepared(input, num_tokens, split, units, work);
        } else {
            let chunk = self.chunk(units, num_tokens);
            self.member
                .each(units.count, chunk, |tiles| work(input, tiles));
        }
        let Some(norm) = norm else { return };
        let epsilon = self.model.shape.norm_epsilon;
        self.member.each(num_tokens, PANEL, |tokens| {
            for at in tokens.map(|token| token * width) {
                unsafe {
                    let projected = self.work.projected.slice(at, width);
                    let values = self.own().input.values(0, 0, width, width);
                    (self.kernels.rms_norm)(projected, norm, epsilon, values);
                    self.add(at, values);
                }
            }
        });
    }

    /// Adds to the residual from `at` on.
    fn add(&self, at: usize, values: &[f32]) {
        let residual = unsafe { self.work.residual.slice(at, values.len()) };
        for (residual, value) in residual.iter_mut().zip(values) {
            *residual += *value;
        }
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
            Units::tiles_of(head),
            |input, tiles| {
                self.project(head, tiles, input, rows.len(), |tile, row, values| {
                    let lanes = TILE.min(vocab - tile * TILE);
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
