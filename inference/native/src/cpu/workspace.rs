//! Everything a step writes but keys and values, shared by the team. Buffers only grow.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::products::GROUP_BLOCKS;
use crate::batch::Batch;
use crate::kernels::rows::{Digits, PASS, TileBlock, TokenScale, WIDE, token_scale};
use crate::kernels::{Kernels, MAX_ROWS, PANEL, QuantBlock, scratch_len};
use crate::matrix::{Arithmetic, BLOCK, TILE};
use crate::model::Shape;
use crate::shared::Shared;

/// The input of a projection: tokens' values, and the same quantised, in the one or the other arithmetic.
pub struct Activations {
    /// [token, width]
    values: Shared<f32>,
    /// [token / `PANEL`, width / `BLOCK`, `PANEL`]
    blocks: Shared<QuantBlock>,
    /// [token / `PANEL`, width / `WIDE`]
    tiles: Shared<TileBlock>,
    /// [token]
    scales: Shared<TokenScale>,
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
        if kernels.arithmetic == Arithmetic::Rows
            && self.register_rows.swap(0, Ordering::Relaxed) > 0
        {
            // SAFETY: kernels that began products were detected.
            unsafe { (kernels.rows.end)() };
        }
    }

    /// Room for products of matrices of at most `width` columns; a unit is `unit_tiles` of their tiles or less.
    pub fn fit_products(&mut self, width: usize, unit_tiles: usize) {
        let len = unit_tiles * width.div_ceil(WIDE);
        self.expanded.grow(len.max(GROUP_BLOCKS));
        self.products.grow(2 * PASS);
    }
}

impl Activations {
    pub fn new() -> Self {
        Self {
            values: Shared::new(),
            blocks: Shared::new(),
            tiles: Shared::new(),
            scales: Shared::new(),
        }
    }

    pub fn grow(&mut self, kernels: &Kernels, num_tokens: usize, width: usize) {
        self.values.grow(num_tokens.next_multiple_of(PANEL) * width);
        match kernels.arithmetic {
            Arithmetic::Rows => {
                let panels = num_tokens.div_ceil(PANEL);
                self.tiles.grow(panels * width.div_ceil(WIDE));
                self.scales.grow(panels * PANEL);
            }
            Arithmetic::Blocks => {
                let tokens = num_tokens.next_multiple_of(PANEL);
                self.blocks.grow(tokens * width / BLOCK);
            }
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

    /// Puts block `block` of a token where the products read it; in the arithmetic of rows nothing, as a whole row has to be
    /// known: see `split`.
    ///
    /// # Safety
    /// As of `Shared::slice`, for this block of this token; the kernels were detected.
    unsafe fn put(
        &self,
        kernels: &Kernels,
        token: usize,
        block: usize,
        values: &[f32; BLOCK],
        width: usize,
    ) {
        if kernels.arithmetic == Arithmetic::Rows {
            return;
        }
        let at = (token / PANEL * (width / BLOCK) + block) * PANEL + token % PANEL;
        // SAFETY: the caller's promise.
        unsafe { (kernels.quantize)(values, &mut self.blocks.slice(at, 1)[0]) };
    }

    /// Makes a token's digits of its values, which may be another's.
    ///
    /// # Safety
    /// As of `Shared::slice`, for this token; the kernels were detected.
    pub unsafe fn split(&self, kernels: &Kernels, token: usize, values: &[f32]) {
        let len = values.len().div_ceil(WIDE);
        let tiles = self.tiles.pointer(token / PANEL * len, len);
        // SAFETY: the caller's promise. Of a tile block only this token's lines are touched.
        unsafe {
            let (scale, inverse) = token_scale((kernels.rows.largest)(values));
            let [upper_sum, lower_sum] =
                (kernels.rows.split)(values, inverse, tiles, token % PANEL * 2);
            self.scales.slice(token, 1)[0] = TokenScale {
                scale,
                upper_sum,
                lower_sum,
            };
        }
    }

    /// Digits of `count` tokens from `first` on, the first of a panel.
    ///
    /// # Safety
    /// As `panels`, for these tokens.
    pub unsafe fn digits(&self, first: usize, count: usize, width: usize) -> Digits<'_> {
        let len = width.div_ceil(WIDE);
        // SAFETY: the caller's promise.
        unsafe {
            Digits {
                tiles: self
                    .tiles
                    .slice(first / PANEL * len, count.div_ceil(PANEL) * len),
                scales: self.scales.slice(first, count),
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
        // SAFETY: the caller's promise.
        unsafe {
            if kernels.arithmetic == Arithmetic::Rows {
                self.split(kernels, token, self.values(token, 0, width, width));
                return;
            }
            for block in 0..width / BLOCK {
                self.put_values(kernels, token, block, width);
            }
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

    /// Blocks of `count` panels from `first` on.
    ///
    /// # Safety
    /// Nobody writes to these panels until the next phase.
    pub unsafe fn panels(&self, first: usize, count: usize, width: usize) -> &[QuantBlock] {
        let len = width / BLOCK * PANEL;
        // SAFETY: the caller's promise.
        unsafe { self.blocks.slice(first * len, count * len) }
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
            let widest = input_width.max(shape.ffn_width);
            own.input.grow(kernels, PANEL, widest);
            own.fit_products(widest, (shape.head_dim / TILE).max(2 * BLOCK / TILE));
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
