//! Softmax attention as loops that a compiler vectorises. It says in which order floats are added, so that a row's result
//! depends on nothing but its own query, keys and values:
//!
//! - a score is summed dimension after dimension; lanes are positions, so no sum goes across lanes;
//! - a weight is 2^(score − largest score), and weights are summed in 16 lanes, position `p` in lane `p` mod 16;
//! - an output is summed position after position, and multiplied with the inverse of the weights' sum in the end.
//!
//! A position that a row does not attend to has weight zero, which changes no bit of what is summed: rows of different
//! positions can go together.

use std::mem::take;
use std::ops::Range;

use super::MAX_ROWS;
use super::head_task::HeadTask;
use super::kv_quants::{dequant_keys, dequant_values};
use super::portable::{LANES, ROUND, f16_to_f32, largest, reduce};
use crate::kv_pool::KvFormat;

/// Rows that share a pass over keys or values.
const ROWS: usize = 4;

type Lanes = [f32; LANES];

/// `widen` makes floats of f16 bits. Loops, not closures: those would not be compiled for the caller's instruction set.
#[inline(always)]
pub fn attend(task: &mut HeadTask<'_>, widen: impl Fn(&[u16; LANES]) -> Lanes + Copy) {
    let (output, scores) = (take(&mut task.output), take(&mut task.scores));
    let scratch = take(&mut task.scratch);
    let (num_rows, all) = (task.num_rows(), task.positions_of_all(0..task.num_rows()));
    let keys = &mut scratch.as_chunks_mut::<LANES>().0[..task.head_dim];
    for first in all.clone().step_by(LANES) {
        widen_keys(task, first..all.end, keys, widen);
        let mut row = 0;
        while row < num_rows {
            let scores = &mut scores[row * task.score_stride + first..];
            if row + ROWS <= num_rows {
                score::<ROWS>(task, keys, row, scores);
                row += ROWS;
            } else {
                score::<1>(task, keys, row, scores);
                row += 1;
            }
        }
    }
    let mut inverses = [0.0; MAX_ROWS];
    for (row, inverse) in inverses.iter_mut().enumerate().take(num_rows) {
        let strips = all.start..all.end.next_multiple_of(LANES);
        let scores = &mut scores[row * task.score_stride..][strips];
        *inverse = 1.0 / weigh(scores, all.start, task.positions_of(row));
    }
    let mut row = 0;
    while row < num_rows {
        let output = &mut output[row * task.head_dim..];
        let weights = &scores[row * task.score_stride..];
        if row + ROWS <= num_rows {
            sum::<ROWS>(task, all.clone(), weights, output, widen);
            row += ROWS;
        } else {
            sum::<1>(task, all.clone(), weights, output, widen);
            row += 1;
        }
    }
    let rows = output.chunks_exact_mut(task.head_dim).zip(&inverses);
    for (row, inverse) in rows.take(num_rows) {
        for value in row {
            *value *= inverse;
        }
    }
    (task.output, task.scores, task.scratch) = (output, scores, scratch);
}

/// Keys of the strip that begins with `positions`: [dimension][position]. What is beyond them is anything.
#[inline(always)]
fn widen_keys(
    task: &HeadTask<'_>,
    positions: Range<usize>,
    keys: &mut [Lanes],
    widen: impl Fn(&[u16; LANES]) -> Lanes,
) {
    if task.format == KvFormat::Q8 {
        return dequant_keys(task, positions, keys);
    }
    if task.block_size.is_multiple_of(LANES) {
        let start = task.key_start(positions.start);
        for (dim, keys) in keys.iter_mut().enumerate() {
            if let Some(halves) = task.pool[start + dim * task.block_size..].first_chunk() {
                *keys = widen(halves);
            }
        }
        return;
    }
    for lane in 0..LANES {
        let start = task.key_start((positions.start + lane).min(positions.end - 1));
        for (dim, keys) in keys.iter_mut().enumerate() {
            keys[lane] = f16_to_f32(task.pool[start + dim * task.block_size]);
        }
    }
}

