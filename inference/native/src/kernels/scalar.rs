//! The reference: plain loops, every processor. The other sets must equal it bit by bit.

use half::f16;

use super::{Kernels, PANEL, QuantBlock, TileOutput, portable};
use crate::matrix::{BLOCK, Q4_BYTES, Q8_BYTES, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "scalar",
    q4_tile,
    q8_tile,
    f32_tile,
    quantize: |values, out| portable::quantize(values, out),
    rms_norm: |input, weight, epsilon, output| portable::rms_norm(input, weight, epsilon, output),
    silu_mul: |gate, up| portable::silu_mul(gate, up),
    gelu_mul: |gate, up| portable::gelu_mul(gate, up),
    gelu: |values| portable::gelu(values),
    layer_norm: |input, weight, bias, epsilon, output| {
        portable::layer_norm(input, weight, bias, epsilon, output);
    },
    rotate: |values, angles| portable::rotate(values, angles),
    store_f16,
    attend: |task| portable::attend(task),
    exp_scaled: |values, max, scale| portable::exp_scaled(values, max, scale),
    argmax: |values| portable::argmax(values),
};

fn q4_tile(tile: &[u8], panel: &[QuantBlock], count: usize, out: &mut TileOutput) {
    for (token, out) in out.iter_mut().enumerate().take(count) {
        *out = [0.0; TILE];
        for (block, data) in tile.chunks_exact(Q4_BYTES).enumerate() {
            let input = &panel[block * PANEL + token];
            for (lane, out) in out.iter_mut().enumerate() {
                let byte = |at: usize| data[64 + at / 4 * 64 + lane * 4 + at % 4];
                let dot: i32 = (0..16)
                    .map(|at| {
                        i32::from(byte(at) & 15) * i32::from(input.quants[at])
                            + i32::from(byte(at) >> 4) * i32::from(input.quants[16 + at])
                    })
                    .sum();
                let scale = f16::from_le_bytes([data[lane * 2], data[lane * 2 + 1]]).to_f32();
                let minimum =
                    f16::from_le_bytes([data[32 + lane * 2], data[33 + lane * 2]]).to_f32();
                *out = (dot as f32).mul_add(scale * input.scale, *out);
                *out = minimum.mul_add(input.sum, *out);
            }
        }
    }
}

fn q8_tile(tile: &[u8], panel: &[QuantBlock], count: usize, out: &mut TileOutput) {
    for (token, out) in out.iter_mut().enumerate().take(count) {
        *out = [0.0; TILE];
        for (block, data) in tile.chunks_exact(Q8_BYTES).enumerate() {
            let input = &panel[block * PANEL + token];
            for (lane, out) in out.iter_mut().enumerate() {
                let byte = |at: usize| i32::from(data[64 + at / 4 * 64 + lane * 4 + at % 4]);
                let dot: i32 = (0..BLOCK)
                    .map(|at| byte(at) * i32::from(input.quants[at]))
                    .sum::<i32>()
                    - 128 * input.integer_sum;
                let scale = f32::from_le_bytes([
                    data[lane * 4],
                    data[lane * 4 + 1],
                    data[lane * 4 + 2],
                    data[lane * 4 + 3],
                ]);
                *out = (dot as f32).mul_add(scale * input.scale, *out);
            }
        }
    }
}

fn f32_tile(tile: &[u8], tokens: &[&[f32]], out: &mut TileOutput) {
    for (values, out) in tokens.iter().zip(out) {
        *out = [0.0; TILE];
        for (weights, value) in tile.as_chunks::<{ TILE * 4 }>().0.iter().zip(*values) {
            for (out, weight) in out.iter_mut().zip(weights.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*weight).mul_add(*value, *out);
            }
        }
    }
}

fn store_f16(values: &[f32; TILE], out: &mut [u16; TILE]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = f16::from_f32(value.clamp(-65504.0, 65504.0)).to_bits();
    }
}
