//! A decoder: its shape from the metadata, its weights repacked, its rope tables.

mod architecture;
mod encoder;
mod layer;
mod rope;
mod shape;

pub use self::architecture::Gate;
pub use self::encoder::{EncoderLayer, EncoderModel, EncoderShape, Linear, Norm, Pooling};
pub use self::layer::{LayerWeights, Projection};
use self::rope::{RopeTable, rope_tables};
pub use self::shape::Shape;
use crate::error::Result;
use crate::gguf::Gguf;
use crate::matrix::{Arithmetic, Matrix, load_vector};

pub struct Model {
    pub shape: Shape,
    pub embedding: Matrix,
    pub layers: Vec<LayerWeights>,
    pub final_norm: Vec<f32>,
    /// None: the embedding is the head too.
    pub head: Option<Matrix>,
    ropes: Vec<RopeTable>,
}

impl Model {
    /// Fails with a sentence on what is missing, of another shape, or not supported.
    pub fn load(gguf: &Gguf, arithmetic: Arithmetic) -> Result<Self> {
        let shape = Shape::read(gguf)?;
        let (width, vocab) = (shape.width, shape.vocab_size);
        let layers = (0..shape.num_layers)
            .map(|layer| LayerWeights::load(gguf, arithmetic, &shape, layer))
            .collect::<Result<Vec<_>>>()?;
        let head = if gguf.has_tensor("output.weight") {
            Some(Matrix::load(
                gguf,
                arithmetic,
                "output.weight",
                vocab,
                width,
            )?)
        } else {
            None
        };
        Ok(Self {
            embedding: Matrix::load(gguf, arithmetic, "token_embd.weight", vocab, width)?,
            layers,
            final_norm: load_vector(gguf, "output_norm.weight", width)?,
            head,
            ropes: rope_tables(gguf, &shape)?,
            shape,
        })
    }

    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Angles of a position in a layer, `rope_dim` / 2 of (cos, sin).
    pub fn angles(&self, layer: &LayerWeights, position: usize) -> &[(f32, f32)] {
        let half = self.shape.rope_dim / 2;
        let table = &self.ropes[usize::from(layer.window.is_some())];
        &table[position * half..][..half]
    }

    pub fn weights_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(LayerWeights::matrices);
        layers
            .chain([&self.embedding])
            .chain(&self.head)
            .map(Matrix::bytes_len)
            .sum()
    }
}
