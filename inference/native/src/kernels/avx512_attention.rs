//! Attention for AVX-512, as `portable_attention`, operation for operation. Sums stay in registers: of 12 rows × 32
//! positions for scores, of 6 rows × 64 dimensions for outputs. Where many rows share keys and values, a span of them is
//! widened once, into the first-level cache; where few do, they are widened as they are read.

use std::arch::x86_64::{
    __m256i, __m512, _mm256_loadu_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_max_ps,
    _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
};
use std::mem::take;
use std::ops::Range;

use super::head_task::{HeadTask, SPAN};
use super::portable_attention::{self, EXP2, LEAST_EXPONENT};
use super::{MAX_ROWS, portable};

/// Positions of a vector.
const STRIP: usize = 16;
/// Rows beyond which it pays to widen a span first.
const FEW: usize = 6;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
pub fn attend(task: &mut HeadTask<'_>) {
    // A strip must lie in one block.
    if !task.block_size.is_multiple_of(STRIP) {
        return portable_attention::attend(task, portable::widen);
    }
    match task.head_dim {
        32 => attend_heads::<32>(task),
        64 => attend_heads::<64>(task),
        96 => attend_heads::<96>(task),
        128 => attend_heads::<128>(task),
        256 => attend_heads::<256>(task),
        _ => portable_attention::attend(task, portable::widen),
    }
}

/// Heads of D values.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn attend_heads<const D: usize>(task: &mut HeadTask<'_>) {
    let (output, scores) = (take(&mut task.output), take(&mut task.scores));
    let scratch = take(&mut task.scratch);
    let num_rows = task.num_rows();
    assert!(
        task.head_dim == D
            && num_rows <= MAX_ROWS
            && output.len() >= num_rows * D
            && scores.len() >= num_rows * task.score_stride
    );
    let (queries, span) = scratch.split_at_mut(MAX_ROWS * D);
    for (row, query) in queries.chunks_exact_mut(D).enumerate().take(num_rows) {
        query.copy_from_slice(task.query(row));
    }
    let all = task.positions_of_all(0..num_rows);
    assert!(all.end.next_multiple_of(STRIP) <= task.score_stride);
    if num_rows <= FEW {
        score::<D>(task, all.clone(), queries, &Source::Pool, scores);
    } else {
        for first in all.clone().step_by(SPAN) {
            let positions = first..all.end.min(first + SPAN);
            widen_keys::<D>(task, positions.clone(), span);
            score::<D>(task, positions, queries, &Source::Span(span), scores);
        }
    }
    let mut inverses = [0.0; MAX_ROWS];
    for (row, inverse) in inverses.iter_mut().enumerate().take(num_rows) {
        let strips = all.start..all.end.next_multiple_of(STRIP);
        let scores = &mut scores[row * task.score_stride..][strips];
        *inverse = 1.0 / weigh(scores, all.start, task.positions_of(row));
    }
    output[..num_rows * D].fill(0.0);
    if num_rows <= FEW {
        sum::<D>(task, all, scores, &Source::Pool, output);
    } else {
        for first in all.clone().step_by(SPAN) {
            let positions = first..all.end.min(first + SPAN);
            widen_values::<D>(task, positions.clone(), span);
            sum::<D>(task, positions, scores, &Source::Span(span), output);
        }
    }
    let rows = output.chunks_exact_mut(D).zip(&inverses);
    for (row, inverse) in rows.take(num_rows) {
        for value in row {
            *value *= inverse;
        }
    }
    (task.output, task.scores, task.scratch) = (output, scores, scratch);
}

/// Where keys or values are read.
enum Source<'a> {
    /// In the pool, as f16.
    Pool,
    /// Widened: keys as [strip, dimension, 16 positions], values as [position, dimension], from a span's first strip on.
    Span(&'a [f32]),
}

