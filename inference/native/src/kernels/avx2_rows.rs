//! The arithmetic of rows with AVX2: tiles are opened first, then weights and digits are widened to 16 bits, where the sum of two
//! products of bytes fits.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm_unpackhi_epi16, _mm_unpackhi_epi32,
    _mm_unpacklo_epi16, _mm_unpacklo_epi32, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_hadd_epi32, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_mulhrs_epi16, _mm256_mullo_epi16,
    _mm256_packs_epi16, _mm256_permute4x64_epi64, _mm256_set_m128i, _mm256_set1_epi16,
    _mm256_set1_ps, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srai_epi16, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_sub_epi16, _mm256_xor_si256,
};
use std::cell::RefCell;

use super::PANEL;
use super::avx2_products::codes;
use super::format::{Format, by_layout, with};
use super::rows::{Digits, RowsKernels, SCALAR, TileBlock, TokenScale, WIDE, row_scales};
use crate::matrix::{BLOCK_SCALES, QuantLayout, ROW_SCALES, TILE};

pub const KERNELS: RowsKernels = RowsKernels {
    expand: |layout| by_layout!(layout, expand),
    multiply_expanded,
    multiply: |layout| by_layout!(layout, multiply),
    ..SCALAR
};

thread_local! {
    /// A tile, opened.
    static OPENED: RefCell<Vec<TileBlock>> = const { RefCell::new(Vec::new()) };
}

const HALF: usize = TILE / 2;

#[target_feature(enable = "avx2,fma,f16c")]
fn expand<F: Format>(tile: &[u8], out: &mut [TileBlock]) {
    let blocks = tile[ROW_SCALES..].chunks_exact(F::ROW_BYTES);
    let mut places = out.iter_mut().flat_map(|out| out.0.as_chunks_mut::<8>().0);
    for (block, lines) in blocks.zip(&mut places) {
        for half in 0..2 {
            let codes = codes::<F>(&block[BLOCK_SCALES..], half);
            let [first, second] = [0, 32].map(|at| {
                // SAFETY: 16 numbers of 16 bits each, of which a half has eight.
                repeated(unsafe { _mm_loadu_si128(block[at + half * 16..].as_ptr().cast()) })
            });
            for (chunk, (codes, line)) in codes.into_iter().zip(&mut *lines).enumerate() {
                let widened = [
                    _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes)),
                    _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(codes)),
                ];
                let four = |part: usize| {
                    let weights = fixed::<F>(widened[part], first[part], second[part], chunk);
                    _mm256_srai_epi16::<8>(weights)
                };
                // Packing takes 8 words of both in turn.
                let packed = _mm256_packs_epi16(four(0), four(1));
                let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
                // SAFETY: a line has 64 bytes, a half of it 32.
                unsafe {
                    _mm256_storeu_si256(line.as_mut_ptr().add(half * 32).cast(), in_order);
                }
            }
        }
    }
    // An odd block is followed by columns that do not exist.
    for lines in places {
        *lines = [[0; WIDE]; 8];
    }
}

/// As `RowCodes::fixed`, of a chunk of four columns of four rows.
#[inline]
#[target_feature(enable = "avx2")]
fn fixed<F: Format>(codes: __m256i, first: __m256i, second: __m256i, chunk: usize) -> __m256i {
    let half = _mm256_set1_epi16(128);
    match F::LAYOUT {
        QuantLayout::Q8 => {
            let signed = _mm256_slli_epi16::<8>(_mm256_xor_si256(codes, half));
            _mm256_add_epi16(_mm256_mulhrs_epi16(signed, first), half)
        }
        QuantLayout::Q6 => {
            let scale = if chunk < 4 { first } else { second };
            let least = _mm256_sub_epi16(half, _mm256_slli_epi16::<5>(scale));
            _mm256_add_epi16(_mm256_mullo_epi16(codes, scale), least)
        }
        _ => _mm256_add_epi16(_mm256_mullo_epi16(codes, first), second),
    }
}

