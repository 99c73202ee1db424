//! Everything a step writes but keys and values, shared by the team. Buffers only grow.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batch::Batch;
use crate::kernels::bf16::{PASS, TOKENS, TileBlock};
use crate::kernels::{Kernels, MAX_ROWS, PANEL, QuantBlock, scratch_len};
use crate::matrix::{BLOCK, TILE};
use crate::model::Shape;
use crate::shared::Shared;

/// The input of a projection: tokens' values, and the same quantised, or in bf16 where the kernels want that.
pub struct Activations {
    /// [token, width]
    values: Shared<f32>,
    /// [token / `PANEL`, width / `BLOCK`, `PANEL`]
    blocks: Shared<QuantBlock>,
    /// [token / `TOKENS`, width / `BLOCK`] of 16 tokens and 32 columns
    tiles: Shared<TileBlock>,
}

pub struct Workspace {
    /// [token, width] residual stream
    pub residual: Shared<f32>,
    /// What the projections of a layer read: normalised residuals, then the outputs of the attention.
    pub input: Activations,
    /// What the down projection reads: written while the input is still read.
    pub hidden: Activations,
    /// [token, width] a projection that is normalised before it is added; empty in models without such norms
    pub projected: Shared<f32>,
    /// [token, `q_width`], rope applied
    pub query: Shared<f32>,
    /// [sample, vocabulary]
    pub logits: Shared<f32>,
    /// [sample]
    pub sampled: Shared<u32>,
    /// One a thread.
    pub own: Vec<Own>,
}

/// A thread's own scratch.
pub struct Own {
    /// One panel of normalised tokens: where they are few, each thread normalises them all, which is cheaper than a phase.
    pub input: Activations,
    /// [`MAX_ROWS`, longest context rounded up to 16]
    pub scores: Shared<f32>,
    /// [`MAX_ROWS`, `head_dim`] of an attention; before it, the heads that are being projected
    pub heads: Shared<f32>,
    /// An attention's, see `HeadTask`
    pub span: Shared<f32>,
    /// [vocabulary] a copy for the sampler to change
    pub logits: Shared<f32>,
    /// [slot, blocks of a tile of weights] tiles that were opened for many tokens
    pub expanded: Shared<TileBlock>,
    /// [2, `PASS`] products of a tile with some tokens
    pub products: Shared<[f32; TILE]>,
    /// How many tokens a tile register of this thread holds now; 0 = it has none.
    pub register_rows: AtomicUsize,
}

impl Own {
    pub fn new() -> Self {
        Self {
            input: Activations::new(),
            scores: Shared::new(),
            heads: Shared::new(),
            span: Shared::new(),
            logits: Shared::new(),
            expanded: Shared::new(),
            products: Shared::new(),
            register_rows: AtomicUsize::new(0),
        }
    }

    /// Gives tile registers back when products are over; called on the thread itself.
    pub fn end_products(&self, kernels: &Kernels) {
        if let Some(bf16) = &kernels.bf16
            && self.register_rows.swap(0, Ordering::Relaxed) > 0
        {
            // SAFETY: kernels that began products were detected.
            unsafe { (bf16.end)() };
        }
    }

    /// Room for products of matrices of at most `width` columns, `num_slots` of whose tiles are open at a time.
    pub fn fit_products(&mut self, width: usize, num_slots: usize) {
        self.expanded.grow(num_slots * width.div_ceil(BLOCK));
        self.products.grow(2 * PASS);
    }
}

impl Activations {
    pub fn new() -> Self {
        Self {
            values: Shared::new(),
            blocks: Shared::new(),
            tiles: Shared::new(),
        }
    }

    pub fn grow(&mut self, kernels: &Kernels, num_tokens: usize, width: usize) {
        self.values.grow(num_tokens.next_multiple_of(PANEL) * width);
        if kernels.bf16.is_some() {
            self.tiles
                .grow(num_tokens.div_ceil(TOKENS) * (width / BLOCK));
        } else {
            self.blocks
                .grow(num_tokens.next_multiple_of(PANEL) * width / BLOCK);
        }
    }

