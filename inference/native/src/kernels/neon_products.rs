//! Matrix products with NEON: a tile is four quarters of four rows, `sdot` takes four columns of each at a time.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vaddq_s32, vandq_u8, vcvt_f32_f16, vcvtq_f32_s32,
    vdupq_n_f32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, veorq_u8, vfmaq_f32, vfmaq_n_f32, vld1_u16,
    vld1q_f32, vld1q_s8, vld1q_u8, vmovl_u16, vmulq_n_f32, vorrq_u8, vreinterpret_f16_u16,
    vreinterpretq_f32_u32, vreinterpretq_s8_u8, vshlq_n_u32, vshlq_u8, vshrq_n_u8, vst1q_f32,
    vsubq_s8,
};
use std::arch::asm;

use super::format::{Format, by_layout};
use super::{FloatTileKernel, PANEL, QuantBlock, QuantTileKernel};
use crate::matrix::{FloatLayout, QuantLayout, TILE};

/// Rows of a quarter: as many as a vector has lanes.
const QUARTER: usize = 4;

pub fn quant_tile(layout: QuantLayout) -> QuantTileKernel {
    by_layout!(layout, product)
}

pub fn float_tile(layout: FloatLayout) -> FloatTileKernel {
    match layout {
        FloatLayout::F16 => float_product::<{ TILE * 2 }, false>,
        FloatLayout::Bf16 => float_product::<{ TILE * 2 }, true>,
        FloatLayout::F32 => float_product::<{ TILE * 4 }, false>,
    }
}

/// A block of four rows, a register for each chunk of columns. Codes are signed here: those of Q6 less 32, those of Q8 less
/// 128: their dot is the one that counts.
struct Unpacked {
    codes: [int8x16_t; 8],
    first: float32x4_t,
    second: float32x4_t,
}

/// Loops over tokens are compiled for a number of them, so that they unroll and sums stay in registers.
#[target_feature(enable = "neon,dotprod")]
fn product<F: Format>(tile: &[u8], panels: &[QuantBlock], out: &mut [[f32; TILE]]) {
    let panels = panels.chunks(tile.len() / F::BYTES * PANEL);
    for (out, panel) in out.chunks_mut(PANEL).zip(panels) {
        match out.len() {
            1 => tokens::<F, 1>(tile, panel, out),
            2 => tokens::<F, 2>(tile, panel, out),
            3 => tokens::<F, 3>(tile, panel, out),
            4 => tokens::<F, 4>(tile, panel, out),
            5 => tokens::<F, 5>(tile, panel, out),
            6 => tokens::<F, 6>(tile, panel, out),
            7 => tokens::<F, 7>(tile, panel, out),
            _ => tokens::<F, PANEL>(tile, panel, out),
        }
    }
}

/// Weights are unpacked once and meet the first N tokens of the panel.
#[target_feature(enable = "neon,dotprod")]
fn tokens<F: Format, const N: usize>(tile: &[u8], panel: &[QuantBlock], out: &mut [[f32; TILE]]) {
    for quarter in 0..TILE / QUARTER {
        let mut sums = [vdupq_n_f32(0.0); N];
        let panel = panel.as_chunks::<PANEL>().0;
        for (data, inputs) in tile.chunks_exact(F::BYTES).zip(panel) {
            // SAFETY: the instruction set is enabled here.
            unsafe {
                let weights = unpack::<F>(data, quarter);
                for token in 0..N {
                    sums[token] = add_dot::<F>(&weights, &inputs[token], sums[token]);
                }
            }
        }
        store(&sums, out, quarter * QUARTER);
    }
}

