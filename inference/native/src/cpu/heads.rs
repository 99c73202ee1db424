//! The phase before the attention: queries, keys and values of each head, finished and put where the attention reads them.

use super::products::Tile;
use super::projection::Units;
use super::step::Step;
use crate::batch::Batch;
use crate::kernels::rows::PASS;
use crate::kernels::{quant_head, query_scale};
use crate::kv_pool::{BlockLayout, KvFormat};
use crate::matrix::TILE;
use crate::model::{LayerWeights, Projection};

/// More than `Shape` lets a head have.
const MAX_HEAD_DIM: usize = 1024;

/// Where a projection goes.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Value,
}

// SAFETY of every `unsafe` block in this impl: as in step.rs.
impl Step<'_> {
    /// Projects the normalised residual; adds biases, normalises heads, turns queries and keys; stores keys and values in
    /// their slots. A unit is a tile, or a head where heads are normalised or kept with one scale.
    pub fn query_key_value(&self, layer: usize, weights: &LayerWeights) {
        let shape = &self.model.shape;
        let tiles_if = |is_head: bool| if is_head { shape.head_dim / TILE } else { 1 };
        let has_norms = shape.architecture.has_head_norms();
        let per_q_unit = tiles_if(has_norms);
        let per_kv_unit = tiles_if(has_norms || self.memory.layout.format == KvFormat::Q8);
        let q_units = shape.q_width() / TILE / per_q_unit;
        let kv_units = shape.kv_width() / TILE / per_kv_unit;
        let num_tokens = self.batch.num_tokens();
        let units = Units {
            count: q_units + 2 * kv_units,
            tiles: per_q_unit.max(per_kv_unit),
            columns: shape.width,
        };
        // The part of a unit, its projection, and its tiles there.
        let unit_at = |unit: usize| {
            let (part, projection, unit) = if unit < q_units {
                (Part::Query, &weights.query, unit)
            } else if unit < q_units + kv_units {
                (Part::Key, &weights.key, unit - q_units)
            } else {
                (Part::Value, &weights.value, unit - q_units - kv_units)
            };
            let is_query = matches!(part, Part::Query);
            let count = if is_query { per_q_unit } else { per_kv_unit };
            (part, projection, unit * count..(unit + 1) * count)
        };
        self.normalised(
            &weights.attention_norm,
            num_tokens,
            |token| token,
            units,
            |input, units| {
                let products = self.products(input, num_tokens);
                for first in products.passes() {
                    let mut slots = 0..;
                    for unit in units.clone() {
                        let (part, projection, tiles) = unit_at(unit);
                        let (at, len) = (tiles.start * TILE, tiles.len() * TILE);
                        let place = self.place(part, layer, at);
                        // SAFETY: this thread's own; a unit is at most a head, and there is room for `PASS` + 1 of them.
                        let (values, scratch) =
                            unsafe { self.own().heads.slice(0, (PASS + 1) * len) }
                                .split_at_mut(PASS * len);
                        let mut count = 0;
                        for (tile, (index, slot)) in tiles.zip(&mut slots).enumerate() {
                            let tile_at = Tile::new(&projection.matrix, index, slot);
                            let outputs = products.pass(tile_at, first, 0);
                            count = outputs.len();
                            for (row, out) in outputs.iter().enumerate() {
                                values[row * len + tile * TILE..][..TILE].copy_from_slice(out);
                            }
                        }
                        let rows = values.chunks_exact_mut(len);
                        for (row, values) in rows.enumerate().take(count) {
                            let token = first + row;
                            self.finish(projection, at, values, scratch);
                            if !matches!(part, Part::Value) {
                                self.turn(weights, token, at, values);
                            }
                            self.put(part, token, place, values);
                        }
                    }
                }
            },
        );
    }

    /// Bias and norm; `at` is the place of the first value in its row.
    fn finish(&self, projection: &Projection, at: usize, values: &mut [f32], scratch: &mut [f32]) {
        if let Some(bias) = &projection.bias {
            for (value, bias) in values.iter_mut().zip(&bias[at..]) {
                *value += bias;
            }
        }
        if let Some(norm) = &projection.head_norm {
            let epsilon = self.model.shape.norm_epsilon;
            scratch.copy_from_slice(values);
            unsafe { (self.kernels.rms_norm)(scratch, norm, epsilon, values) };
        }
    }

    /// Applies rope, 16 values at a time.
    fn turn(&self, weights: &LayerWeights, token: usize, at: usize, values: &mut [f32]) {
        let position = self.batch.positions[token] as usize;
        let angles = self.model.angles(weights, position);
        for (tile, values) in values.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
            let first = (at + tile * TILE) % self.model.shape.head_dim / 2;
            if let Some(angles) = angles.get(first..) {
                let angles = &angles[..angles.len().min(TILE / 2)];
                unsafe { (self.kernels.rotate)(values, angles) };
            }
        }
    }

    /// Where values from `at` on lie: queries in their row, keys and values in a block.
    fn place(&self, part: Part, layer: usize, at: usize) -> usize {
        let (layout, head_dim) = (self.memory.layout, self.model.shape.head_dim);
        let (head, dim) = (at / head_dim, at % head_dim);
        match part {
            Part::Query => at,
            Part::Key => layout.keys_at(layer, head) + dim * layout.block_size,
            Part::Value => layout.values_at(layer, head) + dim,
        }
    }

    /// Stores a token's values at a place of `place`, a tile or a head of them.
    fn put(&self, part: Part, token: usize, place: usize, values: &mut [f32]) {
        let shape = &self.model.shape;
        if matches!(part, Part::Query) {
            let scale = query_scale(shape.head_dim) * shape.query_scale.unwrap_or(1.0);
            let start = token * shape.q_width() + place;
            let query = unsafe { self.work.query.slice(start, values.len()) };
            for (query, value) in query.iter_mut().zip(values) {
                *query = *value * scale;
            }
            return;
        }
        let (pool, layout) = (&self.memory.pool, self.memory.layout);
        let block_size = layout.block_size;
        let Slot { block, index } = self.slots[token];
        if layout.format == KvFormat::Q8 {
            // A unit is a whole head, so nobody else is in its part of a block.
            let to = unsafe { pool.slice(block + place, layout.head_len()) };
            put_quants(part, values, to, index, block_size);
            return;
        }
        let mut halves = [0; TILE];
        for (tile, values) in values.as_chunks::<TILE>().0.iter().enumerate() {
            unsafe { (self.kernels.store_f16)(values, &mut halves) };
            if matches!(part, Part::Key) {
                let at = block + place + index + tile * TILE * block_size;
                unsafe { pool.scatter(at, block_size, halves) };
            } else {
                let at = block + place + index * shape.head_dim + tile * TILE;
                unsafe { pool.slice(at, TILE) }.copy_from_slice(&halves);
            }
        }
    }
}

