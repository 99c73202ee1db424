//! Attention for AVX-512, as `portable::attend`, operation for operation: keys and values are widened once for all rows of
//! a task, 16 positions at a time, and 16 sums over lanes are made together.

use std::arch::x86_64::{
    __m256i, __m512, _mm256_loadu_si256, _mm512_add_ps, _mm512_cvtph_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4,
    _mm512_shuffle_ps, _mm512_storeu_ps,
};

use super::{HeadTask, MAX_ROWS, portable};

/// Positions whose keys are widened at a time: as many as a vector has lanes.
const STRIP: usize = 16;
/// Rows that pass over the values together: their outputs fill the registers.
const GROUP: usize = 24;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
pub fn attend(task: &mut HeadTask<'_>) {
    match task.head_dim {
        // A strip must lie in one block.
        _ if !task.block_size.is_multiple_of(STRIP) => portable::attend(task),
        // All that is done in registers begins at position 0.
        _ if task.window.is_some() => portable::attend(task),
        64 => attend_in_registers::<4, { GROUP / 4 }>(task),
        128 => attend_in_registers::<8, { GROUP / 8 }>(task),
        _ => portable::attend(task),
    }
}

/// Heads of C · 16 values; R rows share a pass over the values.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn attend_in_registers<const C: usize, const R: usize>(task: &mut HeadTask<'_>) {
    score::<C>(task);
    for row in 0..task.positions.len() * task.group {
        let num_positions = num_positions(task, row);
        let scores = &mut task.scores[row * task.score_stride..][..num_positions];
        portable::softmax(scores);
    }
    let num_rows = task.positions.len() * task.group;
    for first in (0..num_rows).step_by(R) {
        if first + R <= num_rows {
            weigh::<C, R>(task, first);
        } else {
            for row in first..num_rows {
                weigh::<C, 1>(task, row);
            }
        }
    }
}

fn num_positions(task: &HeadTask<'_>, row: usize) -> usize {
    task.positions[row / task.group] as usize + 1
}

/// Scores of every row over all positions of the latest token; a row's own end is where its softmax stops.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn score<const C: usize>(task: &mut HeadTask<'_>) {
    let scale = _mm512_set1_ps(1.0 / (task.head_dim as f32).sqrt());
    let num_rows = (task.positions.len() * task.group).min(MAX_ROWS);
    let latest = task.positions.iter().max().map_or(0, |last| *last as usize);
    for first in (0..=latest).step_by(STRIP) {
        // The last strip may go beyond the latest position; what is scored there is not read.
        let strip = strip::<C>(task, task.keys, first);
        // SAFETY: a strip has an entry for each index.
        let keys: [[__m512; C]; STRIP] =
            std::array::from_fn(|index| unsafe { widen::<C>(strip, index * task.kv_stride) });
        for row in 0..num_rows {
            let query = &task.queries[portable::query_start(task, row)..][..C * 16];
            let mut lanes = [_mm512_setzero_ps(); STRIP];
            for (chunk, query) in query.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: a chunk is 16 floats.
                let query = unsafe { _mm512_loadu_ps(query.as_ptr()) };
                for (lanes, key) in lanes.iter_mut().zip(&keys) {
                    *lanes = _mm512_fmadd_ps(query, key[chunk], *lanes);
                }
            }
            let scores = &mut task.scores[row * task.score_stride + first..][..STRIP];
            // SAFETY: a strip is 16 floats.
            unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), _mm512_mul_ps(reduce(&lanes), scale)) };
        }
    }
}

