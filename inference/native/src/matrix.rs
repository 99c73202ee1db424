//! Weight matrices in the layout the kernels read: tiles of 16 rows, interleaved so that one vector lane is one row.
//! Owns the repacked bytes; the file's own layout is not kept.
//!
//! Per tile and block of 32 columns:
//!   Q4 (from `Q4_0` and `Q4_1`): 16 scales f16, 16 minima f16, 4 chunks of 64 bytes; byte `4 r + j` of chunk `p` holds
//!     columns `4 p + j` (low nibble) and `16 + 4 p + j` (high nibble) of row `r`. value = scale · nibble + minimum
//!   Q8: 16 scales f32, 8 chunks of 64 bytes; byte `4 r + j` of chunk `g` is column `4 g + j` of row `r`, plus 128
//! F32 (also from F16): per column 16 values. Rows beyond the last are zero.

use half::f16;

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Tensor, TensorType};

/// Rows of a tile.
pub const TILE: usize = 16;
/// Columns of a quantised block.
pub const BLOCK: usize = 32;
pub const Q4_BYTES: usize = 320;
pub const Q8_BYTES: usize = 576;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Q4,
    Q8,
    F32,
}

/// One cache line: makes a vector of them aligned for 512-bit loads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line([u8; 64]);

pub struct Matrix {
    pub layout: Layout,
    pub num_rows: usize,
    pub num_columns: usize,
    lines: Vec<Line>,
    tile_bytes: usize,
}

impl Matrix {
    /// Repacks a tensor of `num_rows` × `num_columns`. Fails when its shape is another.
    pub fn load(gguf: &Gguf, name: &str, num_rows: usize, num_columns: usize) -> Result<Self> {
        Self::load_ordered(gguf, name, num_rows, num_columns, |row| row)
    }

    /// As `load`, but row `r` is row `order(r)` of the file; `order` is a permutation.
    pub fn load_ordered(
        gguf: &Gguf,
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
        Ok(Self::repack(tensor, gguf.bytes(tensor), order))
    }

    fn repack(tensor: &Tensor, source: &[u8], order: impl Fn(usize) -> usize) -> Self {
        let (num_rows, num_columns) = (tensor.num_rows(), tensor.row_len());
        let (layout, tile_bytes) = match tensor.kind {
            TensorType::Q4_0 | TensorType::Q4_1 => (Layout::Q4, num_columns / BLOCK * Q4_BYTES),
            TensorType::Q8_0 => (Layout::Q8, num_columns / BLOCK * Q8_BYTES),
            TensorType::F16 | TensorType::F32 => (Layout::F32, num_columns * TILE * 4),
        };
        let num_tiles = num_rows.div_ceil(TILE);
        let mut lines = vec![Line([0; 64]); num_tiles * tile_bytes / 64];
        let row_bytes = source.len() / num_rows;
        for row in 0..num_rows {
            let start = row / TILE * tile_bytes;
            let tile = &mut bytes_mut(&mut lines)[start..start + tile_bytes];
            let from = &source[order(row) * row_bytes..][..row_bytes];
            match tensor.kind {
                TensorType::Q4_0 => pack_q4(tile, row % TILE, from, 2),
                TensorType::Q4_1 => pack_q4(tile, row % TILE, from, 4),
                TensorType::Q8_0 => pack_q8(tile, row % TILE, from),
                TensorType::F16 => pack_f32(
                    tile,
                    row % TILE,
                    from.as_chunks::<2>()
                        .0
                        .iter()
                        .map(|b| f16::from_le_bytes(*b).to_f32()),
                ),
                TensorType::F32 => pack_f32(
                    tile,
                    row % TILE,
                    from.as_chunks::<4>()
                        .0
                        .iter()
                        .map(|b| f32::from_le_bytes(*b)),
                ),
            }
        }
        Self {
            layout,
            num_rows,
            num_columns,
            lines,
            tile_bytes,
        }
    }

    pub fn num_tiles(&self) -> usize {
        self.num_rows.div_ceil(TILE)
    }

    /// The bytes of one tile, 64-byte aligned. @panics beyond the last tile
    pub fn tile(&self, index: usize) -> &[u8] {
        let start = index * self.tile_bytes;
        &bytes(&self.lines)[start..start + self.tile_bytes]
    }