/// Puts a head's keys or values into a slot of its part of a block.
fn put_quants(part: Part, values: &[f32], to: &mut [u16], slot: usize, block_size: usize) {
    let mut quants = [0; MAX_HEAD_DIM];
    let quants = &mut quants[..values.len()];
    let scale = quant_head(values, quants);
    let (bytes, scales) = to.split_at_mut(values.len() / 2 * block_size);
    scales[slot] = scale;
    // SAFETY: any two bytes are numbers, and bytes need no alignment; the slice is exclusive.
    let bytes: &mut [i8] =
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), 2 * bytes.len()) };
    if matches!(part, Part::Key) {
        for (dim, quant) in quants.iter().enumerate() {
            bytes[dim * block_size + slot] = *quant;
        }
    } else {
        bytes[slot * quants.len()..][..quants.len()].copy_from_slice(quants);
    }
}

/// A token's slot in the KV pool.
#[derive(Clone, Copy)]
pub struct Slot {
    /// Where its block begins.
    block: usize,
    /// Which of the block's slots it is.
    index: usize,
}

/// The slots of a batch that was checked.
pub fn slots_of(batch: &Batch, layout: BlockLayout) -> Vec<Slot> {
    let slots = batch.slots.iter().map(|slot| *slot as usize);
    slots
        .map(|slot| Slot {
            block: slot / layout.block_size * layout.len(),
            index: slot % layout.block_size,
        })
        .collect()
}
