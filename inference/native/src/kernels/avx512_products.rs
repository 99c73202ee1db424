//! Products with quantised matrices with AVX-512 VNNI: one 512-bit lane is one row of a tile, `vpdpbusd` takes four columns
//! at a time.

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm512_add_epi32,
    _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi16,
    _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::format::{Format, by_layout};
use super::{PANEL, QuantBlock, QuantTileKernel};
use crate::matrix::{QuantLayout, TILE};

/// How far ahead of its use a block of weights is asked for, in bytes.
const AHEAD: usize = 4096;
/// Tokens from which on that pays: with fewer, the loop itself reads far enough ahead and memory is what it waits for.
const AHEAD_FROM: usize = 5;

pub fn quant_tile(layout: QuantLayout) -> QuantTileKernel {
    by_layout!(layout, product)
}

/// A block of 16 rows, a register for each chunk of columns.
pub struct Unpacked {
    pub codes: [__m512i; 8],
    pub first: __m512,
    pub second: __m512,
}

/// Loops over tokens are compiled for a number of them, so that they unroll and sums stay in registers. Weights that were
/// unpacked meet two panels at once where they are full.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn product<F: Format>(tile: &[u8], panels: &[QuantBlock], out: &mut [[f32; TILE]]) {
    let len = tile.len() / F::BYTES * PANEL;
    let (pairs, rest) = out.as_chunks_mut::<{ 2 * PANEL }>();
    let (paired, panels) = panels.split_at(pairs.len() * 2 * len);
    for (out, both) in pairs.iter_mut().zip(paired.chunks_exact(2 * len)) {
        let (one, other) = both.split_at(len);
        tokens::<F, PANEL, 2>(tile, [one, other], out);
    }
    for (out, panel) in rest.chunks_mut(PANEL).zip(panels.chunks(len)) {
        match out.len() {
            1 => tokens::<F, 1, 1>(tile, [panel], out),
            2 => tokens::<F, 2, 1>(tile, [panel], out),
            3 => tokens::<F, 3, 1>(tile, [panel], out),
            4 => tokens::<F, 4, 1>(tile, [panel], out),
            5 => tokens::<F, 5, 1>(tile, [panel], out),
            6 => tokens::<F, 6, 1>(tile, [panel], out),
            7 => tokens::<F, 7, 1>(tile, [panel], out),
            _ => tokens::<F, PANEL, 1>(tile, [panel], out),
        }
    }
}

/// Weights are unpacked once and meet the first N tokens of each of P panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn tokens<F: Format, const N: usize, const P: usize>(
    tile: &[u8],
    panels: [&[QuantBlock]; P],
    out: &mut [[f32; TILE]],
) {
    let mut sums = [[_mm512_setzero_ps(); N]; P];
    let panels = panels.map(|panel| panel.as_chunks::<PANEL>().0);
    let num_blocks = panels.iter().map(|panel| panel.len()).min().unwrap_or(0);
    for (block, data) in tile.chunks_exact(F::BYTES).take(num_blocks).enumerate() {
        // SAFETY: the instruction set is enabled here; each panel has so many blocks.
        unsafe {
            let weights = unpack::<F>(data);
            if N >= AHEAD_FROM {
                prefetch_block::<F>(data.as_ptr().wrapping_add(AHEAD));
            }
            for (panel, sums) in panels.iter().zip(&mut sums) {
                let inputs = in_register(panel.get_unchecked(block));
                for token in 0..N {
                    sums[token] = add_dot::<F, N>(&weights, &inputs[token], sums[token]);
                }
            }
        }
    }
    for (sums, out) in sums.iter().zip(out.chunks_mut(N)) {
        store(sums, out);
    }
}

/// Brings what will be read soon closer; the tiles of a matrix lie one behind the other, and an address that is none is passed
/// over.
///
/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn prefetch_block<F: Format>(at: *const u8) {
    for line in 0..F::BYTES / 64 {
        // SAFETY: the caller's promise.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(line * 64).cast()) };
    }
}

/// The same reference, but the compiler must have it in a register. It would rather add an index to it in each of a hundred
/// loads, which then take two slots of the pipeline instead of one: a fifth of the kernel's speed.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // Nothing is read through it there.
fn in_register<T>(reference: &T) -> &T {
    let mut at = std::ptr::from_ref(reference);
    // SAFETY: the instruction is none, and the pointer stays what it is.
    unsafe { asm!("/* {0} */", inout(reg) at, options(pure, nomem, nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { &*at }
}

/// As `scalar::add_dot`, for 16 rows.
///
/// # Safety
/// Of this and the next functions: inlined into one that has the instruction set enabled. They have no such attribute of
/// their own, because an attribute forbids to insist on inlining, and they are too large to be inlined without.
#[inline(always)]
unsafe fn add_dot<F: Format, const N: usize>(
    weights: &Unpacked,
    input: &QuantBlock,
    sum: __m512,
) -> __m512 {
    let codes = &weights.codes;
    let fours = input.quants.as_chunks::<4>().0;
    // SAFETY: the caller's promise.
    unsafe {
        let scale = _mm512_set1_ps(input.scale);
        // Codes of Q6 and Q8 carry 32 or 128 too much; a dot that starts at −32 · sum takes it away exactly.
        match F::LAYOUT {
            QuantLayout::Q6 => {
                let back_sum = input.integer_sum - input.first_sum;
                let front = dot::<4>(&codes[..4], &fours[..4], -32 * input.first_sum);
                let back = dot::<4>(&codes[4..], &fours[4..], -32 * back_sum);
                let sum = _mm512_fmadd_ps(front, _mm512_mul_ps(weights.first, scale), sum);
                _mm512_fmadd_ps(back, _mm512_mul_ps(weights.second, scale), sum)
            }
            QuantLayout::Q8 => {
                let dot = dot::<N>(codes, fours, -128 * input.integer_sum);
                _mm512_fmadd_ps(dot, _mm512_mul_ps(weights.first, scale), sum)
            }
            _ => {
                let dot = dot::<N>(codes, fours, 0);
                let sum = _mm512_fmadd_ps(dot, _mm512_mul_ps(weights.first, scale), sum);
                _mm512_fmadd_ps(weights.second, _mm512_set1_ps(input.sum), sum)
            }
        }
    }
}

/// A few tokens need two accumulators each to hide the latency of the dot; many hide it for each other.
///
/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn dot<const N: usize>(codes: &[__m512i], fours: &[[i8; 4]], start: i32) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut even = _mm512_set1_epi32(start);
        if N > 3 {
            for (codes, four) in codes.iter().zip(fours) {
                even = _mm512_dpbusd_epi32(even, *codes, broadcast(*four));
            }
            return _mm512_cvtepi32_ps(even);
        }
        let mut odd = _mm512_setzero_si512();
        for pair in 0..codes.len() / 2 {
            even = _mm512_dpbusd_epi32(even, codes[pair * 2], broadcast(fours[pair * 2]));
            odd = _mm512_dpbusd_epi32(odd, codes[pair * 2 + 1], broadcast(fours[pair * 2 + 1]));
        }
        _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd))
    }
}

