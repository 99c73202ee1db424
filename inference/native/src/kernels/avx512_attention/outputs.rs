//! Outputs: R rows × C vectors of dimensions in registers, position after position.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};
use std::ops::Range;

use super::super::head_task::HeadTask;
use super::{STRIP, Source, prefetch, rows_together, widened};

/// Adds what `positions`, which begin with a strip, weigh to the outputs of all rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
pub fn sum<const D: usize>(
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
                    strip_sums::<R, C, D, true>(values, weights, stride, count, sums, values)
                }
            }
            Source::Pool => {
                let start = task.value_start(first);
                let values = task.pool[start..start + STRIP * D].as_ptr();
                let weights = &weights[first..];
                // The keys of the next head, which this thread mostly attends in next.
                let next = task.key_start(first) + D * task.block_size;
                let next = task.pool.as_ptr().wrapping_add(next).cast();
                unsafe {
                    let values = values.add(column).cast();
                    strip_sums::<R, C, D, false>(values, weights, stride, count, sums, next)
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
/// at r · `stride` and has `count`. Unless WIDE, the strip at `next` is brought into the cache meanwhile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn strip_sums<const R: usize, const C: usize, const D: usize, const WIDE: bool>(
    values: *const u8,
    weights: &[f32],
    stride: usize,
    count: usize,
    mut sums: [[__m512; C]; R],
    next: *const u8,
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
            if !WIDE {
                for line in 0..D / 32 {
                    prefetch(next.wrapping_add((position * D / 32 + line) * 64));
                }
            }
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
