//! An encoder of the `bert` architecture: tokens see each other in both directions, and a text becomes one vector.
//! Sources: Devlin et al. 2018; Reimers and Gurevych 2019 for the pooling.

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::matrix::{Arithmetic, BLOCK, Matrix, load_vector};

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    Mean,
    /// That of the first token.
    First,
}

#[derive(Debug, Clone)]
pub struct EncoderShape {
    pub name: String,
    pub num_layers: usize,
    /// Tokens of the longest text, the two around it included.
    pub context_length: usize,
    pub width: usize,
    pub ffn_width: usize,
    pub num_heads: usize,
    pub vocab_size: usize,
    pub norm_epsilon: f32,
    pub pooling: Pooling,
}

pub struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

pub struct Linear {
    pub matrix: Matrix,
    /// One for each row of the matrix.
    pub bias: Vec<f32>,
}

pub struct EncoderLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub output_norm: Norm,
}

pub struct EncoderModel {
    pub shape: EncoderShape,
    pub embedding: Matrix,
    /// [position, width]
    pub positions: Matrix,
    /// [width] added to every token: all of a text are of the first type.
    pub token_type: Vec<f32>,
    pub embedding_norm: Norm,
    pub layers: Vec<EncoderLayer>,
}

impl EncoderShape {
    pub fn head_dim(&self) -> usize {
        self.width / self.num_heads
    }

    fn read(gguf: &Gguf) -> Result<Self> {
        let architecture = gguf.text("general.architecture")?;
        if architecture != "bert" {
            return Err(Error::new(format!(
                "architecture {architecture} makes no embeddings, expected bert"
            )));
        }
        let number = |key: &str, max: i128| gguf.integer(&format!("bert.{key}"), 1..=max);
        let shape = Self {
            name: gguf.text("general.name").unwrap_or("unnamed").to_owned(),
            num_layers: number("block_count", 1 << 10)?,
            context_length: number("context_length", 1 << 16)?,
            width: number("embedding_length", 1 << 14)?,
            ffn_width: number("feed_forward_length", 1 << 18)?,
            num_heads: number("attention.head_count", 1 << 10)?,
            vocab_size: gguf.texts("tokenizer.ggml.tokens")?.len(),
            norm_epsilon: gguf.float("bert.attention.layer_norm_epsilon")?,
            pooling: match gguf.integer("bert.pooling_type", 0..=4)? {
                1 => Pooling::Mean,
                2 => Pooling::First,
                other => {
                    return Err(Error::new(format!(
                        "bert.pooling_type is {other}, expected 1 (mean) or 2 (first token)"
                    )));
                }
            },
        };
        if !shape.width.is_multiple_of(shape.num_heads)
            || !shape.head_dim().is_multiple_of(BLOCK)
            || !shape.ffn_width.is_multiple_of(BLOCK)
            || shape.vocab_size > 1 << 22
        {
            return Err(Error::new(format!(
                "the model's width is not supported: {shape:?}"
            )));
        }
        Ok(shape)
    }
}

impl EncoderModel {
    /// Fails with a sentence on what is missing, of another shape, or not supported.
    pub fn load(gguf: &Gguf) -> Result<Self> {
        let shape = EncoderShape::read(gguf)?;
        let width = shape.width;
        let types = gguf.tensor("token_types.weight")?.num_rows();
        let mut token_type = vec![0.0; width];
        load_matrix(gguf, "token_types.weight", types, width)?.dequantize_row(0, &mut token_type);
        let positions = shape.context_length;
        Ok(Self {
            embedding: load_matrix(gguf, "token_embd.weight", shape.vocab_size, width)?,
            positions: load_matrix(gguf, "position_embd.weight", positions, width)?,
            token_type,
            embedding_norm: Norm::load(gguf, "token_embd_norm", width)?,
            layers: (0..shape.num_layers)
                .map(|layer| EncoderLayer::load(gguf, &shape, layer))
                .collect::<Result<_>>()?,
            shape,
        })
    }

    pub fn weights_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.query,
                &layer.key,
                &layer.value,
                &layer.output,
                &layer.up,
                &layer.down,
            ]
        });
        layers
            .map(|linear| &linear.matrix)
            .chain([&self.embedding, &self.positions])
            .map(Matrix::bytes_len)
            .sum()
    }
}

impl EncoderLayer {
    fn load(gguf: &Gguf, shape: &EncoderShape, layer: usize) -> Result<Self> {
        let (width, ffn) = (shape.width, shape.ffn_width);
        let linear = |name: &str, rows, columns| {
            Linear::load(gguf, &format!("blk.{layer}.{name}"), rows, columns)
        };
        let norm = |name: &str| Norm::load(gguf, &format!("blk.{layer}.{name}"), width);
        Ok(Self {
            query: linear("attn_q", width, width)?,
            key: linear("attn_k", width, width)?,
            value: linear("attn_v", width, width)?,
            output: linear("attn_output", width, width)?,
            attention_norm: norm("attn_output_norm")?,
            up: linear("ffn_up", ffn, width)?,
            down: linear("ffn_down", width, ffn)?,
            output_norm: norm("layer_output_norm")?,
        })
    }
}

impl Linear {
    fn load(gguf: &Gguf, name: &str, rows: usize, columns: usize) -> Result<Self> {
        Ok(Self {
            matrix: load_matrix(gguf, &format!("{name}.weight"), rows, columns)?,
            bias: load_vector(gguf, &format!("{name}.bias"), rows)?,
        })
    }
}

impl Norm {
    fn load(gguf: &Gguf, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: load_vector(gguf, &format!("{name}.weight"), width)?,
            bias: load_vector(gguf, &format!("{name}.bias"), width)?,
        })
    }
}

/// Vectors are kept and compared with those of other machines, so they are of the arithmetic that all have.
fn load_matrix(gguf: &Gguf, name: &str, num_rows: usize, num_columns: usize) -> Result<Matrix> {
    Matrix::load(gguf, Arithmetic::Blocks, name, num_rows, num_columns)
}
