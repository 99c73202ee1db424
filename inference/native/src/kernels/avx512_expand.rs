//! Codes to the bytes of the arithmetic of rows with AVX-512: two columns of 16 rows at a time, as halves of 32-bit lanes.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi16, _mm512_and_si512,
    _mm512_loadu_si512, _mm512_mulhrs_epi16, _mm512_mullo_epi16, _mm512_or_si512,
    _mm512_permutexvar_epi16, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32,
    _mm512_slli_epi16, _mm512_sllv_epi16, _mm512_srli_epi16, _mm512_srlv_epi16, _mm512_sub_epi16,
    _mm512_xor_si512,
};

use super::format::Format;
use crate::matrix::{BLOCK_SCALES, QuantLayout};

/// A block of 16 rows, a register for each chunk of columns; as `RowCodes::bytes`, with 128 added where they are unsigned.
///
/// # Safety
/// Of this and the next functions: `block` points to `F::ROW_BYTES` bytes, and they are inlined into one that has the instruction
/// set enabled. They have no such attribute of their own, because an attribute forbids to insist on inlining.
#[inline(always)]
pub unsafe fn weights<F: Format, const UNSIGNED: bool>(block: *const u8) -> [__m512i; 8] {
    // SAFETY: the caller's promise; see `matrix::layout` for what lies where.
    unsafe {
        let lines = block.add(BLOCK_SCALES);
        let load = |line: usize| _mm512_loadu_si512(lines.add(line * 64).cast());
        let (front, back) = scales::<F, UNSIGNED>(block);
        let mut all = [_mm512_set1_epi8(0); 8];
        if F::LAYOUT == QuantLayout::Q8 {
            for (chunk, weights) in all.iter_mut().enumerate() {
                let codes = _mm512_xor_si512(load(chunk), _mm512_set1_epi8(i8::MIN));
                let odd = _mm512_and_si512(codes, _mm512_set1_epi16(-256));
                *weights = bytes::<F>(_mm512_slli_epi16::<8>(codes), odd, front);
            }
            return all;
        }
        let nibble = _mm512_set1_epi16(15);
        for line in 0..4 {
            let codes = load(line);
            let third = _mm512_srli_epi16::<8>(codes);
            let second = _mm512_srli_epi16::<4>(codes);
            let last = _mm512_srli_epi16::<12>(codes);
            let and = |codes: __m512i| _mm512_and_si512(codes, nibble);
            let halves = [(and(codes), and(third)), (and(second), last)];
            for (half, (even, odd)) in halves.into_iter().enumerate() {
                // Where the upper bits of this chunk's codes are, and how many.
                let (upper, at, count) = match F::LAYOUT {
                    QuantLayout::Q5 | QuantLayout::Q5Wide => (load(4), line + 4 * half, 1),
                    QuantLayout::Q6 => (load(4 + half), line * 2, 2),
                    _ => (codes, 0, 0),
                };
                let scale = if half == 0 { front } else { back };
                let even = with_upper(even, upper, at, count);
                let odd = with_upper(odd, upper, at + 8, count);
                all[half * 4 + line] = bytes::<F>(even, odd, scale);
            }
        }
        all
    }
}

/// Bytes ahead of the block at hand that are asked for: far ahead into the second-level cache, which takes more requests at a
/// time, and from there into the first.
const FAR: usize = 12 << 10;
const NEAR: usize = 1 << 10;

/// Asks for what will be read after a block: weights come from memory, and a step reads each of them once.
///
/// # Safety
/// As `weights`, but for what `block` points to.
#[inline(always)]
pub unsafe fn prefetch<F: Format>(block: *const u8) {
    // SAFETY: a prefetch may point anywhere.
    unsafe {
        for line in 0..F::ROW_BYTES / 64 {
            _mm_prefetch::<_MM_HINT_T1>(block.wrapping_add(FAR + line * 64).cast());
            _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(NEAR + line * 64).cast());
        }
    }
}

/// What codes of 16 rows are multiplied by, and what is added.
#[derive(Clone, Copy)]
struct Scale {
    factor: __m512i,
    summand: __m512i,
}

/// Of both halves of a block.
///
/// # Safety
/// As `weights`.
#[inline(always)]
unsafe fn scales<F: Format, const UNSIGNED: bool>(block: *const u8) -> (Scale, Scale) {
    // SAFETY: the caller's promise.
    unsafe {
        let both = _mm512_loadu_si512(block.cast());
        // Word i of the 16 rows' numbers, twice.
        let pairs = _mm512_loadu_si512(PAIRS.as_ptr().cast());
        let first = _mm512_permutexvar_epi16(pairs, both);
        let of_second = _mm512_add_epi16(pairs, _mm512_set1_epi16(16));
        let second = _mm512_permutexvar_epi16(of_second, both);
        let sign = _mm512_set1_epi16(if UNSIGNED { i16::MIN } else { 0 });
        let half = _mm512_xor_si512(_mm512_set1_epi16(128), sign);
        let centred = |factor: __m512i| Scale {
            factor,
            summand: _mm512_sub_epi16(half, _mm512_slli_epi16::<5>(factor)),
        };
        let (factor, summand) = match F::LAYOUT {
            QuantLayout::Q6 => return (centred(first), centred(second)),
            QuantLayout::Q8 => (first, half),
            _ => (first, _mm512_xor_si512(second, sign)),
        };
        let scale = Scale { factor, summand };
        (scale, scale)
    }
}

const PAIRS: [u16; 32] = [
    0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14,
    14, 15, 15,
];

/// Codes whose bits from 4 on are `count` bits of `upper` from bit `at` on.
///
/// # Safety
/// As `weights`.
#[inline(always)]
unsafe fn with_upper(codes: __m512i, upper: __m512i, at: usize, count: usize) -> __m512i {
    if count == 0 {
        return codes;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let by = _mm512_set1_epi16((at as i16 - 4).abs());
        let moved = if at > 4 {
            _mm512_srlv_epi16(upper, by)
        } else {
            _mm512_sllv_epi16(upper, by)
        };
        let mask = _mm512_set1_epi16(((1 << count) - 1) << 4);
        _mm512_or_si512(codes, _mm512_and_si512(moved, mask))
    }
}

/// # Safety
/// As `weights`.
#[inline(always)]
unsafe fn bytes<F: Format>(even: __m512i, odd: __m512i, scale: Scale) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let weight = |codes: __m512i| {
            let product = if F::LAYOUT == QuantLayout::Q8 {
                _mm512_mulhrs_epi16(codes, scale.factor)
            } else {
                _mm512_mullo_epi16(codes, scale.factor)
            };
            _mm512_add_epi16(product, scale.summand)
        };
        let upper = _mm512_and_si512(weight(odd), _mm512_set1_epi32(0xff00_ff00_u32 as i32));
        _mm512_or_si512(_mm512_srli_epi16::<8>(weight(even)), upper)
    }
}
