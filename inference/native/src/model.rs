//! A llama model: its shape from the metadata, its weights repacked, its rope table.

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::kernels::MAX_ROWS;
use crate::matrix::{BLOCK, Matrix, TILE, load_vector};

/// A million positions of 128 values: bounds what a hostile header can make us allocate.
const MAX_ROPE_VALUES: usize = 1 << 27;

#[derive(Debug, Clone)]
pub struct Shape {
    pub name: String,
    pub architecture: String,
    pub num_layers: usize,
    pub context_length: usize,
    pub width: usize,
    pub ffn_width: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub rope_dim: usize,
    pub rope_base: f32,
    pub norm_epsilon: f32,
}

impl Shape {
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    fn read(gguf: &Gguf) -> Result<Self> {
        let architecture = gguf.text("general.architecture")?.to_owned();
        if architecture != "llama" {
            return Err(Error::new(format!(
                "architecture {architecture} is not supported, expected llama"
            )));
        }
        let number = |key: &str, max: i128| gguf.integer(&format!("{architecture}.{key}"), 1..=max);
        let width = number("embedding_length", 1 << 16)?;
        let num_heads = number("attention.head_count", 1 << 10)?;
        // A number that is there but out of range is an error, not the default.
        let optional = |key: &str, max: i128, default: usize| match gguf
            .value(&format!("{architecture}.{key}"))
        {
            None => Ok(default),
            Some(_) => number(key, max),
        };
        let num_kv_heads = optional("attention.head_count_kv", 1 << 10, num_heads)?;
        let head_dim = optional("attention.key_length", 1 << 10, width / num_heads)?;
        let shape = Self {
            name: gguf.text("general.name").unwrap_or("unnamed").to_owned(),
            num_layers: number("block_count", 1 << 10)?,
            context_length: number("context_length", 1 << 22)?,
            width,
            ffn_width: number("feed_forward_length", 1 << 18)?,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: gguf.texts("tokenizer.ggml.tokens")?.len(),
            rope_dim: optional("rope.dimension_count", 1 << 10, head_dim)?,
            rope_base: match gguf.value(&format!("{architecture}.rope.freq_base")) {
                None => 10_000.0,
                Some(_) => gguf.float(&format!("{architecture}.rope.freq_base"))?,
            },
            norm_epsilon: gguf
                .float(&format!("{architecture}.attention.layer_norm_rms_epsilon"))?,
            architecture,
        };
        shape.check()?;
        let scaling = gguf.value(&format!("{}.rope.scaling.type", shape.architecture));
        if gguf.has_tensor("rope_freqs.weight")
            || scaling.is_some_and(|kind| *kind != Value::Text("none".to_owned()))
        {
            return Err(Error::new(
                "the model scales its rope, which is not supported",
            ));
        }
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
        if self.vocab_size == 0 || self.vocab_size > 1 << 22 || self.rope_base <= 0.0 {
            return wrong("vocabulary or rope");
        }
        if self.context_length * self.rope_dim > MAX_ROPE_VALUES {
            return wrong("context length");
        }
        Ok(())
    }
}

pub struct LayerWeights {
    pub attention_norm: Vec<f32>,
    pub query: Matrix,
    pub key: Matrix,
    pub value: Matrix,
    pub output: Matrix,
    pub ffn_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
}

pub struct Model {
    pub shape: Shape,
    pub embedding: Matrix,
    pub layers: Vec<LayerWeights>,
    pub final_norm: Vec<f32>,
    /// None: the embedding is the head too.
    pub head: Option<Matrix>,
    /// [`context_length`, `rope_dim` / 2] of (cos, sin)
    pub rope: Vec<(f32, f32)>,
}

impl Model {
    pub fn load(gguf: &Gguf) -> Result<Self> {
        let shape = Shape::read(gguf)?;
        let (width, ffn) = (shape.width, shape.ffn_width);
        let layers = (0..shape.num_layers)
            .map(|layer| {
                let matrix = |name: &str, rows, columns| {
                    Matrix::load(gguf, &format!("blk.{layer}.{name}.weight"), rows, columns)
                };
                Ok(LayerWeights {
                    attention_norm: load_vector(
                        gguf,
                        &format!("blk.{layer}.attn_norm.weight"),
                        width,
                    )?,
                    query: matrix("attn_q", shape.q_width(), width)?,
                    key: matrix("attn_k", shape.kv_width(), width)?,
                    value: matrix("attn_v", shape.kv_width(), width)?,
                    output: matrix("attn_output", width, shape.q_width())?,
                    ffn_norm: load_vector(gguf, &format!("blk.{layer}.ffn_norm.weight"), width)?,
                    gate: matrix("ffn_gate", ffn, width)?,
                    up: matrix("ffn_up", ffn, width)?,
                    down: matrix("ffn_down", width, ffn)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let head = if gguf.has_tensor("output.weight") {
            Some(Matrix::load(
                gguf,
                "output.weight",
                shape.vocab_size,
                width,
            )?)
        } else {
            None
        };
        Ok(Self {
            embedding: Matrix::load(gguf, "token_embd.weight", shape.vocab_size, width)?,
            layers,
            final_norm: load_vector(gguf, "output_norm.weight", width)?,
            head,
            rope: rope_table(&shape),
            shape,
        })
    }

    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    pub fn weights_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.query,
                &layer.key,
                &layer.value,
                &layer.output,
                &layer.gate,
                &layer.up,
                &layer.down,
            ]
        });
        layers
            .chain([&self.embedding])
            .chain(&self.head)
            .map(Matrix::bytes_len)
            .sum()
    }
}

/// Source: rotary embeddings, Su et al. 2021; pairs are neighbours, as GGUF stores llama's queries and keys.
fn rope_table(shape: &Shape) -> Vec<(f32, f32)> {
    let half = shape.rope_dim / 2;
    let frequencies: Vec<f64> = (0..half)
        .map(|pair| f64::from(shape.rope_base).powf(-2.0 * pair as f64 / shape.rope_dim as f64))
        .collect();
    (0..shape.context_length)
        .flat_map(|position| {
            frequencies
                .iter()
                .map(move |frequency| (position as f64 * frequency).sin_cos())
        })
        .map(|(sin, cos)| (cos as f32, sin as f32))
        .collect()
}