/// As `scalar::add_dot`, for four rows.
///
/// # Safety
/// Of this and the next functions: inlined into one that has the instruction set enabled. They have no such attribute of
/// their own, because an attribute forbids to insist on inlining, and what they are given must stay in registers.
#[inline(always)]
unsafe fn add_dot<F: Format>(
    weights: &Unpacked,
    input: &QuantBlock,
    sum: float32x4_t,
) -> float32x4_t {
    let [a, b, c, d, e, f, g, h] = weights.codes;
    // SAFETY: the caller's promise; there are 32 quants.
    unsafe {
        let quants = input.quants.as_ptr();
        let front = dot([a, b, c, d], vld1q_s8(quants));
        let back = dot([e, f, g, h], vld1q_s8(quants.add(16)));
        let scaled = vmulq_n_f32(weights.first, input.scale);
        match F::LAYOUT {
            QuantLayout::Q6 => {
                let sum = vfmaq_f32(sum, vcvtq_f32_s32(front), scaled);
                let scaled = vmulq_n_f32(weights.second, input.scale);
                vfmaq_f32(sum, vcvtq_f32_s32(back), scaled)
            }
            QuantLayout::Q8 => vfmaq_f32(sum, vcvtq_f32_s32(vaddq_s32(front, back)), scaled),
            _ => {
                let sum = vfmaq_f32(sum, vcvtq_f32_s32(vaddq_s32(front, back)), scaled);
                vfmaq_n_f32(sum, weights.second, input.sum)
            }
        }
    }
}

/// Four chunks of columns.
///
/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn dot(codes: [int8x16_t; 4], quants: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        let sum = add_chunk::<0>(vdupq_n_s32(0), codes[0], quants);
        let sum = add_chunk::<1>(sum, codes[1], quants);
        let sum = add_chunk::<2>(sum, codes[2], quants);
        add_chunk::<3>(sum, codes[3], quants)
    }
}

/// Adds to each row the dot of its four codes with four quants, those from 4 · CHUNK on. Rust's own name for the instruction
/// is not stable.
///
/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn add_chunk<const CHUNK: usize>(
    mut sum: int32x4_t,
    codes: int8x16_t,
    quants: int8x16_t,
) -> int32x4_t {
    const { assert!(CHUNK < 4) };
    // SAFETY: registers only; the caller's promise.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {codes:v}.16b, {quants:v}.4b[{chunk}]",
            sum = inout(vreg) sum,
            codes = in(vreg) codes,
            quants = in(vreg) quants,
            chunk = const CHUNK,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Codes and scales of a quarter of a block; see `matrix::layout`. @panics when `block` is shorter than one
///
/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn unpack<F: Format>(block: &[u8], quarter: usize) -> Unpacked {
    assert!(block.len() >= F::BYTES && quarter < TILE / QUARTER);
    // SAFETY: the caller's promise; a block has two vectors of 16 f16 or f32 (Q8 one of f32) and then 4 (Q5 5, Q6 6, Q8 8)
    // lines of 64 bytes.
    unsafe {
        let at = block.as_ptr();
        let (first, second) = match F::LAYOUT {
            QuantLayout::Q4 | QuantLayout::Q5 => (
                half_floats(at.add(quarter * 8)),
                half_floats(at.add(32 + quarter * 8)),
            ),
            QuantLayout::Q8 => (floats(at.add(quarter * 16)), vdupq_n_f32(0.0)),
            _ => (
                floats(at.add(quarter * 16)),
                floats(at.add(64 + quarter * 16)),
            ),
        };
        let lines = at.add(F::LAYOUT.scale_bytes() + quarter * 16);
        let mut codes = [vdupq_n_s8(0); 8];
        for chunk in 0..8 {
            codes[chunk] = signed_codes::<F>(lines, chunk);
        }
        Unpacked {
            codes,
            first,
            second,
        }
    }
}

/// Chunk `chunk` of four rows, 16 bytes of each line from `lines` on.
///
/// # Safety
/// As `add_dot`; there are as many lines of 64 bytes as the layout has.
#[inline(always)]
unsafe fn signed_codes<F: Format>(lines: *const u8, chunk: usize) -> int8x16_t {
    // SAFETY: the caller's promise.
    unsafe {
        if F::LAYOUT == QuantLayout::Q8 {
            // 128 more or less is the upper bit flipped.
            let codes = vld1q_u8(lines.add(chunk * 64));
            return vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(0x80)));
        }
        let bytes = vld1q_u8(lines.add(chunk % 4 * 64));
        let nibbles = if chunk < 4 {
            vandq_u8(bytes, vdupq_n_u8(15))
        } else {
            vshrq_n_u8::<4>(bytes)
        };
        match F::LAYOUT {
            QuantLayout::Q5 | QuantLayout::Q5Wide => {
                let bits = vshlq_u8(vld1q_u8(lines.add(256)), vdupq_n_s8(4 - chunk as i8));
                let codes = vorrq_u8(nibbles, vandq_u8(bits, vdupq_n_u8(0x10)));
                vreinterpretq_s8_u8(codes)
            }
            QuantLayout::Q6 => {
                let bits = vld1q_u8(lines.add(256 + chunk / 4 * 64));
                let bits = vshlq_u8(bits, vdupq_n_s8(4 - (chunk % 4 * 2) as i8));
                let codes = vorrq_u8(nibbles, vandq_u8(bits, vdupq_n_u8(0x30)));
                vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(32))
            }
            _ => vreinterpretq_s8_u8(nibbles),
        }
    }
}

