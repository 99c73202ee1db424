//! The arithmetic of rows: weights are bytes with a scale for each row (see `matrix::rows`), activations numbers of 16 bits with
//! a scale for each token, in two digits of a byte. All that is between the scales is a sum of integers, which is the same in
//! whatever order and by whatever instructions it is made: few tokens may take vectors and many the tile registers. Here are
//! the arithmetic, in plain loops, and its types; `avx512_rows` and `amx` compute the same bits.

use super::format::{Format, by_layout};
use super::{PANEL, portable};
use crate::huge_pages::Plain;
use crate::matrix::{BLOCK, QuantLayout, ROW_SCALES, RowCodes, TILE};

/// Columns of a tile register: two blocks.
pub const WIDE: usize = 2 * BLOCK;

/// What a tile register holds. Of weights: line `k` has columns `4 k` … `4 k + 3` of 16 rows of the matrix, side by side. Of
/// activations: lines `2 t` and `2 t + 1` are the upper and the lower digits of 64 columns of token `t` of a panel. What is
/// beyond the last column is zero.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct TileBlock(pub [[i8; WIDE]; 16]);

impl TileBlock {
    pub const ZERO: Self = Self([[0; WIDE]; 16]);
}

// SAFETY: an array of numbers, aligned to a line.
unsafe impl Plain for TileBlock {}

/// Of one token's activations.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct TokenScale {
    /// value = scale · (256 · upper digit + lower digit)
    pub scale: f32,
    pub upper_sum: i32,
    pub lower_sum: i32,
}

// SAFETY: numbers.
unsafe impl Plain for TokenScale {}

/// Panels of tokens whose sums fit into tile registers beside one of weights and one of activations.
pub const PASS_PANELS: usize = 6;
/// Tokens that meet a tile of weights in one pass.
pub const PASS: usize = PASS_PANELS * PANEL;

/// Activations of 1 … `PASS` tokens.
#[derive(Clone, Copy)]
pub struct Digits<'a> {
    /// [token / `PANEL`, column / `WIDE`]
    pub tiles: &'a [TileBlock],
    /// [token]
    pub scales: &'a [TokenScale],
}

/// tile bytes → a register for each 64 columns
pub type ExpandKernel = unsafe fn(&[u8], &mut [TileBlock]);

