//! AVX-512 with VNNI: one 512-bit lane is one row of a tile, `vpdpbusd` takes four columns at a time.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_FROUND_TO_NEAREST_INT, _mm256_loadu_si256, _mm256_storeu_si256,
    _mm512_add_epi32, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_cvtps_ph,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::{Kernels, PANEL, QuantBlock, TileOutput, portable};
use crate::matrix::{BLOCK, Q4_BYTES, Q8_BYTES, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "avx512vnni",
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
    attend: super::avx512_attention::attend,
    exp_scaled,
    argmax,
};

pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Calls `$inner::<N>` for the number of tokens, so that loops over them unroll and sums stay in registers.
macro_rules! by_count {
    ($count:expr, $inner:ident($($argument:expr),*)) => {
        match $count {
            1 => $inner::<1>($($argument),*),
            2 => $inner::<2>($($argument),*),
            3 => $inner::<3>($($argument),*),
            4 => $inner::<4>($($argument),*),
            5 => $inner::<5>($($argument),*),
            6 => $inner::<6>($($argument),*),
            7 => $inner::<7>($($argument),*),
            _ => $inner::<PANEL>($($argument),*),
        }
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q4_tile(tile: &[u8], panel: &[QuantBlock], count: usize, out: &mut TileOutput) {
    by_count!(count, q4_tokens(tile, panel, out));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q8_tile(tile: &[u8], panel: &[QuantBlock], count: usize, out: &mut TileOutput) {
    by_count!(count, q8_tokens(tile, panel, out));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn f32_tile(tile: &[u8], tokens: &[&[f32]], out: &mut TileOutput) {
    by_count!(tokens.len(), f32_tokens(tile, tokens, out));
}

/// Weights are unpacked once and meet N tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q4_tokens<const N: usize>(tile: &[u8], panel: &[QuantBlock], out: &mut TileOutput) {
    let low = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); N];
    let inputs = panel.as_chunks::<PANEL>().0;
    for (data, inputs) in tile.as_chunks::<Q4_BYTES>().0.iter().zip(inputs) {
        // SAFETY: `data` has 320 bytes: 32 + 32 of scales and minima, then four chunks of 64.
        let (scale, minimum, packed) = unsafe {
            let at = data.as_ptr();
            let packed: [__m512i; 4] = [
                load(at.add(64)),
                load(at.add(128)),
                load(at.add(192)),
                load(at.add(256)),
            ];
            (half_floats(at), half_floats(at.add(32)), packed)
        };
        let mut weights = [_mm512_setzero_si512(); 8];
        for (chunk, bytes) in packed.into_iter().enumerate() {
            weights[chunk] = _mm512_and_si512(bytes, low);
            weights[chunk + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low);
        }
        for token in 0..N {
            let (input, sum) = (&inputs[token], &mut sums[token]);
            let dot = _mm512_cvtepi32_ps(dot_block::<N>(&weights, input, _mm512_setzero_si512()));
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(input.scale));
            *sum = _mm512_fmadd_ps(dot, scale, *sum);
            *sum = _mm512_fmadd_ps(minimum, _mm512_set1_ps(input.sum), *sum);
        }
    }
    store(&sums, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q8_tokens<const N: usize>(tile: &[u8], panel: &[QuantBlock], out: &mut TileOutput) {
    let mut sums = [_mm512_setzero_ps(); N];
    let inputs = panel.as_chunks::<PANEL>().0;
    for (data, inputs) in tile.as_chunks::<Q8_BYTES>().0.iter().zip(inputs) {
        let mut weights = [_mm512_setzero_si512(); 8];
        // SAFETY: `data` has 576 bytes: 64 of scales, then eight chunks of 64.
        let scale = unsafe {
            for (chunk, weight) in weights.iter_mut().enumerate() {
                *weight = load(data.as_ptr().add(64 + chunk * 64));
            }
            _mm512_loadu_ps(data.as_ptr().cast())
        };
        for token in 0..N {
            let (input, sum) = (&inputs[token], &mut sums[token]);
            // Weights carry 128 too much; starting at −128 · sum takes it away exactly.
            let start = _mm512_set1_epi32(-128 * input.integer_sum);
            let dot = _mm512_cvtepi32_ps(dot_block::<N>(&weights, input, start));
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(input.scale));
            *sum = _mm512_fmadd_ps(dot, scale, *sum);
        }
    }
    store(&sums, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn f32_tokens<const N: usize>(tile: &[u8], tokens: &[&[f32]], out: &mut TileOutput) {
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, weights) in tile.as_chunks::<{ TILE * 4 }>().0.iter().enumerate() {
        // SAFETY: `weights` has 64 bytes.
        let weights = unsafe { _mm512_loadu_ps(weights.as_ptr().cast()) };
        for (values, sum) in tokens.iter().zip(&mut sums) {
            *sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(values[index]), *sum);
        }
    }
    store(&sums, out);
}

/// A few tokens need two accumulators each to hide the latency of the dot; many hide it for each other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn dot_block<const N: usize>(
    weights: &[__m512i; 8],
    input: &QuantBlock,
    start: __m512i,
) -> __m512i {
    let fours = input.quants.as_chunks::<4>().0;
    if N > 3 {
        let mut all = start;
        for (weight, four) in weights.iter().zip(fours) {
            all = _mm512_dpbusd_epi32(all, *weight, broadcast(*four));
        }
        return all;
    }
    let (mut even, mut odd) = (start, _mm512_setzero_si512());
    for pair in 0..4 {
        even = _mm512_dpbusd_epi32(even, weights[pair * 2], broadcast(fours[pair * 2]));
        odd = _mm512_dpbusd_epi32(odd, weights[pair * 2 + 1], broadcast(fours[pair * 2 + 1]));
    }
    _mm512_add_epi32(even, odd)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(four: [i8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(four.map(|quant| quant as u8)))
}

/// SAFETY: `at` points to 64 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(at: *const u8) -> __m512i {
    unsafe { _mm512_loadu_si512(at.cast()) }
}

/// SAFETY: `at` points to 32 readable bytes.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
unsafe fn half_floats(at: *const u8) -> __m512 {
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast::<__m256i>())) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const N: usize>(sums: &[__m512; N], out: &mut TileOutput) {
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each output has 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn quantize(values: &[f32; BLOCK], out: &mut QuantBlock) {
    portable::quantize(values, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::rms_norm(input, weight, epsilon, output);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn gelu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::gelu_mul(gate, up);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn gelu(values: &mut [f32; TILE]) {
    portable::gelu(values);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn layer_norm(input: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::layer_norm(input, weight, bias, epsilon, output);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn silu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::silu_mul(gate, up);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn rotate(values: &mut [f32; TILE], angles: &[(f32, f32)]) {
    portable::rotate(values, angles);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn store_f16(values: &[f32; TILE], out: &mut [u16; TILE]) {
    let limit = _mm512_set1_ps(65504.0);
    // SAFETY: 16 floats are read, 16 times 16 bits are written.
    unsafe {
        let values = _mm512_loadu_ps(values.as_ptr());
        // The operand order lets a NaN through.
        let clamped = _mm512_max_ps(_mm512_set1_ps(-65504.0), _mm512_min_ps(limit, values));
        let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(clamped);
        _mm256_storeu_si256(out.as_mut_ptr().cast(), halves);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn exp_scaled(values: &mut [f32], max: f32, scale: f32) -> f32 {
    portable::exp_scaled(values, max, scale)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn argmax(values: &[f32]) -> Option<(usize, f32)> {
    portable::argmax(values)
}