/// Outputs of R rows from `first` on: together as far as all of them go, then each for itself.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn weigh<const C: usize, const R: usize>(task: &mut HeadTask<'_>, first: usize) {
    let shared = (first..first + R)
        .map(|row| num_positions(task, row))
        .min()
        .unwrap_or(0);
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    let stride = task.score_stride;
    let scores = &task.scores[first * stride..(first + R) * stride];
    for begin in (0..shared).step_by(STRIP) {
        let strip = strip::<C>(task, task.values, begin);
        for position in begin..shared.min(begin + STRIP) {
            // SAFETY: a strip has an entry for each of its positions, and a row of scores one for each of its own.
            unsafe {
                let value = widen::<C>(strip, (position - begin) * task.kv_stride);
                for row in 0..R {
                    let weight = _mm512_set1_ps(*scores.get_unchecked(row * stride + position));
                    for chunk in 0..C {
                        sums[row][chunk] = _mm512_fmadd_ps(weight, value[chunk], sums[row][chunk]);
                    }
                }
            }
        }
    }
    for (row, sums) in sums.iter_mut().enumerate() {
        for position in shared..num_positions(task, first + row) {
            let strip = strip::<C>(task, task.values, position / STRIP * STRIP);
            // SAFETY: a strip has an entry for each of its positions.
            let value = unsafe { widen::<C>(strip, position % STRIP * task.kv_stride) };
            let weight = _mm512_set1_ps(scores[row * stride + position]);
            for (sum, value) in sums.iter_mut().zip(&value) {
                *sum = _mm512_fmadd_ps(weight, *value, *sum);
            }
        }
    }
    let outputs = task.output[first * C * 16..].as_chunks_mut::<16>().0;
    for (out, sum) in outputs.iter_mut().zip(sums.as_flattened()) {
        // SAFETY: a chunk is 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
}

/// The keys or values of 16 positions from `first` on, `kv_stride` apart.
#[inline]
fn strip<'a, const C: usize>(task: &HeadTask<'_>, pool: &'a [u16], first: usize) -> &'a [u16] {
    let start = portable::entry(task, first);
    &pool[start..start + (STRIP - 1) * task.kv_stride + C * 16]
}

/// C · 16 f16 values from `at` on, as floats.
///
/// # Safety
/// There are as many.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
unsafe fn widen<const C: usize>(values: &[u16], at: usize) -> [__m512; C] {
    debug_assert!(at + C * 16 <= values.len());
    // SAFETY: the caller's promise; a chunk is 32 bytes.
    std::array::from_fn(|chunk| unsafe {
        let from = values.as_ptr().add(at + chunk * 16);
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast::<__m256i>()))
    })
}

/// Lane i of the result is the sum of `vectors[i]`, halves first, in the order of `portable::reduce`. Each level halves
/// two vectors at once; which vectors meet is chosen so that the results come out in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn reduce(vectors: &[__m512; STRIP]) -> __m512 {
    let quarters: [__m512; 4] = std::array::from_fn(|index| {
        let front = eighths(vectors[index], vectors[index + 4]);
        let back = eighths(vectors[index + 8], vectors[index + 12]);
        _mm512_add_ps(
            _mm512_shuffle_f32x4::<0b10_00_10_00>(front, back),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(front, back),
        )
    });
    let front = pairs(quarters[0], quarters[1]);
    let back = pairs(quarters[2], quarters[3]);
    _mm512_add_ps(
        _mm512_shuffle_ps::<0b10_00_10_00>(front, back),
        _mm512_shuffle_ps::<0b11_01_11_01>(front, back),
    )
}

/// Eight sums of `one` (lane l + lane l + 8), then eight of `other`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn eighths(one: __m512, other: __m512) -> __m512 {
    _mm512_add_ps(
        _mm512_shuffle_f32x4::<0b01_00_01_00>(one, other),
        _mm512_shuffle_f32x4::<0b11_10_11_10>(one, other),
    )
}

/// Within each 128 bits: two sums of `one` (lane l + lane l + 2), then two of `other`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn pairs(one: __m512, other: __m512) -> __m512 {
    _mm512_add_ps(
        _mm512_shuffle_ps::<0b01_00_01_00>(one, other),
        _mm512_shuffle_ps::<0b11_10_11_10>(one, other),
    )
}