/// tile bytes, activations, outputs: as many as tokens
pub type RowsKernel = unsafe fn(&[u8], &Digits<'_>, &mut [[f32; TILE]]);

/// scales of 16 rows, expanded weights, activations, outputs
pub type ExpandedKernel = unsafe fn(&[f32; TILE], &[TileBlock], &Digits<'_>, &mut [[f32; TILE]]);

/// The functions of this arithmetic. Calling one is safe exactly when the set was detected.
#[derive(Clone, Copy)]
pub struct RowsKernels {
    /// values, what they are multiplied by, registers for each 64 of them, the first of the lines there for their upper and
    /// lower digits; what is beyond the last value becomes zero → sums of both. Only these lines are written.
    pub split: unsafe fn(&[f32], f32, *mut TileBlock, usize) -> [i32; 2],
    /// The bits of the largest magnitude.
    pub largest: unsafe fn(&[f32]) -> u32,
    pub expand: fn(QuantLayout) -> ExpandKernel,
    pub multiply_expanded: ExpandedKernel,
    /// As `expand` and `multiply_expanded` at once, of 1 … `few` tokens.
    pub multiply: fn(QuantLayout) -> RowsKernel,
    pub few: usize,
    /// Before products, on the thread that makes them: the tokens of a panel, 1 … `PANEL`.
    pub begin: unsafe fn(usize),
    /// After them.
    pub end: unsafe fn(),
}

/// In plain loops.
pub const SCALAR: RowsKernels = RowsKernels {
    split,
    largest: |values| largest(values),
    expand: |layout| by_layout!(layout, scalar_expand),
    multiply_expanded: |scales, weights, digits, out| multiply(scales, weights, digits, out),
    multiply: |layout| by_layout!(layout, scalar_multiply),
    few: PANEL,
    begin: |_| {},
    end: || {},
};

/// The scale of a token and its inverse, from the bits of its largest magnitude: digits of up to 32639 have upper halves
/// of up to 127 when the lower ones are rounded to the nearest.
pub fn token_scale(largest: u32) -> (f32, f32) {
    portable::scale_to(32639.0, largest)
}

#[inline(always)]
pub fn largest(values: &[f32]) -> u32 {
    let magnitudes = values.iter().map(|value| value.abs().to_bits());
    magnitudes.fold(0, u32::max)
}

/// # Safety
/// As many registers as there are 64 values can be written at these lines, and line 15 is the last.
unsafe fn split(values: &[f32], inverse: f32, tiles: *mut TileBlock, line: usize) -> [i32; 2] {
    let mut sums = [0; 2];
    for (index, values) in values.chunks(WIDE).enumerate() {
        // SAFETY: the caller's promise.
        let [upper, lower] = unsafe { lines(tiles.add(index), line) };
        (*upper, *lower) = ([0; WIDE], [0; WIDE]);
        for ((upper, lower), value) in upper.iter_mut().zip(lower).zip(values) {
            let number = (value * inverse + portable::ROUND).to_bits() as i16;
            *upper = (number.wrapping_add(128) >> 8) as i8;
            *lower = number as i8;
            sums[0] += i32::from(*upper);
            sums[1] += i32::from(*lower);
        }
    }
    sums
}

/// Two lines of a register; no reference to all of it is made, as others may write to other lines.
///
/// # Safety
/// They can be written, by nobody else; line 15 is the last.
pub unsafe fn lines<'a>(tile: *mut TileBlock, line: usize) -> &'a mut [[i8; WIDE]; 2] {
    // SAFETY: the caller's promise.
    unsafe { &mut *(&raw mut (*tile).0).cast::<[i8; WIDE]>().add(line).cast() }
}

/// The one order of float operations.
#[inline(always)]
pub fn finish(upper: i32, lower: i32, row_scale: f32, token_scale: f32) -> f32 {
    (upper as f32).mul_add(256.0, lower as f32) * (row_scale * token_scale)
}

#[inline(always)]
pub fn expand<F: Format>(tile: &[u8], out: &mut [TileBlock]) {
    let blocks = tile[ROW_SCALES..].chunks_exact(F::ROW_BYTES);
    out.fill(TileBlock::ZERO);
    for (index, block) in blocks.enumerate() {
        let out = &mut out[index / 2].0;
        for lane in 0..TILE {
            let bytes = RowCodes::read(F::LAYOUT, block, lane).bytes(F::LAYOUT);
            for (chunk, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
                out[index % 2 * 8 + chunk][lane * 4..][..4].copy_from_slice(bytes);
            }
        }
    }
}

#[inline(always)]
pub fn multiply(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let panels = digits.tiles.chunks_exact(weights.len());
    let scales = digits.scales.chunks(PANEL);
    for ((panel, scales), out) in panels.zip(scales).zip(out.chunks_mut(PANEL)) {
        for (token, (scale, out)) in scales.iter().zip(out).enumerate() {
            let upper = dot(weights, panel, token * 2);
            let lower = dot(weights, panel, token * 2 + 1);
            for lane in 0..TILE {
                out[lane] = finish(upper[lane], lower[lane], row_scales[lane], scale.scale);
            }
        }
    }
}

/// Sums of 16 rows with line `line` of a panel.
#[inline(always)]
fn dot(weights: &[TileBlock], panel: &[TileBlock], line: usize) -> [i32; TILE] {
    let mut sums = [0; TILE];
    for (weights, digits) in weights.iter().zip(panel) {
        let chunks = digits.0[line].as_chunks::<4>().0;
        for (weights, digits) in weights.0.iter().zip(chunks) {
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
                for (weight, digit) in weights.iter().zip(digits) {
                    *sum += i32::from(*weight) * i32::from(*digit);
                }
            }
        }
    }
    sums
}

/// The scales of a tile's rows.
#[inline]
pub fn row_scales(tile: &[u8]) -> [f32; TILE] {
    let scales = tile[..ROW_SCALES].as_chunks::<4>().0.iter();
    let mut floats = [0.0; TILE];
    for (float, bytes) in floats.iter_mut().zip(scales) {
        *float = f32::from_le_bytes(*bytes);
    }
    floats
}

fn scalar_expand<F: Format>(tile: &[u8], out: &mut [TileBlock]) {
    expand::<F>(tile, out);
}

fn scalar_multiply<F: Format>(tile: &[u8], digits: &Digits<'_>, out: &mut [[f32; TILE]]) {
    let num_panels = digits.scales.len().div_ceil(PANEL);
    let mut weights = vec![TileBlock::ZERO; digits.tiles.len() / num_panels];
    expand::<F>(tile, &mut weights);
    multiply(&row_scales(tile), &weights, digits, out);
}
