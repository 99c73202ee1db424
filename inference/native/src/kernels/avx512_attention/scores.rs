//! Scores: R rows × P strips of positions in registers, dimension after dimension.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};
use std::ops::Range;

use super::super::head_task::HeadTask;
use super::{FEW, STRIP, Source, prefetch, rows_together, widened};

/// Scores of all rows over `positions`, which begin with a strip.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
pub fn score<const D: usize>(
    task: &HeadTask<'_>,
    positions: Range<usize>,
    queries: &[f32],
    source: &Source<'_>,
    scores: &mut [f32],
) {
    let num_rows = task.num_rows();
    let mut row = 0;
    while row < num_rows {
        let count = rows_together(num_rows - row, 12);
        let all = task.positions_of_all(row..row + count);
        let own = all.start.max(positions.start)..all.end.min(positions.end);
        let queries = &queries[row * D..];
        let scores = &mut scores[row * task.score_stride..];
        let begin = positions.start;
        match count {
            12 => score_rows::<12, D>(task, begin, own, queries, source, scores),
            6 => score_rows::<6, D>(task, begin, own, queries, source, scores),
            4 => score_rows::<4, D>(task, begin, own, queries, source, scores),
            3 => score_rows::<3, D>(task, begin, own, queries, source, scores),
            2 => score_rows::<2, D>(task, begin, own, queries, source, scores),
            _ => score_rows::<1, D>(task, begin, own, queries, source, scores),
        }
        row += count;
    }
}

/// Scores of R rows in whole strips from `own` on; the source begins with position `begin`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn score_rows<const R: usize, const D: usize>(
    task: &HeadTask<'_>,
    begin: usize,
    own: Range<usize>,
    queries: &[f32],
    source: &Source<'_>,
    scores: &mut [f32],
) {
    let mut first = own.start;
    while first < own.end {
        let left = (own.end - first).div_ceil(STRIP);
        first += STRIP
            * match left {
                4.. if R <= FEW => {
                    score_strips::<R, 4, D>(task, begin, first, queries, source, scores)
                }
                2.. => score_strips::<R, 2, D>(task, begin, first, queries, source, scores),
                _ => score_strips::<R, 1, D>(task, begin, first, queries, source, scores),
            };
    }
}

/// Scores of R rows over P strips from position `first` on; returns P.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn score_strips<const R: usize, const P: usize, const D: usize>(
    task: &HeadTask<'_>,
    begin: usize,
    first: usize,
    queries: &[f32],
    source: &Source<'_>,
    scores: &mut [f32],
) -> usize {
    let queries = &queries[..R * D];
    let sums = match source {
        Source::Span(span) => {
            let start = (first - begin) * D;
            let keys: [*const u8; P] = std::array::from_fn(|strip| {
                span[start + strip * D * STRIP..][..D * STRIP]
                    .as_ptr()
                    .cast()
            });
            // SAFETY: a strip has D times 16 floats, and there are R · D queries.
            unsafe { dots::<R, P, D, true>(queries, keys, STRIP * size_of::<f32>(), keys) }
        }
        Source::Pool => {
            let len = (D - 1) * task.block_size + STRIP;
            let keys: [*const u8; P] = std::array::from_fn(|strip| {
                let start = task.key_start(first + strip * STRIP);
                task.pool[start..start + len].as_ptr().cast()
            });
            let values: [*const u8; P] = std::array::from_fn(|strip| {
                let start = task.value_start(first + strip * STRIP);
                task.pool[start..].as_ptr().cast()
            });
            let stride = task.block_size * size_of::<u16>();
            // SAFETY: the last of D dimensions ends `len` behind the first, and there are R · D queries.
            unsafe { dots::<R, P, D, false>(queries, keys, stride, values) }
        }
    };
    for (row, sums) in sums.iter().enumerate() {
        let scores = &mut scores[row * task.score_stride + first..][..P * STRIP];
        for (scores, sum) in scores.as_chunks_mut::<STRIP>().0.iter_mut().zip(sums) {
            // SAFETY: a chunk is 16 floats.
            unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), *sum) };
        }
    }
    P
}

/// Dot products of R queries with the keys of P strips, dimension after dimension; lanes are positions.
///
/// # Safety
/// There are R · D queries. Each of `keys` points to D vectors `stride` bytes apart, of floats if WIDE, else of halves.
/// Unless WIDE, what is at `next`, a strip each, is brought into the cache meanwhile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn dots<const R: usize, const P: usize, const D: usize, const WIDE: bool>(
    queries: &[f32],
    keys: [*const u8; P],
    stride: usize,
    next: [*const u8; P],
) -> [[__m512; P]; R] {
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    for dim in 0..D {
        // SAFETY: the caller's promise.
        unsafe {
            let keys: [__m512; P] =
                std::array::from_fn(|strip| widened::<WIDE>(keys[strip].add(dim * stride)));
            if !WIDE {
                for next in next {
                    prefetch(next.wrapping_add(dim * STRIP * size_of::<u16>()));
                }
            }
            for row in 0..R {
                let query = _mm512_set1_ps(*queries.get_unchecked(row * D + dim));
                for strip in 0..P {
                    sums[row][strip] = _mm512_fmadd_ps(query, keys[strip], sums[row][strip]);
                }
            }
        }
    }
    sums
}
