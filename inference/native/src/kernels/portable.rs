//! Float loops written so that a compiler vectorises them for whatever instruction set the caller enables: fixed lanes,
//! fixed order, explicit fused multiply-adds. Inlined into each set's wrappers.

use super::QuantBlock;
use crate::matrix::{BLOCK, TILE};

pub const LANES: usize = 16;

/// 1.5 · 2²³: adding it rounds a float of less than 2²² to an integer, ties to even, and leaves that integer in the lower
/// bits. Rust's own conversions saturate, which no instruction does.
pub const ROUND: f32 = 12_582_912.0;

/// Symmetric 8-bit quantisation: scale = max |x| / 127, ties to even. A NaN or an infinity makes the scale one.
#[inline(always)]
pub fn quantize(values: &[f32; BLOCK], out: &mut QuantBlock) {
    // As bits, magnitudes order like integers, and a NaN is the largest.
    let largest = values
        .iter()
        .fold(0, |largest: u32, value| largest.max(value.abs().to_bits()));
    let (scale, inverse) = quant_scale(largest);
    let mut sum = 0;
    for (quant, value) in out.quants.iter_mut().zip(values) {
        let rounded = (value * inverse + ROUND).to_bits() as i8;
        *quant = rounded;
        sum += i32::from(rounded);
    }
    out.scale = scale;
    out.sum = scale * sum as f32;
    out.integer_sum = sum;
    let front = out.quants[..BLOCK / 2].iter();
    out.first_sum = front.map(|quant| i32::from(*quant)).sum();
}

/// The scale of a block and its inverse, from the bits of its largest magnitude.
#[inline(always)]
pub fn quant_scale(largest: u32) -> (f32, f32) {
    scale_to(127.0, largest)
}

/// The scale that makes the largest magnitude `most`, and its inverse.
#[inline(always)]
pub fn scale_to(most: f32, largest: u32) -> (f32, f32) {
    let scale = f32::from_bits(largest) / most;
    // Below the normal numbers an inverse would overflow; such numbers are as good as zero.
    if scale >= f32::MIN_POSITIVE {
        (scale, 1.0 / scale)
    } else {
        (scale, 0.0)
    }
}

#[inline(always)]
pub fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, tail) = input.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = value.mul_add(*value, *lane);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane = value.mul_add(*value, *lane);
    }
    let scale = 1.0 / (reduce(&lanes) / input.len() as f32 + epsilon).sqrt();
    for ((out, value), weight) in output.iter_mut().zip(input).zip(weight) {
        *out = value * scale * weight;
    }
}

#[inline(always)]
pub fn silu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// Source: Hendrycks and Gimpel 2016, the approximation with tanh; tanh(z) = 1 − 2 / (1 + e^2z).
#[inline(always)]
pub fn gelu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    // √(2 / π), twice as tanh doubles its argument
    const SLOPE: f32 = 2.0 * 0.797_884_6;
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        let doubled = SLOPE * x * (0.044_715 * x * x + 1.0);
        *gate = x / (1.0 + exp(-doubled)) * up;
    }
}

/// x · Φ(x), within 2e-7 of |x|. Source of erf: Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub fn gelu(values: &mut [f32; TILE]) {
    for value in values {
        let z = value.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (0.327_591_1 * z + 1.0);
        let mut p = 1.061_405_4_f32;
        for coefficient in [-1.453_152_f32, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = p.mul_add(t, coefficient);
        }
        // 1 − erf(z)
        let rest = p * t * exp(-z * z);
        let above = 0.5 * rest;
        *value *= if *value < 0.0 { above } else { 1.0 - above };
    }
}

/// Source: Ba et al. 2016. Mean and variance in two passes.
#[inline(always)]
pub fn layer_norm(input: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    let mean = sum_of(input, |value| value) / input.len() as f32;
    let variance = sum_of(input, |value| (value - mean) * (value - mean)) / input.len() as f32;
    let scale = 1.0 / (variance + epsilon).sqrt();
    for (((out, value), weight), bias) in output.iter_mut().zip(input).zip(weight).zip(bias) {
        *out = (value - mean) * scale * weight + bias;
    }
}

#[inline(always)]
pub fn rotate(values: &mut [f32; TILE], angles: &[(f32, f32)]) {
    for ([x, y], (cos, sin)) in values.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
        (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
    }
}

/// e^x within 2 units in the last place for |x| < 87; clamped beyond.
/// Source: range reduction by ln 2 in two parts and the degree-5 polynomial of the Cephes library's `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ] {
        p = p.mul_add(r, coefficient);
    }
    // The integer n is in the lower bits; all above the exponent's eight is shifted out.
    let power = f32::from_bits((rounded.to_bits().wrapping_add(127)) << 23);
    (p * r).mul_add(r, r + 1.0) * power
}

/// Each value becomes exp((value − `max`) · `scale`); returns their sum.
#[inline(always)]
pub fn exp_scaled(values: &mut [f32], max: f32, scale: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, tail) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = exp((*value - max) * scale);
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *value = exp((*value - max) * scale);
        *lane += *value;
    }
    reduce(&lanes)
}

/// Values that are looked at for the largest before it is looked for among them: they stay in the first-level cache.
const ARGMAX_CHUNK: usize = 1024;

#[inline(always)]
pub fn argmax(values: &[f32]) -> Option<(usize, f32)> {
    let (mut start, mut max, mut has_nan) = (0, f32::NEG_INFINITY, false);
    for (index, chunk) in values.chunks(ARGMAX_CHUNK).enumerate() {
        has_nan |= chunk.iter().fold(false, |all, value| all | value.is_nan());
        let own = largest(chunk);
        if own > max {
            (start, max) = (index * ARGMAX_CHUNK, own);
        }
    }
    if has_nan || max == f32::NEG_INFINITY {
        return None;
    }
    let at = values[start..].iter().position(|value| *value >= max)?;
    Some((start + at, max))
}

/// The largest value; NaNs do not count.
#[inline(always)]
pub fn largest(values: &[f32]) -> f32 {
    let larger = |one: f32, other: f32| if one > other { one } else { other };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*value, *lane);
        }
    }
    let all = lanes.iter().chain(tail);
    all.fold(f32::NEG_INFINITY, |max, value| larger(*value, max))
}

/// As `f16_to_f32`, of each.
#[inline(always)]
pub fn widen(halves: &[u16; LANES]) -> [f32; LANES] {
    halves.map(f16_to_f32)
}

/// Exact for every finite f16; by arithmetic instead of a table or a branch, so that it vectorises.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits(0x7780_0000);
    let magnitude = f32::from_bits((u32::from(bits) & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | ((u32::from(bits) & 0x8000) << 16))
}

#[inline(always)]
fn sum_of(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for chunk in values.chunks(LANES) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += term(*value);
        }
    }
    reduce(&lanes)
}

/// Sums lanes pairwise, always in the same order.
#[inline(always)]
pub fn reduce(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}
