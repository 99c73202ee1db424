//! AVX2 with FMA: a tile is two halves of eight rows. Products of pairs are widened to 16 bits first, so that nothing saturates.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128,
    _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_si128, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi16, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_hadd_epi32, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_permute4x64_epi64, _mm256_set1_epi8,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_ps,
};

use super::{HeadTask, Kernels, PANEL, QuantBlock, TileOutput, portable};
use crate::matrix::{BLOCK, Q4_BYTES, Q8_BYTES, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "avx2",
    q4_tile,
    q8_tile,
    f32_tile,
    quantize,
    rms_norm,
    silu_mul,
    gelu_mul,
    gelu,
    layer_norm,
    rotate,
    store_f16,
    attend,
    exp_scaled,
    argmax,
};

const HALF: usize = TILE / 2;

pub fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q4_tile(tile: &[u8], panel: &[QuantBlock], count: usize, out: &mut TileOutput) {
    let low = _mm256_set1_epi8(15);
    for half in 0..2 {
        let mut sums = [_mm256_setzero_ps(); PANEL];
        let inputs = panel.as_chunks::<PANEL>().0;
        for (data, inputs) in tile.as_chunks::<Q4_BYTES>().0.iter().zip(inputs) {
            let mut weights = [_mm256_setzero_si256(); 8];
            // SAFETY: `data` has 320 bytes: 32 + 32 of scales and minima, then four chunks of 64; a half is 16 or 32 of each.
            let (scale, minimum) = unsafe {
                for chunk in 0..4 {
                    let bytes = load(data.as_ptr().add(64 + chunk * 64 + half * 32));
                    weights[chunk] = _mm256_and_si256(bytes, low);
                    weights[chunk + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low);
                }
                (
                    half_floats(data.as_ptr().add(half * 16)),
                    half_floats(data.as_ptr().add(32 + half * 16)),
                )
            };
            for (input, sum) in inputs.iter().zip(&mut sums[..count]) {
                let dot =
                    _mm256_cvtepi32_ps(dot_block(&weights, &input.quants, _mm256_setzero_si256()));
                *sum =
                    _mm256_fmadd_ps(dot, _mm256_mul_ps(scale, _mm256_set1_ps(input.scale)), *sum);
                *sum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(input.sum), *sum);
            }
        }
        store(&sums[..count], out, half);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn q8_tile(tile: &[u8], panel: &[QuantBlock], count: usize, out: &mut TileOutput) {
    for half in 0..2 {
        let mut sums = [_mm256_setzero_ps(); PANEL];
        let inputs = panel.as_chunks::<PANEL>().0;
        for (data, inputs) in tile.as_chunks::<Q8_BYTES>().0.iter().zip(inputs) {
            let mut weights = [_mm256_setzero_si256(); 8];
            // SAFETY: `data` has 576 bytes: 64 of scales, then eight chunks of 64; a half is 32 of each.
            let scale = unsafe {
                for (chunk, weight) in weights.iter_mut().enumerate() {
                    *weight = load(data.as_ptr().add(64 + chunk * 64 + half * 32));
                }
                _mm256_loadu_ps(data.as_ptr().add(half * 32).cast())
            };
            for (input, sum) in inputs.iter().zip(&mut sums[..count]) {
                let start = _mm256_set1_epi32(-128 * input.integer_sum);
                let dot = _mm256_cvtepi32_ps(dot_block(&weights, &input.quants, start));
                *sum =
                    _mm256_fmadd_ps(dot, _mm256_mul_ps(scale, _mm256_set1_ps(input.scale)), *sum);
            }
        }
        store(&sums[..count], out, half);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn f32_tile(tile: &[u8], tokens: &[&[f32]], out: &mut TileOutput) {
    for half in 0..2 {
        let mut sums = [_mm256_setzero_ps(); PANEL];
        for (index, weights) in tile.as_chunks::<{ TILE * 4 }>().0.iter().enumerate() {
            // SAFETY: `weights` has 64 bytes; a half is 32.
            let weights = unsafe { _mm256_loadu_ps(weights.as_ptr().add(half * 32).cast()) };
            for (values, sum) in tokens.iter().zip(&mut sums) {
                *sum = _mm256_fmadd_ps(weights, _mm256_set1_ps(values[index]), *sum);
            }
        }
        store(&sums[..tokens.len()], out, half);
    }
}

/// `weights[g]` holds columns 4 g … 4 g + 3 of eight rows as unsigned bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_block(weights: &[__m256i; 8], quants: &[i8; BLOCK], start: __m256i) -> __m256i {
    let (mut front, mut back) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (weight, four) in weights.iter().zip(quants.as_chunks::<4>().0) {
        let wide = four.iter().rev().fold(0_i64, |all, quant| {
            (all << 16) | i64::from(i16::from(*quant) as u16)
        });
        let activation = _mm256_set1_epi64x(wide);
        let (first, second) = (
            _mm256_castsi256_si128(*weight),
            _mm256_extracti128_si256::<1>(*weight),
        );
        front = _mm256_add_epi32(
            front,
            _mm256_madd_epi16(_mm256_cvtepu8_epi16(first), activation),
        );
        back = _mm256_add_epi32(
            back,
            _mm256_madd_epi16(_mm256_cvtepu8_epi16(second), activation),
        );
    }
    // Pairs of each row are added; hadd works by 128-bit lanes, the permutation puts the rows back in order.
    let rows = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(front, back));
    _mm256_add_epi32(start, rows)
}

/// SAFETY: `at` points to 32 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(at: *const u8) -> __m256i {
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// SAFETY: `at` points to 16 readable bytes.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn half_floats(at: *const u8) -> __m256 {
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast::<__m128i>())) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(sums: &[__m256], out: &mut TileOutput, half: usize) {
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each output has 16 floats; a half is eight.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * HALF), *sum) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantize(values: &[f32; BLOCK], out: &mut QuantBlock) {
    portable::quantize(values, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::rms_norm(input, weight, epsilon, output);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn gelu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::gelu_mul(gate, up);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn gelu(values: &mut [f32; TILE]) {
    portable::gelu(values);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn layer_norm(input: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::layer_norm(input, weight, bias, epsilon, output);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn silu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::silu_mul(gate, up);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn attend(task: &mut HeadTask<'_>) {
    portable::attend(task);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn exp_scaled(values: &mut [f32], max: f32, scale: f32) -> f32 {
    portable::exp_scaled(values, max, scale)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rotate(values: &mut [f32; TILE], angles: &[(f32, f32)]) {
    portable::rotate(values, angles);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn store_f16(values: &[f32; TILE], out: &mut [u16; TILE]) {
    let limit = _mm256_set1_ps(65504.0);
    for (out, values) in out
        .as_chunks_mut::<HALF>()
        .0
        .iter_mut()
        .zip(values.as_chunks::<HALF>().0)
    {
        // SAFETY: a half has eight floats, and eight places of 16 bits.
        unsafe {
            let values = _mm256_loadu_ps(values.as_ptr());
            // The operand order lets a NaN through.
            let clamped = _mm256_max_ps(
                _mm256_sub_ps(_mm256_setzero_ps(), limit),
                _mm256_min_ps(limit, values),
            );
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(clamped);
            _mm_storeu_si128(out.as_mut_ptr().cast(), halves);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn argmax(values: &[f32]) -> Option<(usize, f32)> {
    portable::argmax(values)
}
