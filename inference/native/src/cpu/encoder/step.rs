//! One thread's way through an encoder: embed, then per layer project, attend, add and normalise, feed forward, add and
//! normalise, and in the end pool.

use super::super::products::{Products, Tile};
use super::super::workspace::{Activations, Own};
use super::{BLOCK_SIZE, Texts, fit_own};
use crate::kernels::{HeadTask, Kernels, PANEL, query_scale, scratch_len};
use crate::kv_pool::{BlockLayout, KvFormat};
use crate::matrix::{BLOCK, TILE};
use crate::model::{EncoderLayer, EncoderModel, EncoderShape, Linear, Norm, Pooling};
use crate::shared::Shared;
use crate::threads::Member;

/// Tiles or blocks of one claim.
const CHUNK: usize = 2;

/// Everything a step writes. Buffers only grow.
pub struct Workspace {
    /// [token, width]
    residual: Shared<f32>,
    /// The residual, or the attention's output, quantised.
    input: Activations,
    hidden: Activations,
    /// [token, width]
    query: Shared<f32>,
    /// Keys and values of the layer under way, see `KvPool`
    memory: Shared<u16>,
    /// Block `b` is block `b`: the kernels find blocks by a table.
    block_table: Vec<i32>,
    /// [text, width]
    pub vectors: Shared<f32>,
    own: Vec<Own>,
}

impl Workspace {
    pub fn new(num_threads: usize) -> Self {
        Self {
            residual: Shared::new(),
            input: Activations::new(),
            hidden: Activations::new(),
            query: Shared::new(),
            memory: Shared::new(),
            block_table: Vec::new(),
            vectors: Shared::new(),
            own: (0..num_threads).map(|_| Own::new()).collect(),
        }
    }

    pub fn fit(&mut self, kernels: &Kernels, shape: &EncoderShape, texts: &Texts) {
        let (tokens, slots) = (texts.num_tokens(), texts.num_slots());
        self.residual.grow(tokens * shape.width);
        self.input.grow(kernels, tokens, shape.width);
        self.hidden.grow(kernels, tokens, shape.ffn_width);
        self.query.grow(tokens * shape.width);
        self.memory.grow(2 * slots * shape.width);
        self.vectors.grow(texts.len() * shape.width);
        self.block_table = (0..(slots / BLOCK_SIZE) as i32).collect();
        for own in &mut self.own {
            fit_own(own, shape.head_dim(), shape.context_length);
            own.fit_products(shape.width.max(shape.ffn_width), 1);
        }
    }
}

pub struct Step<'a> {
    pub model: &'a EncoderModel,
    pub kernels: &'a Kernels,
    pub texts: &'a Texts,
    pub work: &'a Workspace,
    pub member: &'a Member<'a>,
}