/// Each of eight numbers four times: the first four, the others.
#[inline]
#[target_feature(enable = "avx2")]
fn repeated(numbers: __m128i) -> [__m256i; 2] {
    [
        _mm_unpacklo_epi16(numbers, numbers),
        _mm_unpackhi_epi16(numbers, numbers),
    ]
    .map(|pairs| {
        _mm256_set_m128i(
            _mm_unpackhi_epi32(pairs, pairs),
            _mm_unpacklo_epi32(pairs, pairs),
        )
    })
}

/// Registers are too few to open weights between the products of two digits: all of the tile is opened first.
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply<F: Format>(tile: &[u8], digits: &Digits<'_>, out: &mut [[f32; TILE]]) {
    let len = ((tile.len() - ROW_SCALES) / F::ROW_BYTES).div_ceil(2);
    OPENED.with_borrow_mut(|opened| {
        opened.resize(opened.len().max(len), TileBlock::ZERO);
        expand::<F>(tile, &mut opened[..len]);
        multiply_expanded(&row_scales(tile), &opened[..len], digits, out);
    });
}

/// @panics when the activations are not as wide as the weights
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_expanded(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let panels = digits.tiles.chunks_exact(weights.len());
    let scales = digits.scales.chunks(PANEL);
    for ((panel, scales), out) in panels.zip(scales).zip(out.chunks_mut(PANEL)) {
        // Sums of two tokens are all that fit into registers beside a chunk of weights.
        for (pair, (scales, out)) in scales.chunks(2).zip(out.chunks_mut(2)).enumerate() {
            for half in 0..2 {
                let place = (pair * 4, half);
                if scales.len() == 2 {
                    with!(
                        N = 2,
                        tokens::<N>(row_scales, weights, panel, place, scales, out)
                    );
                } else {
                    with!(
                        N = 1,
                        tokens::<N>(row_scales, weights, panel, place, scales, out)
                    );
                }
            }
        }
    }
}

/// @param `(line, half)` of the first token's upper digits in a register of activations, of the rows
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tokens<const N: usize>(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    panel: &[TileBlock],
    (line, half): (usize, usize),
    scales: &[TokenScale],
    out: &mut [[f32; TILE]],
) {
    // [token][upper, lower][rows 0 … 3, 4 … 7]: two sums for each row.
    let mut sums = [[[_mm256_setzero_si256(); 2]; 2]; N];
    for (weights, digits) in weights.iter().zip(panel) {
        for (chunk, weights) in weights.0.iter().enumerate() {
            // SAFETY: a line has 64 bytes, a half of it 32.
            let bytes = unsafe { _mm256_loadu_si256(weights.as_ptr().add(half * 32).cast()) };
            let weights = [
                _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)),
                _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(bytes)),
            ];
            for (token, sums) in sums.iter_mut().enumerate() {
                for (digit, sums) in sums.iter_mut().enumerate() {
                    let fours = digits.0[line + token * 2 + digit].as_chunks::<4>().0;
                    let four = i32::from_le_bytes(fours[chunk].map(|digit| digit as u8));
                    let four = _mm256_cvtepi8_epi16(_mm_set1_epi32(four));
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(weights, four));
                    }
                }
            }
        }
    }
    for ((sums, scale), out) in sums.into_iter().zip(scales).zip(out) {
        // Pairs of each row are added; hadd works by 128-bit lanes, the permutation puts the rows back in order.
        let [upper, lower] = sums.map(|[front, back]| {
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(front, back))
        });
        // SAFETY: 16 floats, of which a half has eight.
        unsafe {
            let row_scales = _mm256_loadu_ps(row_scales.as_ptr().add(half * HALF));
            let scales = _mm256_mul_ps(row_scales, _mm256_set1_ps(scale.scale));
            let (upper, lower) = (_mm256_cvtepi32_ps(upper), _mm256_cvtepi32_ps(lower));
            let sum = _mm256_fmadd_ps(upper, _mm256_set1_ps(256.0), lower);
            _mm256_storeu_ps(
                out.as_mut_ptr().add(half * HALF),
                _mm256_mul_ps(sum, scales),
            );
        }
    }
}