    /// Writes row `row` as floats; `out` has `num_columns` places.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        let (tile, lane) = (self.tile(row / TILE), row % TILE);
        match self.layout {
            Layout::F32 => {
                for (column, value) in out.iter_mut().enumerate() {
                    *value = f32_at(tile, (column * TILE + lane) * 4);
                }
            }
            Layout::Q8 => {
                for (out, block) in out.chunks_exact_mut(BLOCK).zip(tile.chunks_exact(Q8_BYTES)) {
                    let scale = f32_at(block, lane * 4);
                    let chunks = block[64..].chunks_exact(64);
                    for (out, chunk) in out.as_chunks_mut::<4>().0.iter_mut().zip(chunks) {
                        for (out, byte) in out.iter_mut().zip(&chunk[lane * 4..]) {
                            *out = scale * (f32::from(*byte) - 128.0);
                        }
                    }
                }
            }
            Layout::Q4 => {
                for (out, block) in out.chunks_exact_mut(BLOCK).zip(tile.chunks_exact(Q4_BYTES)) {
                    let (scale, minimum) = (f16_at(block, lane * 2), f16_at(block, 32 + lane * 2));
                    for at in 0..BLOCK / 2 {
                        let byte = block[64 + at / 4 * 64 + lane * 4 + at % 4];
                        out[at] = minimum + scale * f32::from(byte & 15);
                        out[at + BLOCK / 2] = minimum + scale * f32::from(byte >> 4);
                    }
                }
            }
        }
    }

    pub fn bytes_len(&self) -> usize {
        self.lines.len() * 64
    }
}

/// A vector of floats stored as F32 or F16 (norm weights).
pub fn load_vector(gguf: &Gguf, name: &str, len: usize) -> Result<Vec<f32>> {
    let tensor = gguf.tensor(name)?;
    if tensor.row_len() != len || tensor.num_rows() != 1 {
        return Err(Error::new(format!(
            "tensor {name} has {} values, expected {len}",
            tensor.row_len() * tensor.num_rows()
        )));
    }
    let source = gguf.bytes(tensor);
    match tensor.kind {
        TensorType::F32 => Ok(source
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()),
        TensorType::F16 => Ok(source
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect()),
        _ => Err(Error::new(format!("tensor {name} must be F32 or F16"))),
    }
}

/// `head` is the bytes before the nibbles: 2 (scale) or 4 (scale, minimum). `Q4_0` is `scale · (nibble − 8)`.
fn pack_q4(tile: &mut [u8], lane: usize, row: &[u8], head: usize) {
    for (block, source) in row.chunks_exact(head + 16).enumerate() {
        let target = &mut tile[block * Q4_BYTES..(block + 1) * Q4_BYTES];
        let scale = [source[0], source[1]];
        let minimum = if head == 4 {
            [source[2], source[3]]
        } else {
            f16::from_f32(f16::from_le_bytes(scale).to_f32() * -8.0).to_le_bytes()
        };
        target[lane * 2..lane * 2 + 2].copy_from_slice(&scale);
        target[32 + lane * 2..34 + lane * 2].copy_from_slice(&minimum);
        for (chunk, four) in source[head..].as_chunks::<4>().0.iter().enumerate() {
            let at = 64 + chunk * 64 + lane * 4;
            target[at..at + 4].copy_from_slice(four);
        }
    }
}

fn pack_q8(tile: &mut [u8], lane: usize, row: &[u8]) {
    for (block, source) in row.chunks_exact(34).enumerate() {
        let target = &mut tile[block * Q8_BYTES..(block + 1) * Q8_BYTES];
        let scale = f16::from_le_bytes([source[0], source[1]]).to_f32();
        target[lane * 4..lane * 4 + 4].copy_from_slice(&scale.to_le_bytes());
        for (chunk, four) in source[2..].as_chunks::<4>().0.iter().enumerate() {
            let at = 64 + chunk * 64 + lane * 4;
            target[at..at + 4].copy_from_slice(&four.map(|byte| byte ^ 0x80));
        }
    }
}

fn pack_f32(tile: &mut [u8], lane: usize, row: impl Iterator<Item = f32>) {
    for (column, value) in row.enumerate() {
        let at = (column * TILE + lane) * 4;
        tile[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: a Line is 64 plain bytes without padding, so a slice of lines is a slice of 64 times as many bytes.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
}

fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as above, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 64) }
}

#[cfg(test)]
mod tests;