// SAFETY of every `unsafe` block in this impl: within a phase each element of the workspace is either written by exactly
// one thread (units are claimed once; a unit's tokens, tiles, heads or texts are its own, and tokens have slots of their
// own) or only read. Indices were checked by `Texts::check`; kernels come from `Kernels::detect`.
impl Step<'_> {
    pub fn run(&self) {
        self.embed();
        for layer in &self.model.layers {
            self.query_key_value(layer);
            self.attention();
            self.add(&layer.output, &self.work.input, &layer.attention_norm);
            self.up(&layer.up);
            self.add(&layer.down, &self.work.hidden, &layer.output_norm);
        }
        self.work.own[self.member.index].end_products(self.kernels);
        self.pool();
    }

    fn embed(&self) {
        let width = self.model.shape.width;
        self.member.each(self.texts.num_tokens(), PANEL, |tokens| {
            let mut place = vec![0.0; width];
            for token in tokens {
                let row = unsafe { self.work.residual.slice(token * width, width) };
                let id = self.texts.token_ids[token] as usize;
                self.model.embedding.dequantize_row(id, row);
                let position = self.texts.position(token);
                self.model.positions.dequantize_row(position, &mut place);
                let added = place.iter().zip(&self.model.token_type);
                for (value, (place, token_type)) in row.iter_mut().zip(added) {
                    *value += place + token_type;
                }
                self.normalise(&self.model.embedding_norm, token);
            }
        });
    }

    /// Normalises a token's residual in place and makes it the input of the next projection.
    fn normalise(&self, norm: &Norm, token: usize) {
        let EncoderShape {
            width,
            norm_epsilon,
            ..
        } = self.model.shape;
        unsafe {
            let residual = self.work.residual.slice(token * width, width);
            let values = self.work.input.values(token, 0, width, width);
            (self.kernels.layer_norm)(residual, &norm.weight, &norm.bias, norm_epsilon, values);
            residual.copy_from_slice(values);
            self.work.input.put_all(self.kernels, token, width);
        }
    }

    /// Multiplies one tile with every token and adds the bias; `put(token, outputs)` takes the results.
    fn project(
        &self,
        linear: &Linear,
        tile: usize,
        input: &Activations,
        mut put: impl FnMut(usize, &mut [f32; TILE]),
    ) {
        let own = &self.work.own[self.member.index];
        let products = unsafe { Products::new(self.kernels, own, input, self.texts.num_tokens()) };
        let opened = Tile::new(&linear.matrix, tile, 0);
        for first in products.passes() {
            for (index, values) in products.pass(opened, first, 0).iter_mut().enumerate() {
                for (value, bias) in values.iter_mut().zip(&linear.bias[tile * TILE..]) {
                    *value += bias;
                }
                put(first + index, values);
            }
        }
    }

    fn query_key_value(&self, layer: &EncoderLayer) {
        let width = self.model.shape.width;
        let tiles = width / TILE;
        let scale = query_scale(self.model.shape.head_dim());
        self.member.each(3 * tiles, CHUNK, |units| {
            for unit in units {
                let tile = unit % tiles;
                let part = unit / tiles;
                let linear = [&layer.query, &layer.key, &layer.value][part];
                self.project(linear, tile, &self.work.input, |token, values| {
                    if part == 0 {
                        let at = token * width + tile * TILE;
                        let query = unsafe { self.work.query.slice(at, TILE) };
                        for (query, value) in query.iter_mut().zip(values) {
                            *query = *value * scale;
                        }
                    } else {
                        self.put(token, tile * TILE, values, part == 2);
                    }
                });
            }
        });
    }

    /// Stores a tile of keys, or of values, of a token from dimension `at` on.
    fn put(&self, token: usize, at: usize, values: &[f32; TILE], is_value: bool) {
        let (layout, memory) = (self.layout(), &self.work.memory);
        let (slot, head_dim) = (self.texts.slot(token), layout.head_dim);
        let block = slot / BLOCK_SIZE * layout.len();
        let (slot, head, dim) = (slot % BLOCK_SIZE, at / head_dim, at % head_dim);
        let mut halves = [0; TILE];
        unsafe { (self.kernels.store_f16)(values, &mut halves) };
        if is_value {
            let at = block + layout.values_at(0, head) + slot * head_dim + dim;
            unsafe { memory.slice(at, TILE) }.copy_from_slice(&halves);
            return;
        }
        for (index, half) in halves.into_iter().enumerate() {
            let at = block + layout.keys_at(0, head) + (dim + index) * BLOCK_SIZE + slot;
            unsafe { memory.slice(at, 1)[0] = half };
        }
    }

    /// How keys and values of one layer lie.
    fn layout(&self) -> BlockLayout {
        BlockLayout {
            format: KvFormat::F16,
            block_size: BLOCK_SIZE,
            num_layers: 1,
            num_kv_heads: self.model.shape.num_heads,
            head_dim: self.model.shape.head_dim(),
        }
    }

    /// Leaves the attention's output in the input. A unit is a run and a head; every token attends to all of its text.
    fn attention(&self) {
        let num_heads = self.model.shape.num_heads;
        self.member
            .each(self.texts.runs.len() * num_heads, CHUNK, |units| {
                for unit in units {
                    self.attend(unit / num_heads, unit % num_heads);
                }
            });
    }

    fn attend(&self, run: usize, head: usize) {
        let (width, head_dim) = (self.model.shape.width, self.model.shape.head_dim());
        let tokens = self.texts.runs[run].clone();
        let text = self.texts.text_of[tokens.start];
        let own = &self.work.own[self.member.index];
        let score_stride = self.texts.tokens(text).len().next_multiple_of(BLOCK_SIZE);
        unsafe {
            let outputs = own.heads.slice(0, tokens.len() * head_dim);
            let queries = self
                .work
                .query
                .slice(tokens.start * width, tokens.len() * width);
            let mut task = HeadTask {
                queries: &queries[head * head_dim..],
                query_stride: width,
                group: 1,
                head_dim,
                positions: &self.texts.last_positions[tokens.clone()],
                window: None,
                block_table: &self.work.block_table[self.texts.slots[text] / BLOCK_SIZE..],
                block_size: BLOCK_SIZE,
                format: KvFormat::F16,
                pool: self.work.memory.slice(0, self.work.memory.len()),
                block_stride: self.layout().len(),
                keys_at: self.layout().keys_at(0, head),
                values_at: self.layout().values_at(0, head),
                output: outputs,
                scores: own.scores.slice(0, tokens.len() * score_stride),
                score_stride,
                scratch: own.span.slice(0, scratch_len(head_dim)),
            };
            (self.kernels.attend)(&mut task);
            for (token, values) in tokens.zip(outputs.chunks_exact(head_dim)) {
                let input = &self.work.input;
                input.store(self.kernels, token, head * head_dim, values, width);
            }
        }
    }

    /// Adds a projection to the residual, then normalises it.
    fn add(&self, linear: &Linear, input: &Activations, norm: &Norm) {
        let width = self.model.shape.width;
        self.member.each(width / TILE, CHUNK, |tiles| {
            for tile in tiles {
                self.project(linear, tile, input, |token, values| {
                    let at = token * width + tile * TILE;
                    let residual = unsafe { self.work.residual.slice(at, TILE) };
                    for (residual, value) in residual.iter_mut().zip(values) {
                        *residual += *value;
                    }
                });
            }
        });
        self.member.each(self.texts.num_tokens(), PANEL, |tokens| {
            tokens.for_each(|token| self.normalise(norm, token));
        });
    }

    fn up(&self, linear: &Linear) {
        let width = self.model.shape.ffn_width;
        // A unit is a block of the hidden width, two tiles.
        self.member.each(width / BLOCK, CHUNK, |units| {
            for unit in units {
                for half in 0..BLOCK / TILE {
                    let tile = unit * (BLOCK / TILE) + half;
                    self.project(linear, tile, &self.work.input, |token, values| unsafe {
                        (self.kernels.gelu)(values);
                        let hidden = &self.work.hidden;
                        hidden
                            .values(token, tile * TILE, TILE, width)
                            .copy_from_slice(values);
                        if half == BLOCK / TILE - 1 {
                            hidden.put_values(self.kernels, token, unit, width);
                        }
                    });
                }
            }
        });
    }

    fn pool(&self) {
        let EncoderShape { width, pooling, .. } = self.model.shape;
        self.member.each(self.texts.len(), 1, |texts| {
            for text in texts {
                let mut tokens = self.texts.tokens(text);
                if pooling == Pooling::First {
                    tokens.end = tokens.start + 1;
                }
                let vector = unsafe { self.work.vectors.slice(text * width, width) };
                vector.fill(0.0);
                for token in tokens {
                    let row = unsafe { self.work.residual.slice(token * width, width) };
                    for (sum, value) in vector.iter_mut().zip(row) {
                        *sum += *value;
                    }
                }
                // The mean's own divisor goes with the length.
                let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                let inverse = 1.0 / length.max(f32::MIN_POSITIVE);
                for value in vector {
                    *value *= inverse;
                }
            }
        });
    }
}
