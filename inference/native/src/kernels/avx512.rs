//! AVX-512: the portable loops, compiled for it. Products and attention have files of their own.

use std::arch::x86_64::{
    _MM_FROUND_TO_NEAREST_INT, _mm256_cvtsi256_si32, _mm256_dpbusd_epi32, _mm256_extract_epi32,
    _mm256_hadd_epi32, _mm256_set_m128i, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm512_abs_ps, _mm512_add_ps, _mm512_castps_si512, _mm512_cvtepi32_epi8,
    _mm512_cvtps_ph, _mm512_loadu_ps, _mm512_mask_add_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_max_epu32, _mm512_max_ps, _mm512_min_ps, _mm512_movehdup_ps,
    _mm512_moveldup_ps, _mm512_mul_ps, _mm512_permute_ps, _mm512_reduce_max_epu32, _mm512_set1_ps,
    _mm512_sub_ps,
};

use super::{Kernels, QuantBlock, portable};
use crate::matrix::{Arithmetic, BLOCK, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "avx512vnni",
    arithmetic: Arithmetic::Blocks,
    quant_tile: super::avx512_products::quant_tile,
    float_tile: super::avx512_floats::float_tile,
    quantize,
    rows: super::avx512_rows::KERNELS,
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

/// As `portable::quantize`, operation for operation.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn quantize(values: &[f32; BLOCK], out: &mut QuantBlock) {
    // SAFETY: 16 of the 32 floats each.
    let halves = unsafe {
        [
            _mm512_loadu_ps(values.as_ptr()),
            _mm512_loadu_ps(values.as_ptr().add(TILE)),
        ]
    };
    let magnitudes = halves.map(|half| _mm512_castps_si512(_mm512_abs_ps(half)));
    let largest = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitudes[0], magnitudes[1]));
    let (scale, inverse) = portable::quant_scale(largest);
    let (inverse, round) = (_mm512_set1_ps(inverse), _mm512_set1_ps(portable::ROUND));
    let [front, back] = halves.map(|half| {
        let rounded = _mm512_add_ps(_mm512_mul_ps(half, inverse), round);
        _mm512_cvtepi32_epi8(_mm512_castps_si512(rounded))
    });
    let quants = _mm256_set_m128i(back, front);
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(out.quants.as_mut_ptr().cast(), quants) };
    // Sums of four, those of the first half in the lower 128 bits.
    let sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), quants);
    let sums = _mm256_hadd_epi32(sums, sums);
    let sums = _mm256_hadd_epi32(sums, sums);
    out.first_sum = _mm256_cvtsi256_si32(sums);
    out.integer_sum = out.first_sum + _mm256_extract_epi32::<4>(sums);
    out.scale = scale;
    out.sum = scale * out.integer_sum as f32;
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

/// As `portable::rotate`, in one store, which the loads that follow can be served from.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn rotate(values: &mut [f32; TILE], angles: &[(f32, f32)]) {
    const ODD: u16 = 0xaaaa;
    let count = angles.len().min(TILE / 2);
    let mask = u16::MAX >> (TILE - 2 * count).min(TILE - 1);
    if count == 0 {
        return;
    }
    const { assert!(std::mem::offset_of!((f32, f32), 0) == 0) };
    // SAFETY: 16 floats are read and written, and two of each angle read, in the order that was just checked.
    unsafe {
        let angles = _mm512_maskz_loadu_ps(mask, angles.as_ptr().cast());
        let (cos, sin) = (_mm512_moveldup_ps(angles), _mm512_movehdup_ps(angles));
        let own = _mm512_loadu_ps(values.as_ptr());
        let other = _mm512_permute_ps::<0b10_11_00_01>(own);
        let (own, other) = (_mm512_mul_ps(own, cos), _mm512_mul_ps(other, sin));
        // Of each pair x · cos − y · sin and x · sin + y · cos.
        let turned = _mm512_mask_add_ps(_mm512_sub_ps(own, other), ODD, other, own);
        _mm512_mask_storeu_ps(values.as_mut_ptr(), mask, turned);
    }
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