/// Scores of R rows from `row` on for one strip; `scores` begins at the strip of the first.
#[inline(always)]
fn score<const R: usize>(task: &HeadTask<'_>, keys: &[Lanes], row: usize, scores: &mut [f32]) {
    let queries: [&[f32]; R] = std::array::from_fn(|index| task.query(row + index));
    let mut sums = [[0.0_f32; LANES]; R];
    for (dim, keys) in keys.iter().enumerate() {
        for row in 0..R {
            let query = queries[row][dim];
            for lane in 0..LANES {
                sums[row][lane] = query.mul_add(keys[lane], sums[row][lane]);
            }
        }
    }
    for (index, sums) in sums.iter().enumerate() {
        scores[index * task.score_stride..][..LANES].copy_from_slice(sums);
    }
}

/// Makes a row's scores weights, in whole strips from position `start` on; returns their sum.
#[inline(always)]
fn weigh(scores: &mut [f32], start: usize, own: Range<usize>) -> f32 {
    let (first, end) = (own.start - start, own.end - start);
    let max = largest(&scores[first..end]);
    let mut sums = [0.0_f32; LANES];
    for (strip, scores) in scores.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        for lane in 0..LANES {
            let position = strip * LANES + lane;
            let weight = exp2(scores[lane] - max);
            let is_own = position >= first && position < end;
            scores[lane] = if is_own { weight } else { 0.0 };
            sums[lane] += scores[lane];
        }
    }
    reduce(&sums)
}

/// Outputs of R rows, not divided by the weights' sum yet; `weights` and `output` begin at the first of them.
#[inline(always)]
fn sum<const R: usize>(
    task: &HeadTask<'_>,
    positions: Range<usize>,
    weights: &[f32],
    output: &mut [f32],
    widen: impl Fn(&[u16; LANES]) -> Lanes,
) {
    let block_size = task.block_size;
    for column in (0..task.head_dim).step_by(LANES) {
        let mut sums = [[0.0_f32; LANES]; R];
        let mut begin = positions.start;
        while begin < positions.end {
            let end = positions.end.min((begin / block_size + 1) * block_size);
            let start = task.value_start(begin) + column; // Of F16.
            for position in begin..end {
                let values = if task.format == KvFormat::Q8 {
                    dequant_values(task, position, column)
                } else {
                    let at = start + (position - begin) * task.head_dim;
                    let Some(halves) = task.pool[at..].first_chunk() else {
                        return;
                    };
                    widen(halves)
                };
                for row in 0..R {
                    let weight = weights[row * task.score_stride + position];
                    for lane in 0..LANES {
                        sums[row][lane] = weight.mul_add(values[lane], sums[row][lane]);
                    }
                }
            }
            begin = end;
        }
        for (row, sums) in sums.iter().enumerate() {
            output[row * task.head_dim + column..][..LANES].copy_from_slice(sums);
        }
    }
}

/// (2^r − 1) / r for |r| ≤ ½: the polynomial of degree 5 whose largest relative error of 2^r is least, from the highest
/// coefficient down.
pub const EXP2: [f32; 6] = [
    1.535_336_2e-4,
    1.339_887_4e-3,
    9.618_437e-3,
    5.550_332_5e-2,
    2.402_264_8e-1,
    6.931_472e-1,
];

/// Below this a power of two stays the same: its own would no longer be a normal number.
pub const LEAST_EXPONENT: f32 = -125.0;

/// 2^x for x ≤ 0 within 2 units in the last place. A NaN stays one.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let x = if x < LEAST_EXPONENT {
        LEAST_EXPONENT
    } else {
        x
    };
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let mut p = EXP2[0];
    for coefficient in &EXP2[1..] {
        p = p.mul_add(r, *coefficient);
    }
    let p = p.mul_add(r, 1.0);
    // The integer is in the lower bits of `rounded`; all above the exponent's eight is shifted out.
    f32::from_bits(p.to_bits().wrapping_add(rounded.to_bits() << 23))
}
