//! Everything a step writes but keys and values, shared by the team. Buffers only grow.

use crate::batch::Batch;
use crate::kernels::{Kernels, MAX_ROWS, PANEL, QuantBlock, scratch_len};
use crate::matrix::{BLOCK, TILE};
use crate::model::Shape;
use crate::shared::Shared;

/// The input of a projection: tokens' values, and the same quantised.
pub struct Activations {
    /// [token, width]
    values: Shared<f32>,
    /// [token / `PANEL`, width / `BLOCK`, `PANEL`]
    blocks: Shared<QuantBlock>,
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
}

impl Own {
    pub fn new() -> Self {
        Self {
            input: Activations::new(),
            scores: Shared::new(),
            heads: Shared::new(),
            span: Shared::new(),
            logits: Shared::new(),
        }
    }
}

impl Activations {
    pub fn new() -> Self {
        Self {
            values: Shared::new(),
            blocks: Shared::new(),
        }
    }

    pub fn grow(&mut self, num_tokens: usize, width: usize) {
        let num_tokens = num_tokens.next_multiple_of(PANEL);
        self.values.grow(num_tokens * width);
        self.blocks.grow(num_tokens * width / BLOCK);
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

    /// # Safety
    /// As of `Shared::slice`, for this block of this token.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn block(&self, token: usize, block: usize, width: usize) -> &mut QuantBlock {
        let at = (token / PANEL * (width / BLOCK) + block) * PANEL + token % PANEL;
        // SAFETY: the caller's promise.
        unsafe { &mut self.blocks.slice(at, 1)[0] }
    }

    /// Writes some of a token's values, a multiple of `BLOCK`, as they are and quantised.
    ///
    /// # Safety
    /// As of `Shared::slice`, for these values and their blocks; the kernels were detected.
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
                (kernels.quantize)(values, self.block(token, at / BLOCK + index, width));
            }
        }
    }

    /// Quantises all values of a token.
    ///
    /// # Safety
    /// As of `store`.
    pub unsafe fn quantize(&self, kernels: &Kernels, token: usize, width: usize) {
        for block in 0..width / BLOCK {
            // SAFETY: the caller's promise.
            unsafe { self.quantize_block(kernels, token, block, width) };
        }
    }

    /// Quantises one block of a token's values.
    ///
    /// # Safety
    /// As of `store`.
    pub unsafe fn quantize_block(
        &self,
        kernels: &Kernels,
        token: usize,
        block: usize,
        width: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let values = self.values(token, block * BLOCK, BLOCK, width);
            if let Some(values) = values.first_chunk() {
                (kernels.quantize)(values, self.block(token, block, width));
            }
        }
    }

    /// # Safety
    /// Nobody writes to this panel until the next phase.
    pub unsafe fn panel(&self, panel: usize, width: usize) -> &[QuantBlock] {
        let len = width / BLOCK * PANEL;
        // SAFETY: the caller's promise.
        unsafe { self.blocks.slice(panel * len, len) }
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
    pub fn fit(&mut self, shape: &Shape, batch: &Batch) {
        let (tokens, samples) = (batch.num_tokens(), batch.sample_rows.len());
        self.residual.grow(tokens * shape.width);
        self.input
            .grow(tokens.max(samples), shape.width.max(shape.q_width()));
        self.hidden.grow(tokens, shape.ffn_width);
        if shape.architecture.has_post_norms() {
            self.projected.grow(tokens * shape.width);
        }
        self.query.grow(tokens * shape.q_width());
        self.logits.grow(samples * shape.vocab_size);
        self.sampled.grow(samples);
        let longest = score_stride(batch);
        for own in &mut self.own {
            own.input.grow(PANEL, shape.width);
            own.scores.grow(MAX_ROWS * longest);
            own.heads.grow(MAX_ROWS * shape.head_dim);
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