/// How many of `left` rows go together, at most `most` of them.
fn rows_together(left: usize, most: usize) -> usize {
    match left {
        12.. if most == 12 => 12,
        4 | 7 | 8 => 4,
        6.. => 6,
        5 | 3 => 3,
        _ => left,
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn widen_keys<const D: usize>(task: &HeadTask<'_>, positions: Range<usize>, span: &mut [f32]) {
    let strips = span.chunks_exact_mut(D * STRIP);
    for (first, span) in positions.step_by(STRIP).zip(strips) {
        let keys = &task.pool[task.key_start(first)..][..(D - 1) * task.block_size + STRIP];
        for (dim, span) in span.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
            // SAFETY: the last of D dimensions ends with `keys`; a chunk is 16 floats.
            unsafe {
                let halves = keys.as_ptr().add(dim * task.block_size);
                _mm512_storeu_ps(span.as_mut_ptr(), widened::<false>(halves.cast()));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn widen_values<const D: usize>(task: &HeadTask<'_>, positions: Range<usize>, span: &mut [f32]) {
    let strips = span.chunks_exact_mut(D * STRIP);
    for (first, span) in positions.step_by(STRIP).zip(strips) {
        let values = &task.pool[task.value_start(first)..][..D * STRIP];
        for (values, span) in values
            .as_chunks::<STRIP>()
            .0
            .iter()
            .zip(span.as_chunks_mut::<STRIP>().0)
        {
            // SAFETY: chunks are 16 halves and 16 floats.
            unsafe {
                _mm512_storeu_ps(span.as_mut_ptr(), widened::<false>(values.as_ptr().cast()));
            }
        }
    }
}

/// Scores of all rows over `positions`, which begin with a strip.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn score<const D: usize>(
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
            unsafe { dots::<R, P, D, true>(queries, keys, STRIP * size_of::<f32>()) }
        }
        Source::Pool => {
            let len = (D - 1) * task.block_size + STRIP;
            let keys: [*const u8; P] = std::array::from_fn(|strip| {
                let start = task.key_start(first + strip * STRIP);
                task.pool[start..start + len].as_ptr().cast()
            });
            // SAFETY: the last of D dimensions ends `len` behind the first, and there are R · D queries.
            unsafe { dots::<R, P, D, false>(queries, keys, task.block_size * size_of::<u16>()) }
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
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn dots<const R: usize, const P: usize, const D: usize, const WIDE: bool>(
    queries: &[f32],
    keys: [*const u8; P],
    stride: usize,
) -> [[__m512; P]; R] {
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    for dim in 0..D {
        // SAFETY: the caller's promise.
        unsafe {
            let keys: [__m512; P] =
                std::array::from_fn(|strip| widened::<WIDE>(keys[strip].add(dim * stride)));
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

/// 16 floats, or what 16 halves are as floats.
///
/// # Safety
/// There are as many.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn widened<const WIDE: bool>(from: *const u8) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        if WIDE {
            _mm512_loadu_ps(from.cast())
        } else {
            _mm512_cvtph_ps(_mm256_loadu_si256(from.cast::<__m256i>()))
        }
    }
}

/// Makes a row's scores weights, in whole strips from position `start` on; returns their sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn weigh(scores: &mut [f32], start: usize, own: Range<usize>) -> f32 {
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
    // Several, as one would wait for itself.
    let mut largest = [_mm512_set1_ps(f32::NEG_INFINITY); 4];
    for (strip, scores) in strips.iter().enumerate() {
        let largest = &mut largest[strip % 4];
        // SAFETY: a strip is 16 floats. The operand order leaves NaNs out.
        let scores = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
        *largest = _mm512_mask_max_ps(*largest, mask(strip), scores, *largest);
    }
    let [one, two, three, four] = largest;
    let largest = _mm512_max_ps(_mm512_max_ps(one, two), _mm512_max_ps(three, four));
    let max = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let mut sums = _mm512_setzero_ps();
    for (strip, scores) in strips.iter_mut().enumerate() {
        // SAFETY: a strip is 16 floats.
        unsafe {
            let weights = exp2(_mm512_sub_ps(_mm512_loadu_ps(scores.as_ptr()), max));
            let weights = _mm512_maskz_mov_ps(mask(strip), weights);
            sums = _mm512_add_ps(sums, weights);
            _mm512_storeu_ps(scores.as_mut_ptr(), weights);
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

/// Adds what `positions`, which begin with a strip, weigh to the outputs of all rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn sum<const D: usize>(
    task: &HeadTask<'_>,
    positions: Range<usize>,
    weights: &[f32],
    source: &Source<'_>,
    output: &mut [f32],
) {
    let num_rows = task.num_rows();
    let mut row = 0;
    while row < num_rows {
        let count = rows_together(num_rows - row, 6);
        let all = task.positions_of_all(row..row + count);
        let own = all.start.max(positions.start)..all.end.min(positions.end);
        let weights = &weights[row * task.score_stride..];
        let output = &mut output[row * D..];
        let begin = positions.start;
        match count {
            6 => sum_rows::<6, D>(task, begin, own, weights, source, output),
            4 => sum_rows::<4, D>(task, begin, own, weights, source, output),
            3 => sum_rows::<3, D>(task, begin, own, weights, source, output),
            2 => sum_rows::<2, D>(task, begin, own, weights, source, output),
            _ => sum_rows::<1, D>(task, begin, own, weights, source, output),
        }
        row += count;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn sum_rows<const R: usize, const D: usize>(
    task: &HeadTask<'_>,
    begin: usize,
    own: Range<usize>,
    weights: &[f32],
    source: &Source<'_>,
    output: &mut [f32],
) {
    let mut column = 0;
    while column + 64 <= D {
        sum_columns::<R, 4, D>(task, begin, own.clone(), weights, source, column, output);
        column += 64;
    }
    while column < D {
        sum_columns::<R, 2, D>(task, begin, own.clone(), weights, source, column, output);
        column += 32;
    }
}

/// Adds to C · 16 outputs of R rows from `column` on.
#[inline]
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn sum_columns<const R: usize, const C: usize, const D: usize>(
    task: &HeadTask<'_>,
    begin: usize,
    own: Range<usize>,
    weights: &[f32],
    source: &Source<'_>,
    column: usize,
    output: &mut [f32],
) {
    if own.is_empty() {
        return;
    }
    let stride = task.score_stride;
    let weights = &weights[..(R - 1) * stride + own.end];
    let output = &mut output[..R * D];
    let mut sums: [[__m512; C]; R] = std::array::from_fn(|row| {
        let output = &output[row * D + column..][..C * STRIP];
        // SAFETY: there are C · 16 floats.
        std::array::from_fn(|index| unsafe { _mm512_loadu_ps(output.as_ptr().add(index * STRIP)) })
    });
    let mut first = own.start;
    while first < own.end {
        let count = STRIP.min(own.end - first);
        // SAFETY, of both: a strip has D values for each of its positions, and each row a weight for each of them.
        sums = match source {
            Source::Span(span) => {
                let values = span[(first - begin) * D..][..STRIP * D].as_ptr();
                let weights = &weights[first..];
                unsafe {
                    let values = values.add(column).cast();
                    strip_sums::<R, C, D, true>(values, weights, stride, count, sums)
                }
            }
            Source::Pool => {
                let start = task.value_start(first);
                let values = task.pool[start..start + STRIP * D].as_ptr();
                let weights = &weights[first..];
                unsafe {
                    let values = values.add(column).cast();
                    strip_sums::<R, C, D, false>(values, weights, stride, count, sums)
                }
            }
        };
        first += STRIP;
    }
    for (row, sums) in sums.iter().enumerate() {
        let output = &mut output[row * D + column..][..C * STRIP];
        for (output, sum) in output.as_chunks_mut::<STRIP>().0.iter_mut().zip(sums) {
            // SAFETY: a chunk is 16 floats.
            unsafe { _mm512_storeu_ps(output.as_mut_ptr(), *sum) };
        }
    }
}

/// `sums` and what `count` positions add to them.
///
/// # Safety
/// `values` points to C · 16 floats, or halves if not WIDE, of each position, D of them apart; row r of the weights begins
/// at r · `stride` and has `count`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn strip_sums<const R: usize, const C: usize, const D: usize, const WIDE: bool>(
    values: *const u8,
    weights: &[f32],
    stride: usize,
    count: usize,
    mut sums: [[__m512; C]; R],
) -> [[__m512; C]; R] {
    let size = if WIDE {
        size_of::<f32>()
    } else {
        size_of::<u16>()
    };
    for position in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            let values: [__m512; C] = std::array::from_fn(|index| {
                widened::<WIDE>(values.add((position * D + index * STRIP) * size))
            });
            for row in 0..R {
                let weight = _mm512_set1_ps(*weights.get_unchecked(row * stride + position));
                for index in 0..C {
                    sums[row][index] = _mm512_fmadd_ps(weight, values[index], sums[row][index]);
                }
            }
        }
    }
    sums
}