    /// `len` values of a token from `at` on.
    ///
    /// # Safety
    /// As of `Shared::slice`, for these values.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn values(&self, token: usize, at: usize, len: usize, width: usize) -> &mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.values.slice(token * width + at, len) }
    }

    /// Puts block `block` of a token where the products read it.
    ///
    /// # Safety
    /// As of `Shared::slice`, for this block of this token; the kernels were detected.
    pub unsafe fn put(
        &self,
        kernels: &Kernels,
        token: usize,
        block: usize,
        values: &[f32; BLOCK],
        width: usize,
    ) {
        let num_blocks = width / BLOCK;
        // SAFETY: the caller's promise. Of a tile block only this token's row is touched.
        unsafe {
            if let Some(bf16) = &kernels.bf16 {
                let tile = token / TOKENS * num_blocks + block;
                (bf16.narrow)(values, self.tiles.row(tile, token % TOKENS));
            } else {
                let at = (token / PANEL * num_blocks + block) * PANEL + token % PANEL;
                (kernels.quantize)(values, &mut self.blocks.slice(at, 1)[0]);
            }
        }
    }

    /// Writes some of a token's values, a multiple of `BLOCK`, as they are and as the products read them.
    ///
    /// # Safety
    /// As `put`, for these values and their blocks.
    pub unsafe fn store(
        &self,
        kernels: &Kernels,
        token: usize,
        at: usize,
        values: &[f32],
        width: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            self.values(token, at, values.len(), width)
                .copy_from_slice(values);
            for (index, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
                self.put(kernels, token, at / BLOCK + index, values, width);
            }
        }
    }

    /// Puts all values of a token where the products read them.
    ///
    /// # Safety
    /// As `put`.
    pub unsafe fn put_all(&self, kernels: &Kernels, token: usize, width: usize) {
        for block in 0..width / BLOCK {
            // SAFETY: the caller's promise.
            unsafe { self.put_values(kernels, token, block, width) };
        }
    }

    /// Puts one block of a token's values where the products read it.
    ///
    /// # Safety
    /// As `put`.
    pub unsafe fn put_values(&self, kernels: &Kernels, token: usize, block: usize, width: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let values = self.values(token, block * BLOCK, BLOCK, width);
            if let Some(values) = values.first_chunk() {
                self.put(kernels, token, block, values, width);
            }
        }
    }

    /// Blocks of `PANEL` tokens.
    ///
    /// # Safety
    /// Nobody writes to this panel until the next phase.
    pub unsafe fn panel(&self, panel: usize, width: usize) -> &[QuantBlock] {
        let len = width / BLOCK * PANEL;
        // SAFETY: the caller's promise.
        unsafe { self.blocks.slice(panel * len, len) }
    }

    /// Blocks of `num_registers` times 16 tokens.
    ///
    /// # Safety
    /// As `panel`, for these tokens.
    pub unsafe fn registers(
        &self,
        first: usize,
        num_registers: usize,
        width: usize,
    ) -> &[TileBlock] {
        let len = width / BLOCK;
        // SAFETY: the caller's promise.
        unsafe { self.tiles.slice(first * len, num_registers * len) }
    }
}

impl Workspace {
    pub fn new(num_threads: usize) -> Self {
        Self {
            residual: Shared::new(),
            input: Activations::new(),
            hidden: Activations::new(),
            projected: Shared::new(),
            query: Shared::new(),
            logits: Shared::new(),
            sampled: Shared::new(),
            own: (0..num_threads).map(|_| Own::new()).collect(),
        }
    }

    /// Makes room for a batch that was checked.
    pub fn fit(&mut self, kernels: &Kernels, shape: &Shape, batch: &Batch) {
        let (tokens, samples) = (batch.num_tokens(), batch.sample_rows.len());
        self.residual.grow(tokens * shape.width);
        let input_width = shape.width.max(shape.q_width());
        self.input.grow(kernels, tokens.max(samples), input_width);
        self.hidden.grow(kernels, tokens, shape.ffn_width);
        if shape.architecture.has_post_norms() {
            self.projected.grow(tokens * shape.width);
        }
        self.query.grow(tokens * shape.q_width());
        self.logits.grow(samples * shape.vocab_size);
        self.sampled.grow(samples);
        let longest = score_stride(batch);
        for own in &mut self.own {
            own.input.grow(kernels, PANEL, shape.width);
            own.fit_products(
                input_width.max(shape.ffn_width),
                (shape.head_dim / TILE).max(2),
            );
            own.scores.grow(MAX_ROWS * longest);
            own.heads.grow((PASS + 1).max(MAX_ROWS) * shape.head_dim);
            own.span.grow(scratch_len(shape.head_dim));
            own.logits.grow(shape.vocab_size);
        }
    }
}

/// Floats of one row of scores.
pub fn score_stride(batch: &Batch) -> usize {
    let longest = batch.context_lens.iter().max().copied().unwrap_or(0);
    (longest as usize).next_multiple_of(TILE)
}
