//! Weights as the arithmetic of rows knows them: a signed byte times one scale for the whole row. The codes of the file stay;
//! two 16-bit numbers of each block make the byte of a code, in 16-bit arithmetic that wraps around:
//!
//! - Q4, Q5: byte = (code · `first` + `second`) ≫ 8
//! - Q6: byte = (code · d + 128 − 32 · d) ≫ 8, where d is `first` in the front half of the block and `second` in the back
//! - Q8: byte = ((((code − 128) · 256 · `first` + 2¹⁴) ≫ 15) + 128) ≫ 8
//!
//! What is shifted has 8 bits of fraction, so two roundings are as good as one. A tile begins with the scales of its 16 rows,
//! and each of its blocks with 16 `first` and 16 `second`.

use super::block::{RowBlock, f32_at};
use super::layout::{BLOCK, QuantLayout, TILE};

/// Bytes of the scales of a tile's rows, before its first block.
pub const ROW_SCALES: usize = TILE * 4;
/// Bytes of both numbers of 16 rows, before the codes of a block.
pub const BLOCK_SCALES: usize = TILE * 4;

/// Most columns: sums of a byte times a digit fit into 32 bits.
pub const MAX_COLUMNS: usize = 1 << 17;

/// A row's part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowCodes {
    pub codes: [u8; BLOCK],
    pub first: i16,
    pub second: i16,
}

/// The scale of a row: its largest weight becomes 127.
pub fn row_scale(layout: QuantLayout, blocks: &[RowBlock]) -> f32 {
    let values = blocks.iter().flat_map(|block| block.values(layout));
    let largest = values.fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let scales = blocks.iter().map(|block| block.first.abs());
    // A code of Q8 may stand for more than any does: `first` is at most one, in units of 2⁻¹⁵.
    let least = if layout == QuantLayout::Q8 {
        scales.fold(0.0, f32::max)
    } else {
        0.0
    };
    (largest / 127.0).max(least)
}

impl RowCodes {
    /// In units of the row's scale.
    pub fn new(layout: QuantLayout, block: &RowBlock, row_scale: f32) -> Self {
        let in_units = |value: f32| match f64::from(value) / f64::from(row_scale) {
            ratio if ratio.is_finite() => ratio,
            _ => 0.0,
        };
        let wrapped = |value: f64| value.round() as i64 as i16;
        let (first, second) = match layout {
            QuantLayout::Q8 => ((in_units(block.first) * 32768.0).min(32767.0), 0.0),
            QuantLayout::Q6 => (
                in_units(block.first) * 256.0,
                in_units(block.second) * 256.0,
            ),
            _ => (
                in_units(block.first) * 256.0,
                in_units(block.second) * 256.0 + 128.0,
            ),
        };
        Self {
            codes: block.codes,
            first: wrapped(first),
            second: wrapped(second),
        }
    }

    /// Reads row `lane` of a block of a tile.
    pub fn read(layout: QuantLayout, block: &[u8], lane: usize) -> Self {
        let (scales, lines) = block.split_at(BLOCK_SCALES);
        Self {
            codes: layout.read_codes(lines, lane),
            first: i16_at(scales, lane * 2),
            second: i16_at(scales, 32 + lane * 2),
        }
    }

    /// Writes row `lane` of a block of a tile, whose bytes of this row are still zero.
    pub fn write(&self, layout: QuantLayout, block: &mut [u8], lane: usize) {
        let (scales, lines) = block.split_at_mut(BLOCK_SCALES);
        scales[lane * 2..][..2].copy_from_slice(&self.first.to_le_bytes());
        scales[32 + lane * 2..][..2].copy_from_slice(&self.second.to_le_bytes());
        layout.write_codes(&self.codes, lines, lane);
    }

    /// The weights with 8 bits of fraction, and a half added.
    pub fn fixed(&self, layout: QuantLayout) -> [i16; BLOCK] {
        std::array::from_fn(|column| {
            let code = self.codes[column];
            match layout {
                QuantLayout::Q8 => {
                    let code = i32::from((code ^ 0x80) as i8) << 8;
                    let product = (code * i32::from(self.first) + (1 << 14)) >> 15;
                    (product as i16).wrapping_add(128)
                }
                QuantLayout::Q6 => {
                    let is_front = column < BLOCK / 2;
                    let scale = if is_front { self.first } else { self.second };
                    let least = 128_i16.wrapping_sub(scale.wrapping_mul(32));
                    i16::from(code).wrapping_mul(scale).wrapping_add(least)
                }
                _ => i16::from(code)
                    .wrapping_mul(self.first)
                    .wrapping_add(self.second),
            }
        })
    }

    /// The weights as the products take them.
    pub fn bytes(&self, layout: QuantLayout) -> [i8; BLOCK] {
        self.fixed(layout).map(|weight| (weight >> 8) as i8)
    }

    /// What the weights are, their fractions included.
    pub fn values(&self, layout: QuantLayout, row_scale: f32) -> [f32; BLOCK] {
        self.fixed(layout)
            .map(|weight| (f32::from(weight) - 128.0) / 256.0 * row_scale)
    }
}

/// The scale of row `lane` of a tile.
pub fn scale_at(tile: &[u8], lane: usize) -> f32 {
    f32_at(tile, lane * 4)
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_le_bytes([bytes[at], bytes[at + 1]])
}
