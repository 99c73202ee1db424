//! AVX2 with FMA: the portable loops, compiled for it. Products have a file of their own.

use std::arch::x86_64::{
    _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_cvtph_ps, _mm256_cvtps_ph,
    _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm256_sub_ps,
};

use super::{HeadTask, Kernels, QuantBlock, portable, portable_attention};
use crate::matrix::{Arithmetic, BLOCK, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "avx2",
    arithmetic: Arithmetic::Blocks,
    quant_tile: super::avx2_products::quant_tile,
    float_tile: super::avx2_products::float_tile,
    quantize,
    rows: super::avx2_rows::KERNELS,
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
    portable_attention::attend(task, |halves| widen(halves));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(halves: &[u16; TILE]) -> [f32; TILE] {
    let mut values = [0.0; TILE];
    for (values, halves) in values
        .as_chunks_mut::<HALF>()
        .0
        .iter_mut()
        .zip(halves.as_chunks::<HALF>().0)
    {
        // SAFETY: a half is eight times 16 bits, and there are eight places.
        unsafe {
            let halves = _mm_loadu_si128(halves.as_ptr().cast());
            _mm256_storeu_ps(values.as_mut_ptr(), _mm256_cvtph_ps(halves));
        }
    }
    values
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
