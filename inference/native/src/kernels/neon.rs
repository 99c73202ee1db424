//! NEON with the dot instructions of Armv8.2 (Cortex-A55 and later, Neoverse, Apple M1): the portable loops, compiled for it.
//! Products have a file of their own.

use std::arch::aarch64::{
    vcombine_u16, vcvt_f16_f32, vdupq_n_f32, vld1q_f32, vmaxq_f32, vminq_f32, vreinterpret_u16_f16,
    vst1q_u16,
};
use std::arch::is_aarch64_feature_detected;

use super::{HeadTask, Kernels, QuantBlock, portable, portable_attention};
use crate::matrix::{Arithmetic, BLOCK, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "neon",
    arithmetic: Arithmetic::Blocks,
    quant_tile: super::neon_products::quant_tile,
    float_tile: super::neon_products::float_tile,
    quantize,
    rows: super::rows::SCALAR,
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

pub fn is_available() -> bool {
    is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod")
}

#[target_feature(enable = "neon")]
fn quantize(values: &[f32; BLOCK], out: &mut QuantBlock) {
    portable::quantize(values, out);
}

#[target_feature(enable = "neon")]
fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::rms_norm(input, weight, epsilon, output);
}

#[target_feature(enable = "neon")]
fn silu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::silu_mul(gate, up);
}

#[target_feature(enable = "neon")]
fn gelu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::gelu_mul(gate, up);
}

#[target_feature(enable = "neon")]
fn gelu(values: &mut [f32; TILE]) {
    portable::gelu(values);
}

#[target_feature(enable = "neon")]
fn layer_norm(input: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::layer_norm(input, weight, bias, epsilon, output);
}

#[target_feature(enable = "neon")]
fn rotate(values: &mut [f32; TILE], angles: &[(f32, f32)]) {
    portable::rotate(values, angles);
}

#[target_feature(enable = "neon")]
fn store_f16(values: &[f32; TILE], out: &mut [u16; TILE]) {
    let (most, least) = (vdupq_n_f32(65504.0), vdupq_n_f32(-65504.0));
    let out = out.as_chunks_mut::<8>().0;
    for (out, values) in out.iter_mut().zip(values.as_chunks::<8>().0) {
        // Both keep a NaN.
        let narrow = |at: usize| {
            // SAFETY: four floats from `at` on, which is 0 or 4, of eight.
            let values = unsafe { vld1q_f32(values.as_ptr().add(at)) };
            vreinterpret_u16_f16(vcvt_f16_f32(vmaxq_f32(least, vminq_f32(most, values))))
        };
        // SAFETY: eight places of 16 bits.
        unsafe { vst1q_u16(out.as_mut_ptr(), vcombine_u16(narrow(0), narrow(4))) };
    }
}

#[target_feature(enable = "neon")]
fn attend(task: &mut HeadTask<'_>) {
    portable_attention::attend(task, portable::widen);
}

#[target_feature(enable = "neon")]
fn exp_scaled(values: &mut [f32], max: f32, scale: f32) -> f32 {
    portable::exp_scaled(values, max, scale)
}

#[target_feature(enable = "neon")]
fn argmax(values: &[f32]) -> Option<(usize, f32)> {
    portable::argmax(values)
}
