//! One row's part of a quantised block, without a layout: what files are decoded to, and what tiles read back as.

use half::f16;

use super::layout::{BLOCK, QuantLayout};

/// 32 codes and the two numbers that scale them: scale and minimum, or the scales of both halves (Q6); of Q8 only `first`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowBlock {
    pub codes: [u8; BLOCK],
    pub first: f32,
    pub second: f32,
}

impl RowBlock {
    /// Reads row `lane` of a block of a tile.
    pub fn read(layout: QuantLayout, block: &[u8], lane: usize) -> Self {
        let (scales, lines) = block.split_at(layout.scale_bytes());
        let (first, second) = match layout {
            QuantLayout::Q4 | QuantLayout::Q5 => {
                (f16_at(scales, lane * 2), f16_at(scales, 32 + lane * 2))
            }
            QuantLayout::Q4Wide | QuantLayout::Q5Wide | QuantLayout::Q6 => {
                (f32_at(scales, lane * 4), f32_at(scales, 64 + lane * 4))
            }
            QuantLayout::Q8 => (f32_at(scales, lane * 4), 0.0),
        };
        let codes = layout.read_codes(lines, lane);
        Self {
            codes,
            first,
            second,
        }
    }

    /// Writes row `lane` of a block of a tile, whose bytes of this row are still zero.
    pub fn write(&self, layout: QuantLayout, block: &mut [u8], lane: usize) {
        let (scales, lines) = block.split_at_mut(layout.scale_bytes());
        match layout {
            QuantLayout::Q4 | QuantLayout::Q5 => {
                put(scales, lane * 2, f16::from_f32(self.first).to_le_bytes());
                put(
                    scales,
                    32 + lane * 2,
                    f16::from_f32(self.second).to_le_bytes(),
                );
            }
            QuantLayout::Q4Wide | QuantLayout::Q5Wide | QuantLayout::Q6 => {
                put(scales, lane * 4, self.first.to_le_bytes());
                put(scales, 64 + lane * 4, self.second.to_le_bytes());
            }
            QuantLayout::Q8 => put(scales, lane * 4, self.first.to_le_bytes()),
        }
        layout.write_codes(&self.codes, lines, lane);
    }

    /// The values that the codes stand for.
    pub fn values(&self, layout: QuantLayout) -> [f32; BLOCK] {
        let (front, back) = match layout {
            QuantLayout::Q6 => (self.first, self.second),
            _ => (self.first, self.first),
        };
        std::array::from_fn(|column| {
            let scale = if column < BLOCK / 2 { front } else { back };
            let code = f32::from(self.codes[column]);
            match layout {
                QuantLayout::Q6 => scale * (code - 32.0),
                QuantLayout::Q8 => scale * (code - 128.0),
                _ => self.second + scale * code,
            }
        })
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

pub fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}
