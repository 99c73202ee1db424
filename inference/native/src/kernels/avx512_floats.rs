//! Products with matrices of floats with AVX-512: one lane is one row of a tile.

use std::arch::x86_64::{
    __m256i, _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
};

use super::avx512_products::{half_floats, store};
use super::{FloatTileKernel, PANEL};
use crate::matrix::{FloatLayout, TILE};

pub fn float_tile(layout: FloatLayout) -> FloatTileKernel {
    match layout {
        FloatLayout::F16 => float_product::<{ TILE * 2 }, false>,
        FloatLayout::Bf16 => float_product::<{ TILE * 2 }, true>,
        FloatLayout::F32 => float_product::<{ TILE * 4 }, false>,
    }
}

/// BYTES of a column of 16 rows say whether they are f32; halves are f16 or bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn float_product<const BYTES: usize, const IS_BF16: bool>(
    tile: &[u8],
    tokens: &[&[f32]],
    out: &mut [[f32; TILE]],
) {
    match tokens.len() {
        1 => float_tokens::<BYTES, IS_BF16, 1>(tile, tokens, out),
        2 => float_tokens::<BYTES, IS_BF16, 2>(tile, tokens, out),
        3 => float_tokens::<BYTES, IS_BF16, 3>(tile, tokens, out),
        4 => float_tokens::<BYTES, IS_BF16, 4>(tile, tokens, out),
        5 => float_tokens::<BYTES, IS_BF16, 5>(tile, tokens, out),
        6 => float_tokens::<BYTES, IS_BF16, 6>(tile, tokens, out),
        7 => float_tokens::<BYTES, IS_BF16, 7>(tile, tokens, out),
        _ => float_tokens::<BYTES, IS_BF16, PANEL>(tile, tokens, out),
    }
}

/// Sums of N tokens fit into registers beside a column of weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn float_tokens<const BYTES: usize, const IS_BF16: bool, const N: usize>(
    tile: &[u8],
    tokens: &[&[f32]],
    out: &mut [[f32; TILE]],
) {
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, column) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
        // SAFETY: a column has 16 floats of BYTES / 16 bytes.
        let weights = unsafe {
            if BYTES == TILE * 4 {
                _mm512_loadu_ps(column.as_ptr().cast())
            } else if IS_BF16 {
                let halves = _mm256_loadu_si256(column.as_ptr().cast::<__m256i>());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
            } else {
                half_floats(column.as_ptr())
            }
        };
        for (values, sum) in tokens.iter().zip(&mut sums) {
            *sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(values[index]), *sum);
        }
    }
    store(&sums, out);
}
