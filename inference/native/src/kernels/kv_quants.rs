//! Keys and values in 8 bits: a head of a slot is a scale and a byte for each dimension, value = scale · byte. Made once, by
//! the same loop whatever the instruction set, and read as the same floats by all of them.

use std::ops::Range;

use half::f16;

use super::head_task::HeadTask;
use super::portable::{LANES, ROUND, f16_to_f32};

/// The largest f16: beyond it values saturate, as those that are kept as f16 do.
const MAX: f32 = 65504.0;

/// Rounds the values of a head to multiples of its scale; returns the scale's bits. A NaN among them makes all of them NaNs.
pub fn quant_head(values: &[f32], quants: &mut [i8]) -> u16 {
    let bits = |value: &f32| value.to_bits() & 0x7fff_ffff;
    let most = values.iter().map(bits).max().unwrap_or(0);
    let largest = f32::from_bits(most);
    if largest.is_nan() {
        quants.fill(1);
        return f16::NAN.to_bits();
    }
    let scale = f16::from_f32(largest.min(MAX) / 127.0);
    let inverse = match scale.to_f32() {
        0.0 => 0.0,
        scale => 1.0 / scale,
    };
    for (value, quant) in values.iter().zip(quants) {
        // The scale was rounded: the largest may be a little beyond 127 of it.
        let multiple = (value.clamp(-MAX, MAX) * inverse).clamp(-127.0, 127.0);
        *quant = (multiple + ROUND).to_bits() as i8;
    }
    scale.to_bits()
}

/// As `portable_attention::widen_keys`.
#[inline(always)]
pub fn dequant_keys(task: &HeadTask<'_>, positions: Range<usize>, keys: &mut [[f32; LANES]]) {
    let quants = task.quants();
    if !task.block_size.is_multiple_of(LANES) {
        for lane in 0..LANES {
            let position = (positions.start + lane).min(positions.end - 1);
            let start = task.key_quants_start(position);
            let scale = f16_to_f32(task.pool[task.key_scale_at(position)]);
            for (dim, keys) in keys.iter_mut().enumerate() {
                keys[lane] = scale * f32::from(quants[start + dim * task.block_size]);
            }
        }
        return;
    }
    let (start, scales) = (
        task.key_quants_start(positions.start),
        task.key_scale_at(positions.start),
    );
    let Some(scales) = task.pool[scales..].first_chunk::<LANES>() else {
        return;
    };
    let scales = scales.map(f16_to_f32);
    for (dim, keys) in keys.iter_mut().enumerate() {
        if let Some(quants) = quants[start + dim * task.block_size..].first_chunk::<LANES>() {
            for lane in 0..LANES {
                keys[lane] = scales[lane] * f32::from(quants[lane]);
            }
        }
    }
}

/// A position's values from `column` on.
#[inline(always)]
pub fn dequant_values(task: &HeadTask<'_>, position: usize, column: usize) -> [f32; LANES] {
    let start = task.value_quants_start(position) + column;
    let scale = f16_to_f32(task.pool[task.value_scale_at(position)]);
    let mut values = [0.0; LANES];
    for (value, quant) in values.iter_mut().zip(&task.quants()[start..start + LANES]) {
        *value = scale * f32::from(*quant);
    }
    values
}