/// BYTES of a column of 16 rows say whether they are f32; halves are f16 or bf16.
#[target_feature(enable = "neon,dotprod")]
fn float_product<const BYTES: usize, const IS_BF16: bool>(
    tile: &[u8],
    tokens: &[&[f32]],
    out: &mut [[f32; TILE]],
) {
    match tokens.len() {
        1 => float_tokens::<BYTES, IS_BF16, 1>(tile, tokens, out),
        2 => float_tokens::<BYTES, IS_BF16, 2>(tile, tokens, out),
        3 => float_tokens::<BYTES, IS_BF16, 3>(tile, tokens, out),
        4 => float_tokens::<BYTES, IS_BF16, 4>(tile, tokens, out),
        5 => float_tokens::<BYTES, IS_BF16, 5>(tile, tokens, out),
        6 => float_tokens::<BYTES, IS_BF16, 6>(tile, tokens, out),
        7 => float_tokens::<BYTES, IS_BF16, 7>(tile, tokens, out),
        _ => float_tokens::<BYTES, IS_BF16, PANEL>(tile, tokens, out),
    }
}

/// Two quarters at a time: sums of both for N tokens fit into registers.
#[target_feature(enable = "neon,dotprod")]
fn float_tokens<const BYTES: usize, const IS_BF16: bool, const N: usize>(
    tile: &[u8],
    tokens: &[&[f32]],
    out: &mut [[f32; TILE]],
) {
    for half in 0..2 {
        let mut sums = [[vdupq_n_f32(0.0); N]; 2];
        for (index, column) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
            // SAFETY: a column has 16 floats of BYTES / 16 bytes; a quarter has four.
            let weights = unsafe {
                let at = column.as_ptr().add(half * BYTES / 2);
                [
                    widen::<BYTES, IS_BF16>(at),
                    widen::<BYTES, IS_BF16>(at.add(BYTES / 4)),
                ]
            };
            for token in 0..N {
                let value = tokens[token][index];
                sums[0][token] = vfmaq_n_f32(sums[0][token], weights[0], value);
                sums[1][token] = vfmaq_n_f32(sums[1][token], weights[1], value);
            }
        }
        store(&sums[0], out, half * 2 * QUARTER);
        store(&sums[1], out, (half * 2 + 1) * QUARTER);
    }
}

/// Four floats of a column.
///
/// # Safety
/// As `add_dot`; `at` points to BYTES / 4 readable bytes.
#[inline(always)]
unsafe fn widen<const BYTES: usize, const IS_BF16: bool>(at: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        if BYTES == TILE * 4 {
            floats(at)
        } else if IS_BF16 {
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(at.cast()))))
        } else {
            half_floats(at)
        }
    }
}

/// # Safety
/// As `add_dot`; `at` points to 16 readable bytes.
#[inline(always)]
unsafe fn floats(at: *const u8) -> float32x4_t {
    unsafe { vld1q_f32(at.cast()) }
}

/// # Safety
/// As `add_dot`; `at` points to 8 readable bytes.
#[inline(always)]
unsafe fn half_floats(at: *const u8) -> float32x4_t {
    unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at.cast()))) }
}

/// Rows `first` … `first` + 3 of each token's outputs.
#[inline]
#[target_feature(enable = "neon")]
fn store<const N: usize>(sums: &[float32x4_t; N], out: &mut [[f32; TILE]], first: usize) {
    for (sum, out) in sums.iter().zip(out) {
        let out = &mut out[first..first + QUARTER];
        // SAFETY: four places.
        unsafe { vst1q_f32(out.as_mut_ptr(), *sum) };
    }
}
