//! The weights of one layer, in the order of use.

use super::rope::neighbours_from_halves;
use super::shape::Shape;
use crate::error::Result;
use crate::gguf::Gguf;
use crate::matrix::{Arithmetic, Matrix, load_vector};

/// Queries, keys or values of a layer: all that happens between the residual and the attention.
pub struct Projection {
    pub matrix: Matrix,
    /// One for each row of the matrix.
    pub bias: Option<Vec<f32>>,
    /// [`head_dim`] of each head's own norm
    pub head_norm: Option<Vec<f32>>,
}

pub struct LayerWeights {
    pub attention_norm: Vec<f32>,
    pub query: Projection,
    pub key: Projection,
    pub value: Projection,
    pub output: Matrix,
    pub attention_post_norm: Option<Vec<f32>>,
    pub ffn_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
    pub ffn_post_norm: Option<Vec<f32>>,
    /// The latest positions, as many, are attended to; none = all.
    pub window: Option<usize>,
}

impl LayerWeights {
    pub fn load(gguf: &Gguf, arithmetic: Arithmetic, shape: &Shape, layer: usize) -> Result<Self> {
        let (width, ffn) = (shape.width, shape.ffn_width);
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        let matrix = |tensor: &str, rows, columns| {
            Matrix::load(gguf, arithmetic, &name(tensor), rows, columns)
        };
        let norm = |tensor: &str| load_vector(gguf, &name(tensor), width);
        let post_norm = |tensor: &str| {
            let has_it = shape.architecture.has_post_norms();
            has_it.then(|| norm(tensor)).transpose()
        };
        let projection = |tensor: &str, rows, is_turned| {
            Projection::load(
                gguf,
                arithmetic,
                shape,
                &format!("blk.{layer}.{tensor}"),
                rows,
                is_turned,
            )
        };
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            query: projection("attn_q", shape.q_width(), true)?,
            key: projection("attn_k", shape.kv_width(), true)?,
            value: projection("attn_v", shape.kv_width(), false)?,
            output: matrix("attn_output", width, shape.q_width())?,
            attention_post_norm: post_norm("post_attention_norm")?,
            ffn_norm: norm("ffn_norm")?,
            gate: matrix("ffn_gate", ffn, width)?,
            up: matrix("ffn_up", ffn, width)?,
            down: matrix("ffn_down", width, ffn)?,
            ffn_post_norm: post_norm("post_ffw_norm")?,
            window: shape.window_of(layer),
        })
    }

    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        [&self.query, &self.key, &self.value]
            .map(|projection| &projection.matrix)
            .into_iter()
            .chain([&self.output, &self.gate, &self.up, &self.down])
    }
}

impl Projection {
    /// `is_turned`: rope is applied, so pairs are brought side by side.
    fn load(
        gguf: &Gguf,
        arithmetic: Arithmetic,
        shape: &Shape,
        name: &str,
        num_rows: usize,
        is_turned: bool,
    ) -> Result<Self> {
        let (architecture, head_dim) = (shape.architecture, shape.head_dim);
        let order = |at: usize| {
            if is_turned && architecture.turns_halves() {
                neighbours_from_halves(at, head_dim, shape.rope_dim)
            } else {
                at
            }
        };
        let vector = |name: &str, len: usize| -> Result<Vec<f32>> {
            let values = load_vector(gguf, name, len)?;
            Ok((0..len).map(|at| values[order(at)]).collect())
        };
        // Some llamas have a bias as well.
        let bias = format!("{name}.bias");
        let has_bias = architecture.has_bias() || gguf.has_tensor(&bias);
        let has_norm = is_turned && architecture.has_head_norms();
        Ok(Self {
            matrix: Matrix::load_ordered(
                gguf,
                arithmetic,
                &format!("{name}.weight"),
                num_rows,
                shape.width,
                order,
            )?,
            bias: has_bias.then(|| vector(&bias, num_rows)).transpose()?,
            head_norm: has_norm
                .then(|| vector(&format!("{name}_norm.weight"), head_dim))
                .transpose()?,
        })
    }
}
