//! The arithmetic of rows with AVX-512 VNNI: weights are unsigned there, 128 too large, which the sums of the digits take back.

use std::arch::x86_64::{
    __m512i, _mm512_abs_ps, _mm512_add_epi16, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castps_si512, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_max_epu32, _mm512_mul_ps, _mm512_packus_epi16,
    _mm512_permutex2var_epi16, _mm512_permutexvar_epi64, _mm512_reduce_add_epi32,
    _mm512_reduce_max_epu32, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setr_epi64, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_store_si512,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_epi32, _mm512_xor_si512,
};

use super::avx512_expand::{prefetch, weights};
use super::format::{Format, by_layout, with};
use super::rows::{Digits, RowsKernels, TileBlock, TokenScale, WIDE, lines, row_scales};
use super::{PANEL, portable};
use crate::matrix::{BLOCK, ROW_SCALES, TILE};

pub const KERNELS: RowsKernels = RowsKernels {
    split,
    largest,
    expand: |layout| by_layout!(layout, expand),
    multiply_expanded,
    multiply: |layout| by_layout!(layout, multiply),
    few: PANEL,
    begin: |_| {},
    end: || {},
};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub fn largest(values: &[f32]) -> u32 {
    let mut all = _mm512_setzero_si512();
    let (chunks, tail) = values.as_chunks::<TILE>();
    for chunk in chunks {
        // SAFETY: 16 floats.
        let chunk = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        all = _mm512_max_epu32(all, _mm512_castps_si512(_mm512_abs_ps(chunk)));
    }
    _mm512_reduce_max_epu32(all).max(super::rows::largest(tail))
}

/// As `rows::split`, operation for operation.
///
/// # Safety
/// As there; the instruction set is this processor's.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn split(values: &[f32], inverse: f32, tiles: *mut TileBlock, line: usize) -> [i32; 2] {
    let (inverse, round) = (_mm512_set1_ps(inverse), _mm512_set1_ps(portable::ROUND));
    let byte = _mm512_set1_epi16(0xff);
    // Packing takes 8 words of both in turn.
    let in_order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    let mut sums = [_mm512_setzero_si512(); 2];
    for (index, values) in values.chunks(WIDE).enumerate() {
        // Blocks have 32 columns: the second half may not be there.
        let numbers = |half: usize| {
            let Some(values) = values.as_chunks::<BLOCK>().0.get(half) else {
                return _mm512_setzero_si512();
            };
            // SAFETY: 16 of the 32 floats each.
            let [front, back] = unsafe {
                [
                    _mm512_loadu_ps(values.as_ptr()),
                    _mm512_loadu_ps(values.as_ptr().add(TILE)),
                ]
            }
            .map(|values| {
                _mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(values, inverse), round))
            });
            // SAFETY: 64 bytes.
            let even = unsafe { _mm512_loadu_si512(EVEN.as_ptr().cast()) };
            _mm512_permutex2var_epi16(front, even, back)
        };
        let halves = [numbers(0), numbers(1)];
        let packed = |[front, back]: [__m512i; 2]| {
            _mm512_permutexvar_epi64(in_order, _mm512_packus_epi16(front, back))
        };
        let upper =
            packed(halves.map(|words| {
                _mm512_srli_epi16::<8>(_mm512_add_epi16(words, _mm512_set1_epi16(128)))
            }));
        let lower = packed(halves.map(|words| _mm512_and_si512(words, byte)));
        // SAFETY: the caller's promise.
        let lines = unsafe { lines(tiles.add(index), line) };
        for ((line, sum), digits) in lines.iter_mut().zip(&mut sums).zip([upper, lower]) {
            // SAFETY: 64 bytes.
            unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), digits) };
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_set1_epi8(1), digits);
        }
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}

/// The lower words of 32 lanes of two registers.
const EVEN: [u16; 32] = [
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48,
    50, 52, 54, 56, 58, 60, 62,
];

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub fn expand<F: Format>(tile: &[u8], out: &mut [TileBlock]) {
    let blocks = tile[ROW_SCALES..].chunks_exact(F::ROW_BYTES);
    let mut places = out.iter_mut().flat_map(|out| out.0.as_chunks_mut::<8>().0);
    for (block, out) in blocks.zip(&mut places) {
        // SAFETY: a block of this layout and eight lines; the instruction set is enabled here.
        unsafe {
            for (out, weights) in out.iter_mut().zip(weights::<F, false>(block.as_ptr())) {
                _mm512_store_si512(out.as_mut_ptr().cast(), weights);
            }
        }
    }
    // An odd block is followed by columns that do not exist.
    for out in places {
        *out = [[0; WIDE]; 8];
    }
}

/// Compiles a call for each number of tokens of a panel, so that loops over them unroll and sums stay in registers.
macro_rules! by_count {
    ($count:expr, $n:ident => $call:expr) => {
        match $count {
            1 => with!($n = 1, $call),
            2 => with!($n = 2, $call),
            3 => with!($n = 3, $call),
            4 => with!($n = 4, $call),
            5 => with!($n = 5, $call),
            6 => with!($n = 6, $call),
            7 => with!($n = 7, $call),
            _ => with!($n = PANEL, $call),
        }
    };
}

