//! The reference: plain loops, every processor. The other sets must equal it bit by bit.

use std::ops::Range;

use half::f16;

use super::format::{Format, by_layout};
use super::{Kernels, PANEL, QuantBlock, portable, portable_attention};
use crate::matrix::{Arithmetic, BLOCK, FloatLayout, QuantLayout, RowBlock, TILE, float_at};

pub const KERNELS: Kernels = Kernels {
    name: "scalar",
    arithmetic: Arithmetic::Blocks,
    quant_tile: |layout| by_layout!(layout, quant_tile),
    float_tile: |layout| match layout {
        FloatLayout::F16 => |tile, tokens, out| float_tile(FloatLayout::F16, tile, tokens, out),
        FloatLayout::Bf16 => |tile, tokens, out| float_tile(FloatLayout::Bf16, tile, tokens, out),
        FloatLayout::F32 => |tile, tokens, out| float_tile(FloatLayout::F32, tile, tokens, out),
    },
    quantize: |values, out| portable::quantize(values, out),
    rows: super::rows::SCALAR,
    rms_norm: |input, weight, epsilon, output| portable::rms_norm(input, weight, epsilon, output),
    silu_mul: |gate, up| portable::silu_mul(gate, up),
    gelu_mul: |gate, up| portable::gelu_mul(gate, up),
    gelu: |values| portable::gelu(values),
    layer_norm: |input, weight, bias, epsilon, output| {
        portable::layer_norm(input, weight, bias, epsilon, output);
    },
    rotate: |values, angles| portable::rotate(values, angles),
    store_f16,
    attend: |task| portable_attention::attend(task, portable::widen),
    exp_scaled: |values, max, scale| portable::exp_scaled(values, max, scale),
    argmax: |values| portable::argmax(values),
};

fn quant_tile<F: Format>(tile: &[u8], panels: &[QuantBlock], out: &mut [[f32; TILE]]) {
    out.fill([0.0; TILE]);
    let panels = panels.chunks(tile.len() / F::BYTES * PANEL);
    for (out, panel) in out.chunks_mut(PANEL).zip(panels) {
        for (block, data) in tile.chunks_exact(F::BYTES).enumerate() {
            for lane in 0..TILE {
                let row = RowBlock::read(F::LAYOUT, data, lane);
                for (out, input) in out.iter_mut().zip(&panel[block * PANEL..]) {
                    out[lane] = add_dot(F::LAYOUT, &row, input, out[lane]);
                }
            }
        }
    }
}

/// `sum` and what a block adds to it, in the order of float operations that all sets keep.
fn add_dot(layout: QuantLayout, row: &RowBlock, input: &QuantBlock, sum: f32) -> f32 {
    let dot = |columns: Range<usize>| -> i32 {
        columns
            .map(|at| i32::from(row.codes[at]) * i32::from(input.quants[at]))
            .sum()
    };
    match layout {
        QuantLayout::Q8 => {
            let dot = dot(0..BLOCK) - 128 * input.integer_sum;
            (dot as f32).mul_add(row.first * input.scale, sum)
        }
        QuantLayout::Q6 => {
            let front = dot(0..BLOCK / 2) - 32 * input.first_sum;
            let back = dot(BLOCK / 2..BLOCK) - 32 * (input.integer_sum - input.first_sum);
            let sum = (front as f32).mul_add(row.first * input.scale, sum);
            (back as f32).mul_add(row.second * input.scale, sum)
        }
        _ => {
            let sum = (dot(0..BLOCK) as f32).mul_add(row.first * input.scale, sum);
            row.second.mul_add(input.sum, sum)
        }
    }
}

fn float_tile(layout: FloatLayout, tile: &[u8], tokens: &[&[f32]], out: &mut [[f32; TILE]]) {
    for (values, out) in tokens.iter().zip(out) {
        *out = [0.0; TILE];
        for (column, value) in tile.chunks_exact(layout.column_bytes()).zip(*values) {
            for (lane, out) in out.iter_mut().enumerate() {
                *out = float_at(layout, column, lane).mul_add(*value, *out);
            }
        }
    }
}

fn store_f16(values: &[f32; TILE], out: &mut [u16; TILE]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = f16::from_f32(value.clamp(-65504.0, 65504.0)).to_bits();
    }
}