/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn broadcast(four: [i8; 4]) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_set1_epi32(i32::from_le_bytes(four.map(|quant| quant as u8))) }
}

/// Codes and scales of a block of a tile; see `matrix::layout`. @panics when `block` is shorter than one
///
/// # Safety
/// As `add_dot`.
#[inline(always)]
pub unsafe fn unpack<F: Format>(block: &[u8]) -> Unpacked {
    assert!(block.len() >= F::BYTES);
    // SAFETY: the caller's promise; a block has two vectors of 16 f16 or f32 (Q8 one of f32) and then 4 (Q5 5, Q6 6, Q8 8)
    // lines of 64 bytes.
    unsafe {
        let at = block.as_ptr();
        let lines = at.add(F::LAYOUT.scale_bytes());
        let (first, second) = match F::LAYOUT {
            QuantLayout::Q4 | QuantLayout::Q5 => (half_floats(at), half_floats(at.add(32))),
            QuantLayout::Q8 => (_mm512_loadu_ps(at.cast()), _mm512_setzero_ps()),
            _ => (
                _mm512_loadu_ps(at.cast()),
                _mm512_loadu_ps(at.add(64).cast()),
            ),
        };
        let mut codes = [_mm512_setzero_si512(); 8];
        if F::LAYOUT == QuantLayout::Q8 {
            for (chunk, codes) in codes.iter_mut().enumerate() {
                *codes = load(lines.add(chunk * 64));
            }
        } else {
            let low = _mm512_set1_epi8(15);
            for chunk in 0..4 {
                let bytes = load(lines.add(chunk * 64));
                codes[chunk] = _mm512_and_si512(bytes, low);
                codes[chunk + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low);
            }
        }
        match F::LAYOUT {
            QuantLayout::Q5 | QuantLayout::Q5Wide => {
                let bits = load(lines.add(256));
                codes[0] = add_bits(codes[0], _mm512_slli_epi16::<4>(bits), 0x10);
                codes[1] = add_bits(codes[1], _mm512_slli_epi16::<3>(bits), 0x10);
                codes[2] = add_bits(codes[2], _mm512_slli_epi16::<2>(bits), 0x10);
                codes[3] = add_bits(codes[3], _mm512_slli_epi16::<1>(bits), 0x10);
                codes[4] = add_bits(codes[4], bits, 0x10);
                codes[5] = add_bits(codes[5], _mm512_srli_epi16::<1>(bits), 0x10);
                codes[6] = add_bits(codes[6], _mm512_srli_epi16::<2>(bits), 0x10);
                codes[7] = add_bits(codes[7], _mm512_srli_epi16::<3>(bits), 0x10);
            }
            QuantLayout::Q6 => {
                for half in 0..2 {
                    let bits = load(lines.add(256 + half * 64));
                    let codes = &mut codes[half * 4..];
                    codes[0] = add_bits(codes[0], _mm512_slli_epi16::<4>(bits), 0x30);
                    codes[1] = add_bits(codes[1], _mm512_slli_epi16::<2>(bits), 0x30);
                    codes[2] = add_bits(codes[2], bits, 0x30);
                    codes[3] = add_bits(codes[3], _mm512_srli_epi16::<2>(bits), 0x30);
                }
            }
            _ => {}
        }
        Unpacked {
            codes,
            first,
            second,
        }
    }
}

/// # Safety
/// As `add_dot`.
#[inline(always)]
unsafe fn add_bits(codes: __m512i, bits: __m512i, mask: i8) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_or_si512(codes, _mm512_and_si512(bits, _mm512_set1_epi8(mask))) }
}

/// # Safety
/// As `add_dot`; `at` points to 64 readable bytes.
#[inline(always)]
unsafe fn load(at: *const u8) -> __m512i {
    unsafe { _mm512_loadu_si512(at.cast()) }
}

/// # Safety
/// As `add_dot`; `at` points to 32 readable bytes.
#[inline(always)]
pub unsafe fn half_floats(at: *const u8) -> __m512 {
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast::<__m256i>())) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub fn store<const N: usize>(sums: &[__m512; N], out: &mut [[f32; TILE]]) {
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each output has 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
}
