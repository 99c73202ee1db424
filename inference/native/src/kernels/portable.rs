//! Float loops written so that a compiler vectorises them for whatever instruction set the caller enables: fixed lanes,
//! fixed order, explicit fused multiply-adds. Inlined into each set's wrappers.

use super::HeadTask;
use crate::matrix::{BLOCK, TILE};

const LANES: usize = 16;

/// Symmetric 8-bit quantisation by blocks of 32: scale = max |x| / 127, ties to even.
#[inline(always)]
pub fn quantize(
    values: &[f32],
    quants: &mut [i8],
    scales: &mut [f32],
    sums: &mut [f32],
    integer_sums: &mut [i32],
) {
    for (block, chunk) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
        let mut lanes = [0.0_f32; LANES];
        for half in chunk.as_chunks::<LANES>().0 {
            for (lane, value) in lanes.iter_mut().zip(half) {
                *lane = lane.max(value.abs());
            }
        }
        let largest = lanes.iter().fold(0.0_f32, |all, each| all.max(*each));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let out = &mut quants[block * BLOCK..(block + 1) * BLOCK];
        let mut sum = 0_i32;
        for (quant, value) in out.iter_mut().zip(chunk) {
            let rounded = (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i32;
            *quant = rounded as i8;
            sum += rounded;
        }
        scales[block] = scale;
        sums[block] = scale * sum as f32;
        integer_sums[block] = sum;
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

/// e^x within 2 units in the last place for |x| < 87; clamped beyond.
/// Source: range reduction by ln 2 in two parts and the degree-5 polynomial of the Cephes library's `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
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
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
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

/// Softmax attention in two passes over the positions, in order, so that a token's result depends on nothing else.
#[inline(always)]
pub fn attend(task: &mut HeadTask<'_>) {
    let HeadTask {
        group,
        head_dim,
        num_positions,
        ..
    } = *task;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut largest = [f32::NEG_INFINITY; 16];
    for position in 0..num_positions {
        let at = entry(task, position);
        let key = &task.keys[at..at + head_dim];
        for query in 0..group {
            let score =
                dot_f16(&task.queries[query * head_dim..(query + 1) * head_dim], key) * scale;
            task.scores[query * num_positions + position] = score;
            largest[query] = largest[query].max(score);
        }
    }
    softmax(
        &mut task.scores[..group * num_positions],
        num_positions,
        &largest,
    );
    task.output.fill(0.0);
    for position in 0..num_positions {
        let at = entry(task, position);
        let value = &task.values[at..at + head_dim];
        for query in 0..group {
            let weight = task.scores[query * num_positions + position];
            let out = &mut task.output[query * head_dim..(query + 1) * head_dim];
            for (out, value) in out.iter_mut().zip(value) {
                *out = weight.mul_add(f16_to_f32(*value), *out);
            }
        }
    }
}

/// Each row of `num_positions` scores becomes probabilities; `largest` has each row's maximum.
#[inline(always)]
pub fn softmax(scores: &mut [f32], num_positions: usize, largest: &[f32]) {
    for (row, largest) in scores.chunks_exact_mut(num_positions).zip(largest) {
        let inverse = 1.0 / exp_scaled(row, *largest, 1.0);
        for score in row {
            *score *= inverse;
        }
    }
}

/// Where a position's key or value of this head begins.
#[inline(always)]
pub fn entry(task: &HeadTask<'_>, position: usize) -> usize {
    let block = task.block_table[position / task.block_size] as usize;
    (block * task.block_size + position % task.block_size) * task.kv_stride + task.head_offset
}

#[inline(always)]
fn dot_f16(query: &[f32], key: &[u16]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (query, key) in query
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(key.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            lanes[lane] = query[lane].mul_add(f16_to_f32(key[lane]), lanes[lane]);
        }
    }
    reduce(&lanes)
}

/// Exact for every finite f16; by arithmetic instead of a table or a branch, so that it vectorises.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits(0x7780_0000);
    let magnitude = f32::from_bits((u32::from(bits) & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | ((u32::from(bits) & 0x8000) << 16))
}

/// Sums lanes pairwise, always in the same order.
#[inline(always)]
fn reduce(lanes: &[f32; LANES]) -> f32 {
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
