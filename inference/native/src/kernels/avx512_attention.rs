//! Attention for AVX-512, as `portable_attention`, operation for operation. Sums stay in registers: of 12 rows × 32
//! positions for scores, of 6 rows × 64 dimensions for outputs. Where many rows share keys and values, a span of them is
//! widened once, into the first-level cache; where few do, they are widened as they are read.

mod outputs;
mod scores;
mod weights;

use std::arch::x86_64::{
    __m256i, __m512, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_loadu_si256,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_set1_ps, _mm512_storeu_ps,
};
use std::mem::take;
use std::ops::Range;

use self::outputs::sum;
use self::scores::score;
use self::weights::weigh;
use super::head_task::{HeadTask, SPAN};
use super::{MAX_ROWS, portable, portable_attention};
use crate::kv_pool::KvFormat;

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
    // Only f16 is widened as it is read.
    let is_direct = num_rows <= FEW && task.format == KvFormat::F16;
    if is_direct {
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
    if is_direct {
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
    if task.format == KvFormat::Q8 {
        return dequant_keys::<D>(task, positions, span);
    }
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
    if task.format == KvFormat::Q8 {
        return dequant_values::<D>(task, positions, span);
    }
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

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn dequant_keys<const D: usize>(task: &HeadTask<'_>, positions: Range<usize>, span: &mut [f32]) {
    let strips = span.chunks_exact_mut(D * STRIP);
    for (first, span) in positions.step_by(STRIP).zip(strips) {
        let start = task.key_quants_start(first);
        let quants = &task.quants()[start..][..(D - 1) * task.block_size + STRIP];
        let scales = &task.pool[task.key_scale_at(first)..][..STRIP];
        // SAFETY: there are 16 scales; the last of D dimensions ends with `quants`; a chunk is 16 floats.
        unsafe {
            let scales = widened::<false>(scales.as_ptr().cast());
            for (dim, span) in span.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
                let quants = floats_of(quants.as_ptr().add(dim * task.block_size));
                _mm512_storeu_ps(span.as_mut_ptr(), _mm512_mul_ps(scales, quants));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn dequant_values<const D: usize>(task: &HeadTask<'_>, positions: Range<usize>, span: &mut [f32]) {
    // Whole strips: what is behind the last position weighs nothing.
    let strips = span.chunks_exact_mut(D * STRIP);
    for (first, span) in positions.step_by(STRIP).zip(strips) {
        let start = task.value_quants_start(first);
        let quants = &task.quants()[start..][..D * STRIP];
        let scales = &task.pool[task.value_scale_at(first)..][..STRIP];
        for (position, span) in span.chunks_exact_mut(D).enumerate() {
            let scale = _mm512_set1_ps(portable::f16_to_f32(scales[position]));
            let quants = &quants[position * D..][..D];
            for (quants, span) in quants
                .as_chunks::<STRIP>()
                .0
                .iter()
                .zip(span.as_chunks_mut::<STRIP>().0)
            {
                // SAFETY: chunks are 16 bytes and 16 floats.
                unsafe {
                    let values = _mm512_mul_ps(scale, floats_of(quants.as_ptr()));
                    _mm512_storeu_ps(span.as_mut_ptr(), values);
                }
            }
        }
    }
}

/// 16 bytes as floats.
///
/// # Safety
/// There are as many.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn floats_of(quants: *const i8) -> __m512 {
    // SAFETY: the caller's promise.
    let quants = unsafe { _mm_loadu_si128(quants.cast()) };
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(quants))
}

/// Asks for a line that will be read; an address that is none is passed over.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn prefetch(at: *const u8) {
    _mm_prefetch::<_MM_HINT_T0>(at.cast());
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
