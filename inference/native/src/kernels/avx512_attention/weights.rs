//! Weights of a row from its scores, in whole strips: what lies outside its reach is masked, so there is no tail.

use std::arch::x86_64::{
    __m512, _mm512_add_epi32, _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_max_ps, _mm512_maskz_mov_ps, _mm512_max_ps,
    _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
    _mm512_sub_ps,
};
use std::ops::Range;

use super::super::portable;
use super::super::portable_attention::{EXP2, LEAST_EXPONENT};
use super::STRIP;

/// Makes a row's scores weights, in whole strips from position `start` on; returns their sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
pub fn weigh(scores: &mut [f32], start: usize, own: Range<usize>) -> f32 {
    let (first, end) = (own.start - start, own.end - start);
    // The lanes of a strip that the row attends to.
    let mask = |strip: usize| -> u16 {
        let begin = strip * STRIP;
        let (skipped, taken) = (first.saturating_sub(begin), end.saturating_sub(begin));
        if skipped >= STRIP || taken == 0 {
            0
        } else {
            u16::MAX << skipped & u16::MAX >> (STRIP - taken.min(STRIP))
        }
    };
    let strips = scores.as_chunks_mut::<STRIP>().0;
    // Strips that the row attends to entirely; those before and behind them are masked.
    let front = first.div_ceil(STRIP);
    let (front, back) = (front, (end / STRIP).max(front));
    // Several, as one would wait for itself.
    let mut largest = [_mm512_set1_ps(f32::NEG_INFINITY); 4];
    // SAFETY of these blocks: a strip is 16 floats. The operand order of a maximum leaves NaNs out.
    for strip in (0..front).chain(back..strips.len()) {
        let scores = unsafe { _mm512_loadu_ps(strips[strip].as_ptr()) };
        largest[0] = _mm512_mask_max_ps(largest[0], mask(strip), scores, largest[0]);
    }
    let (fours, rest) = strips[front..back].as_chunks::<4>();
    for four in fours {
        for index in 0..4 {
            let scores = unsafe { _mm512_loadu_ps(four[index].as_ptr()) };
            largest[index] = _mm512_max_ps(scores, largest[index]);
        }
    }
    for strip in rest {
        let scores = unsafe { _mm512_loadu_ps(strip.as_ptr()) };
        largest[0] = _mm512_max_ps(scores, largest[0]);
    }
    let [one, two, three, four] = largest;
    let largest = _mm512_max_ps(_mm512_max_ps(one, two), _mm512_max_ps(three, four));
    let max = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let mut sums = _mm512_setzero_ps();
    for (index, strip) in strips.iter_mut().enumerate() {
        unsafe {
            let mut weights = exp2(_mm512_sub_ps(_mm512_loadu_ps(strip.as_ptr()), max));
            if index < front || index >= back {
                weights = _mm512_maskz_mov_ps(mask(index), weights);
            }
            sums = _mm512_add_ps(sums, weights);
            _mm512_storeu_ps(strip.as_mut_ptr(), weights);
        }
    }
    let mut lanes = [0.0; STRIP];
    // SAFETY: 16 floats.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
    portable::reduce(&lanes)
}

/// See `portable_attention::exp2`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn exp2(x: __m512) -> __m512 {
    let round = _mm512_set1_ps(portable::ROUND);
    // The operand order lets a NaN through.
    let x = _mm512_max_ps(_mm512_set1_ps(LEAST_EXPONENT), x);
    let rounded = _mm512_add_ps(x, round);
    let r = _mm512_sub_ps(x, _mm512_sub_ps(rounded, round));
    let mut p = _mm512_set1_ps(EXP2[0]);
    for coefficient in &EXP2[1..] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(*coefficient));
    }
    let p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0));
    let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(rounded));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), power))
}
