//! A decoder's numbers from its metadata, checked against what the kernels can do.

use super::architecture::Architecture;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::kernels::MAX_ROWS;
use crate::kv_pool::{BlockLayout, KvFormat};
use crate::matrix::{BLOCK, TILE};

/// A million positions of 128 values: bounds what a hostile header can make us allocate.
const MAX_ROPE_VALUES: usize = 1 << 27;
/// Every sixth layer of gemma 3 attends to everything, unless the file says otherwise.
const GEMMA_PATTERN: usize = 6;
/// The one gemma 3 whose attention is not scaled by its own head dimension is told by its number of layers.
const GEMMA_27B_LAYERS: usize = 62;

#[derive(Debug, Clone)]
pub struct Shape {
    pub name: String,
    pub architecture: Architecture,
    pub num_layers: usize,
    pub context_length: usize,
    pub width: usize,
    pub ffn_width: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub rope_dim: usize,
    pub norm_epsilon: f32,
    /// What a token's embedding is multiplied with, if anything.
    pub embedding_scale: Option<f32>,
    /// What queries are multiplied with before the attention's own 1 / √`head_dim`, if anything.
    pub query_scale: Option<f32>,
    pub window: Option<Window>,
}

/// Layers that attend to the latest positions only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Positions, a token's own among them.
    pub len: usize,
    /// Layers `period` − 1, 2 `period` − 1, … attend to everything.
    pub period: usize,
}

impl Window {
    pub fn holds(self, layer: usize) -> bool {
        !(layer + 1).is_multiple_of(self.period)
    }
}

impl Shape {
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// How the model's keys and values lie in blocks of so many slots.
    pub fn block_layout(&self, block_size: usize, format: KvFormat) -> BlockLayout {
        BlockLayout {
            format,
            block_size,
            num_layers: self.num_layers,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
        }
    }

    /// The positions that a layer attends to; none = all.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        let window = self.window.filter(|window| window.holds(layer))?;
        Some(window.len)
    }

    pub fn read(gguf: &Gguf) -> Result<Self> {
        let architecture = Architecture::from_name(gguf.text("general.architecture")?)?;
        let key = |key: &str| format!("{}.{key}", architecture.name());
        let number = |name: &str, max: i128| gguf.integer(&key(name), 1..=max);
        // A number that is there but out of range is an error, not the default.
        let optional = |name: &str, max: i128, default: usize| match gguf.value(&key(name)) {
            None => Ok(default),
            Some(_) => number(name, max),
        };
        let width = number("embedding_length", 1 << 16)?;
        let num_layers = number("block_count", 1 << 10)?;
        let num_heads = number("attention.head_count", 1 << 10)?;
        let head_dim = optional("attention.key_length", 1 << 10, width / num_heads)?;
        let is_gemma = architecture == Architecture::Gemma3;
        let window = if is_gemma {
            Some(Window {
                len: number("attention.sliding_window", 1 << 22)?,
                period: optional("attention.sliding_window_pattern", 1 << 10, GEMMA_PATTERN)?,
            })
        } else {
            None
        };
        let shape = Self {
            name: gguf.text("general.name").unwrap_or("unnamed").to_owned(),
            num_layers,
            context_length: number("context_length", 1 << 22)?,
            width,
            ffn_width: number("feed_forward_length", 1 << 18)?,
            num_heads,
            num_kv_heads: optional("attention.head_count_kv", 1 << 10, num_heads)?,
            head_dim,
            vocab_size: gguf.texts("tokenizer.ggml.tokens")?.len(),
            rope_dim: optional("rope.dimension_count", 1 << 10, head_dim)?,
            norm_epsilon: gguf.float(&key("attention.layer_norm_rms_epsilon"))?,
            embedding_scale: is_gemma.then(|| (width as f32).sqrt()),
            query_scale: (is_gemma && num_layers == GEMMA_27B_LAYERS)
                .then(|| (head_dim as f32 * num_heads as f32 / width as f32).sqrt()),
            window,
            architecture,
        };
        shape.check()?;
        shape.refuse_what_changes_the_result(gguf)?;
        Ok(shape)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| {
            Err(Error::new(format!(
                "the model's {what} is not supported: {self:?}"
            )))
        };
        if !self.num_heads.is_multiple_of(self.num_kv_heads)
            || self.num_heads / self.num_kv_heads > MAX_ROWS
        {
            return wrong("grouping of heads");
        }
        if self.head_dim == 0
            || !self.head_dim.is_multiple_of(TILE)
            || self.rope_dim > self.head_dim
            || !self.rope_dim.is_multiple_of(2)
        {
            return wrong("head dimension");
        }
        if !self.width.is_multiple_of(BLOCK)
            || !self.ffn_width.is_multiple_of(BLOCK)
            || !(self.q_width() / self.num_kv_heads).is_multiple_of(BLOCK)
        {
            return wrong("width");
        }
        if self.vocab_size == 0 || self.vocab_size > 1 << 22 {
            return wrong("vocabulary");
        }
        if self.context_length * self.rope_dim > MAX_ROPE_VALUES {
            return wrong("context length");
        }
        Ok(())
    }

    /// Metadata and tensors of relatives of these architectures: a file that has them would load and answer wrongly.
    fn refuse_what_changes_the_result(&self, gguf: &Gguf) -> Result<()> {
        let name = self.architecture.name();
        let keys = [
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "expert_count",
        ];
        // A count of no experts is what some conversions write for plain models.
        let key = keys.iter().map(|key| format!("{name}.{key}")).find(|key| {
            gguf.value(key)
                .is_some_and(|_| gguf.integer(key, 0..=0).is_err())
        });
        let tensors = [
            "attn_output.bias",
            "attn_sinks.weight",
            "ffn_gate.bias",
            "ffn_down.bias",
        ];
        let tensor = tensors.iter().map(|tensor| format!("blk.0.{tensor}"));
        let length = gguf.value(&format!("{name}.attention.value_length"));
        let other_length = length.is_some()
            && gguf
                .integer(
                    &format!("{name}.attention.value_length"),
                    self.head_dim as i128..=self.head_dim as i128,
                )
                .is_err();
        match key
            .or_else(|| tensor.into_iter().find(|tensor| gguf.has_tensor(tensor)))
            .or_else(|| other_length.then(|| format!("{name}.attention.value_length")))
        {
            None => Ok(()),
            Some(what) => Err(Error::new(format!(
                "the model has {what}, which architecture {name} does not support here"
            ))),
        }
    }
}
