//! Products of weights and activations that are both rounded to bf16, which is what tile registers multiply: eight bits of
//! each number are kept, its whole range, and sums are f32. Nearer to the file's weights than 8-bit activations are, by about
//! ten times in the logits. Here are the arithmetic, in plain loops, and its types; amx.rs computes the same bits.
//! Sources: Kalamkar et al. 2019 (bf16); Intel 64 and IA-32 Architectures Software Developer's Manual, `TDPBF16PS`.

use half::bf16;

use crate::huge_pages::Plain;
use crate::matrix::{BLOCK, QuantLayout, RowBlock, TILE};

/// Tokens of a tile register.
pub const TOKENS: usize = 16;

/// What a tile register holds. Of tokens: row `t` is 32 columns of token `t`. Of weights: row `k` has columns `2 k` and `2 k + 1`
/// of 16 rows of the matrix, side by side.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct TileBlock(pub [[u16; BLOCK]; 16]);

impl TileBlock {
    pub const ZERO: Self = Self([[0; BLOCK]; 16]);
}

// SAFETY: an array of numbers, aligned to a line.
unsafe impl Plain for TileBlock {}

/// Tokens of up to four registers meet a tile of weights in one pass.
pub const PASS: usize = 4 * TOKENS;

/// tile bytes → a block for each 32 columns
pub type ExpandKernel = unsafe fn(&[u8], &mut [TileBlock]);

/// tile bytes, blocks of at most 16 tokens → [token, 16 rows]
pub type FewKernel = unsafe fn(&[u8], &[TileBlock], &mut [[f32; TILE]]);

/// The functions of this arithmetic. Calling one is safe exactly when the set was detected.
#[derive(Clone, Copy)]
pub struct Bf16Kernels {
    /// Rounds to the nearest, ties to even; numbers below the normal ones become zero.
    pub narrow: unsafe fn(&[f32; BLOCK], &mut [u16; BLOCK]),
    pub expand: fn(QuantLayout) -> ExpandKernel,
    /// Expanded weights, the blocks of 1 … 4 registers of tokens one after the other → [token, 16 rows]
    pub multiply: unsafe fn(&[TileBlock], &[TileBlock], &mut [[f32; TILE]]),
    /// As `multiply`; expands on the way, which is faster when tokens are few.
    pub multiply_few: fn(QuantLayout) -> FewKernel,
    /// Before products, on the thread that makes them: the tokens of a register, 1 … 16.
    pub begin: unsafe fn(usize),
    /// After them.
    pub end: unsafe fn(),
}

/// Weights are cut to bf16, not rounded: that takes no instruction, where rounding takes a third of the time. Cutting makes
/// them smaller by half a unit in the last place, on average 0.27 % of the number, which this factor gives back.
pub const UNBIASED: f32 = 1.0027;

/// A weight is `slope · (1 + code / 2^bits) + offset`: a code slips into the mantissa of a number between one and two, and
/// needs no conversion. Returns (slope, offset) for both halves of the block.
pub fn lines(layout: QuantLayout, row: &RowBlock) -> [(f32, f32); 2] {
    let size = (1 << layout.code_bits()) as f32;
    let of = |scale: f32| match layout {
        QuantLayout::Q6 => -96.0 * UNBIASED * scale,
        QuantLayout::Q8 => -384.0 * UNBIASED * scale,
        _ => (-size).mul_add(scale, row.second) * UNBIASED,
    };
    let line = |scale: f32| (size * UNBIASED * scale, of(scale));
    match layout {
        QuantLayout::Q6 => [line(row.first), line(row.second)],
        _ => [line(row.first); 2],
    }
}

/// The bits of one weight.
fn weight(layout: QuantLayout, code: u8, (slope, offset): (f32, f32)) -> u16 {
    let code = f32::from(code) / (1 << layout.code_bits()) as f32;
    let value = (1.0 + code).mul_add(slope, offset);
    (value.to_bits() >> 16) as u16
}

pub fn narrow(values: &[f32; BLOCK], out: &mut [u16; BLOCK]) {
    for (out, value) in out.iter_mut().zip(values) {
        let is_tiny = value.abs() < f32::MIN_POSITIVE;
        let value = if is_tiny { 0.0 * value } else { *value };
        *out = bf16::from_f32(value).to_bits();
    }
}

pub fn expand(layout: QuantLayout, tile: &[u8], out: &mut [TileBlock]) {
    let blocks = tile.chunks_exact(layout.block_bytes());
    for (block, out) in blocks.zip(out) {
        for lane in 0..TILE {
            let row = RowBlock::read(layout, block, lane);
            let lines = lines(layout, &row);
            for (column, code) in row.codes.iter().enumerate() {
                let bits = weight(layout, *code, lines[column * 2 / BLOCK]);
                out.0[column / 2][lane * 2 + column % 2] = bits;
            }
        }
    }
}

/// Even and odd columns of a block are summed apart, then together, then to what the blocks before gave.
pub fn multiply(weights: &[TileBlock], tokens: &[TileBlock], out: &mut [[f32; TILE]]) {
    let wide = |bits: u16| bf16::from_bits(bits).to_f32();
    for (tokens, out) in tokens
        .chunks_exact(weights.len())
        .zip(out.chunks_mut(TOKENS))
    {
        for (token, out) in out.iter_mut().enumerate() {
            *out = [0.0; TILE];
            for (weights, tokens) in weights.iter().zip(tokens) {
                let values = tokens.0[token].as_chunks::<2>().0;
                for (lane, out) in out.iter_mut().enumerate() {
                    let (mut even, mut odd) = (0.0_f32, 0.0_f32);
                    for (pair, row) in values.iter().zip(&weights.0) {
                        even = wide(pair[0]).mul_add(wide(row[lane * 2]), even);
                        odd = wide(pair[1]).mul_add(wide(row[lane * 2 + 1]), odd);
                    }
                    *out += even + odd;
                }
            }
        }
    }
}

/// The same in plain loops.
pub const SCALAR: Bf16Kernels = Bf16Kernels {
    narrow: |values, out| narrow(values, out),
    expand: |layout| super::format::by_layout!(layout, scalar_expand),
    multiply: |weights, tokens, out| multiply(weights, tokens, out),
    multiply_few: |layout| super::format::by_layout!(layout, scalar_multiply_few),
    begin: |_| {},
    end: || {},
};

fn scalar_expand<F: super::format::Format>(tile: &[u8], out: &mut [TileBlock]) {
    expand(F::LAYOUT, tile, out);
}

fn scalar_multiply_few<F: super::format::Format>(
    tile: &[u8],
    tokens: &[TileBlock],
    out: &mut [[f32; TILE]],
) {
    let mut weights = vec![TileBlock::ZERO; tokens.len()];
    expand(F::LAYOUT, tile, &mut weights);
    multiply(&weights, tokens, out);
}
