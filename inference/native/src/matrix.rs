//! Weight matrices in the layout the kernels read. Owns the repacked bytes; the file's own layout is not kept.

mod block;
mod codes;
mod decode;
mod layout;
mod rows;
#[cfg(test)]
mod tests;

use half::{bf16, f16};

pub use self::block::{RowBlock, f32_at};
pub use self::layout::{Arithmetic, BLOCK, FloatLayout, Layout, QuantLayout, TILE};
pub use self::rows::{BLOCK_SCALES, ROW_SCALES, RowCodes};
use self::rows::{MAX_COLUMNS, row_scale, scale_at};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Tensor, TensorType};
use crate::huge_pages::Buffer;

pub struct Matrix {
    pub layout: Layout,
    pub num_rows: usize,
    pub num_columns: usize,
    /// Aligned to a cache line, for 512-bit loads.
    bytes: Buffer<u8>,
    tile_bytes: usize,
}

impl Matrix {
    /// Repacks a tensor of `num_rows` × `num_columns`. Fails when its shape is another.
    pub fn load(
        gguf: &Gguf,
        arithmetic: Arithmetic,
        name: &str,
        num_rows: usize,
        num_columns: usize,
    ) -> Result<Self> {
        Self::load_ordered(gguf, arithmetic, name, num_rows, num_columns, |row| row)
    }

    /// As `load`, but row `r` is row `order(r)` of the file; `order` is a permutation.
    pub fn load_ordered(
        gguf: &Gguf,
        arithmetic: Arithmetic,
        name: &str,
        num_rows: usize,
        num_columns: usize,
        order: impl Fn(usize) -> usize,
    ) -> Result<Self> {
        let tensor = gguf.tensor(name)?;
        if tensor.num_rows() != num_rows || tensor.row_len() != num_columns {
            let (rows, columns) = (tensor.num_rows(), tensor.row_len());
            return Err(Error::new(format!(
                "tensor {name} is {rows} × {columns}, expected {num_rows} × {num_columns}"
            )));
        }
        let layout = Layout::of(tensor.kind, arithmetic);
        if matches!(layout, Layout::Rows(_)) && num_columns > MAX_COLUMNS {
            return Err(Error::new(format!(
                "tensor {name} has {num_columns} columns, the arithmetic of rows takes {MAX_COLUMNS}"
            )));
        }
        let bytes = gguf.room(num_rows.div_ceil(TILE) * layout.tile_bytes(num_columns))?;
        Ok(Self::repack(
            layout,
            tensor,
            gguf.bytes(tensor),
            order,
            bytes,
        ))
    }

    fn repack(
        layout: Layout,
        tensor: &Tensor,
        source: &[u8],
        order: impl Fn(usize) -> usize,
        mut bytes: Buffer<u8>,
    ) -> Self {
        let (num_rows, num_columns) = (tensor.num_rows(), tensor.row_len());
        let tile_bytes = layout.tile_bytes(num_columns);
        let row_bytes = source.len() / num_rows;
        for row in 0..num_rows {
            let start = row / TILE * tile_bytes;
            let tile = &mut bytes[start..start + tile_bytes];
            let from = &source[order(row) * row_bytes..][..row_bytes];
            match layout {
                Layout::Quant(layout) => {
                    let blocks = tile.chunks_exact_mut(layout.block_bytes());
                    for (index, block) in blocks.enumerate() {
                        decode::decode(tensor.kind, from, index).write(layout, block, row % TILE);
                    }
                }
                Layout::Rows(layout) => {
                    let blocks = 0..num_columns / BLOCK;
                    let decoded = blocks.map(|index| decode::decode(tensor.kind, from, index));
                    let decoded: Vec<_> = decoded.collect();
                    let scale = row_scale(layout, &decoded);
                    let (scales, tile) = tile.split_at_mut(ROW_SCALES);
                    scales[row % TILE * 4..][..4].copy_from_slice(&scale.to_le_bytes());
                    let blocks = tile.chunks_exact_mut(layout.row_block_bytes());
                    for (block, decoded) in blocks.zip(&decoded) {
                        RowCodes::new(layout, decoded, scale).write(layout, block, row % TILE);
                    }
                }
                Layout::Float(layout) => {
                    let width = layout.column_bytes() / TILE;
                    let columns = tile.chunks_exact_mut(layout.column_bytes());
                    for (column, value) in columns.zip(from.chunks_exact(width)) {
                        column[row % TILE * width..][..width].copy_from_slice(value);
                    }
                }
            }
        }
        Self {
            layout,
            num_rows,
            num_columns,
            bytes,
            tile_bytes,
        }
    }

    pub fn num_tiles(&self) -> usize {
        self.num_rows.div_ceil(TILE)
    }

    /// The bytes of one tile; 64-byte aligned, but for an odd number of columns of two bytes. @panics beyond the last tile
    pub fn tile(&self, index: usize) -> &[u8] {
        let start = index * self.tile_bytes;
        &self.bytes[start..start + self.tile_bytes]
    }

    /// Writes row `row` as floats, in the arithmetic of rows to 16 bits; `out` has `num_columns` places.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        let (tile, lane) = (self.tile(row / TILE), row % TILE);
        match self.layout {
            Layout::Quant(layout) => {
                let blocks = tile.chunks_exact(layout.block_bytes());
                for (out, block) in out.as_chunks_mut().0.iter_mut().zip(blocks) {
                    *out = RowBlock::read(layout, block, lane).values(layout);
                }
            }
            Layout::Rows(layout) => {
                let scale = scale_at(tile, lane);
                let blocks = tile[ROW_SCALES..].chunks_exact(layout.row_block_bytes());
                for (out, block) in out.as_chunks_mut().0.iter_mut().zip(blocks) {
                    *out = RowCodes::read(layout, block, lane).values(layout, scale);
                }
            }
            Layout::Float(layout) => {
                for (out, column) in out.iter_mut().zip(tile.chunks_exact(layout.column_bytes())) {
                    *out = float_at(layout, column, lane);
                }
            }
        }
    }

    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The value of one row in a column of a tile.
pub fn float_at(layout: FloatLayout, column: &[u8], lane: usize) -> f32 {
    let half = |at: usize| [column[at], column[at + 1]];
    match layout {
        FloatLayout::F16 => f16::from_le_bytes(half(lane * 2)).to_f32(),
        FloatLayout::Bf16 => bf16::from_le_bytes(half(lane * 2)).to_f32(),
        FloatLayout::F32 => f32_at(column, lane * 4),
    }
}

/// A vector of floats stored as F32, F16 or BF16 (norm weights).
pub fn load_vector(gguf: &Gguf, name: &str, len: usize) -> Result<Vec<f32>> {
    let tensor = gguf.tensor(name)?;
    if tensor.row_len() != len || tensor.num_rows() != 1 {
        return Err(Error::new(format!(
            "tensor {name} has {} values, expected {len}",
            tensor.row_len() * tensor.num_rows()
        )));
    }
    let source = gguf.bytes(tensor);
    let halves = source.as_chunks::<2>().0.iter();
    match tensor.kind {
        TensorType::F32 => Ok(source
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()),
        TensorType::F16 => Ok(halves.map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
        TensorType::Bf16 => Ok(halves.map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
        _ => Err(Error::new(format!(
            "tensor {name} must be F32, F16 or BF16"
        ))),
    }
}