/// @panics when there is not a panel of activations as wide as the tile, or are more than `PANEL` tokens
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
pub fn multiply<F: Format>(tile: &[u8], digits: &Digits<'_>, out: &mut [[f32; TILE]]) {
    let count = digits.scales.len();
    assert!(count == out.len() && (1..=PANEL).contains(&count));
    by_count!(count, N => tokens::<F, N>(tile, digits, out));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn tokens<F: Format, const N: usize>(tile: &[u8], digits: &Digits<'_>, out: &mut [[f32; TILE]]) {
    let mut sums = Sums::<N>::new();
    let num_blocks = (tile.len() - ROW_SCALES) / F::ROW_BYTES;
    assert!(num_blocks.div_ceil(2) == digits.tiles.len());
    // SAFETY: blocks and half registers are in range; the instruction set is enabled here.
    unsafe {
        let mut block = tile.as_ptr().add(ROW_SCALES);
        for index in 0..num_blocks {
            prefetch::<F>(block);
            let lines = &*digits.tiles.as_ptr().add(index / 2);
            sums.add(&weights::<F, true>(block), lines, index % 2);
            block = block.add(F::ROW_BYTES);
        }
    }
    sums.finish(&row_scales(tile), digits.scales, out);
}

/// @panics when the activations are not as wide as the weights
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn multiply_expanded(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let panels = digits.tiles.chunks_exact(weights.len());
    let scales = digits.scales.chunks(PANEL);
    for ((tiles, scales), out) in panels.zip(scales).zip(out.chunks_mut(PANEL)) {
        let digits = Digits { tiles, scales };
        by_count!(scales.len(), N => expanded::<N>(row_scales, weights, &digits, out));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn expanded<const N: usize>(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let mut sums = Sums::<N>::new();
    for (weights, lines) in weights.iter().zip(digits.tiles) {
        for (half, weights) in weights.0.as_chunks::<8>().0.iter().enumerate() {
            let weights = weights.each_ref().map(|line| {
                // SAFETY: 64 bytes.
                let line = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
                _mm512_xor_si512(line, _mm512_set1_epi8(i8::MIN))
            });
            // SAFETY: the instruction set is enabled here.
            unsafe { sums.add(&weights, lines, half) };
        }
    }
    sums.finish(row_scales, digits.scales, out);
}

/// Of N tokens and 16 rows, of upper and of lower digits; in two parts each, which hide the latency of the dot.
struct Sums<const N: usize>([[[__m512i; 2]; 2]; N]);

impl<const N: usize> Sums<N> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        Self([[[_mm512_setzero_si512(); 2]; 2]; N])
    }

    /// Adds half a register of 64 columns.
    ///
    /// # Safety
    /// Inlined into a function that has the instruction set enabled.
    #[inline(always)]
    unsafe fn add(&mut self, weights: &[__m512i; 8], lines: &TileBlock, half: usize) {
        // Many tokens hide it for each other, and registers are few.
        let parts = if N > 2 { 1 } else { 2 };
        for (token, sums) in self.0.iter_mut().enumerate() {
            for (digit, sums) in sums.iter_mut().enumerate() {
                let columns = lines.0[token * 2 + digit].as_chunks::<4>().0;
                for (chunk, weights) in weights.iter().enumerate() {
                    let four = columns[half * 8 + chunk].map(|digit| digit as u8);
                    let sum = &mut sums[chunk % parts];
                    // SAFETY: the caller's promise.
                    *sum = unsafe {
                        let four = _mm512_set1_epi32(i32::from_le_bytes(four));
                        _mm512_dpbusd_epi32(*sum, *weights, four)
                    };
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    fn finish(&self, row_scales: &[f32; TILE], scales: &[TokenScale], out: &mut [[f32; TILE]]) {
        for ((sums, scale), out) in self.0.iter().zip(scales).zip(out) {
            let whole = |sums: &[__m512i; 2], digits: i32| {
                let excess = _mm512_set1_epi32(digits.wrapping_mul(128));
                _mm512_sub_epi32(_mm512_add_epi32(sums[0], sums[1]), excess)
            };
            let upper = whole(&sums[0], scale.upper_sum);
            let lower = whole(&sums[1], scale.lower_sum);
            finish(upper, lower, row_scales, scale, out);
        }
    }
}

/// As `rows::finish`, for 16 rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
pub fn finish(
    upper: __m512i,
    lower: __m512i,
    row_scales: &[f32; TILE],
    scale: &TokenScale,
    out: &mut [f32; TILE],
) {
    // SAFETY: 16 floats are read, and 16 written.
    unsafe {
        let row_scales = _mm512_loadu_ps(row_scales.as_ptr());
        let scales = _mm512_mul_ps(row_scales, _mm512_set1_ps(scale.scale));
        let (upper, lower) = (_mm512_cvtepi32_ps(upper), _mm512_cvtepi32_ps(lower));
        let sum = _mm512_fmadd_ps(upper, _mm512_set1_ps(256.0), lower);
        _mm512_storeu_ps(out.as_mut_ptr(), _mm512_mul_ps(sum, scales));
    }
}
