//! The quantised formats of GGUF files, block by block.
//! Source: the block structures of the ggml project (`ggml-common.h`) and its `dequantize_row_*` functions.

use super::block::{RowBlock, f16_at};
use super::layout::BLOCK;
use crate::gguf::TensorType;

/// Columns `32 · index` … of a row. @panics beyond the row's end, and for formats that are not quantised
pub fn decode(kind: TensorType, row: &[u8], index: usize) -> RowBlock {
    let (columns, bytes) = kind.block();
    let per_block = columns / BLOCK;
    let block = &row[index / per_block * bytes..][..bytes];
    let part = index % per_block;
    match kind {
        TensorType::Q4_0 => {
            let scale = f16_at(block, 0);
            affine(nibbles(&block[2..]), scale, scale * -8.0)
        }
        TensorType::Q4_1 => affine(nibbles(&block[4..]), f16_at(block, 0), f16_at(block, 2)),
        TensorType::Q5_0 => {
            let scale = f16_at(block, 0);
            affine(five_bits(&block[2..]), scale, scale * -16.0)
        }
        TensorType::Q5_1 => affine(five_bits(&block[4..]), f16_at(block, 0), f16_at(block, 2)),
        TensorType::Q8_0 => affine(
            std::array::from_fn(|at| block[2 + at] ^ 0x80),
            f16_at(block, 0),
            0.0,
        ),
        TensorType::Q4_K => scaled(block, part, half_of(&block[16..], part)),
        TensorType::Q5_K => {
            let mut codes = half_of(&block[48..], part);
            for (code, high) in codes.iter_mut().zip(&block[16..48]) {
                *code |= (high >> part & 1) << 4;
            }
            scaled(block, part, codes)
        }
        TensorType::Q6_K => six_bits(block, part),
        TensorType::F32 | TensorType::F16 | TensorType::Bf16 => {
            unreachable!("floats have no blocks")
        }
    }
}

fn affine(codes: [u8; BLOCK], first: f32, second: f32) -> RowBlock {
    RowBlock {
        codes,
        first,
        second,
    }
}

/// 16 low nibbles, then 16 high ones.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|at| bytes[at % 16] >> (at / 16 * 4) & 15)
}

/// Four bytes of fifth bits, one for each value, then the nibbles.
fn five_bits(bytes: &[u8]) -> [u8; BLOCK] {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let mut codes = nibbles(&bytes[4..]);
    for (at, code) in codes.iter_mut().enumerate() {
        *code |= ((high >> at & 1) as u8) << 4;
    }
    codes
}

/// 32 bytes hold two parts: the even one in the low nibbles, the odd one in the high.
fn half_of(bytes: &[u8], part: usize) -> [u8; BLOCK] {
    std::array::from_fn(|at| bytes[part / 2 * 32 + at] >> (part % 2 * 4) & 15)
}

/// The head of `Q4_K` and `Q5_K`: a scale of scales, a scale of minima, and 8 × (6 + 6) bits in 12 bytes.
fn scaled(block: &[u8], part: usize, codes: [u8; BLOCK]) -> RowBlock {
    let packed = &block[4..16];
    let (scale, minimum) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        (
            packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        )
    };
    let first = f16_at(block, 0) * f32::from(scale);
    let second = -(f16_at(block, 2) * f32::from(minimum));
    affine(codes, first, second)
}

/// `Q6_K`: 128 bytes of nibbles, 64 of upper bits, 16 scales of 16 values each, and a scale of scales.
fn six_bits(block: &[u8], part: usize) -> RowBlock {
    let (half, quarter) = (part / 4, part % 4);
    let (low, high) = (
        &block[half * 64 + quarter % 2 * 32..],
        &block[128 + half * 32..],
    );
    let codes = std::array::from_fn(|at| {
        low[at] >> (quarter / 2 * 4) & 15 | (high[at] >> (quarter * 2) & 3) << 4
    });
    let scale = |at: usize| f16_at(block, 208) * f32::from(block[192 + at] as i8);
    affine(codes, scale(part * 2), scale(part * 2 + 1))
}
