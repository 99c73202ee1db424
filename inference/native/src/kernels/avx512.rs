//! AVX-512 with VNNI: one 512-bit lane is one row of a tile, `vpdpbusd` takes four columns at a time.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _mm256_loadu_si256, _mm512_add_epi32, _mm512_and_si512,
    _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::{Column, HeadTask, Kernels, MAX_PASS, TileOutput, portable};
use crate::matrix::{BLOCK, Q4_BYTES, Q8_BYTES, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "avx512vnni",
    q4_tile,
    q8_tile,
    f32_tile,
    quantize,
    rms_norm,
    silu_mul,
    attend,
    exp_scaled,
};

pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Calls `$inner::<N>` for the number of columns.
macro_rules! by_width {
    ($inner:ident, $tile:expr, $columns:expr, $out:expr) => {
        match $columns.len() {
            1 => $inner::<1>($tile, first($columns), $out),
            2 => $inner::<2>($tile, first($columns), $out),
            3 => $inner::<3>($tile, first($columns), $out),
            4 => $inner::<4>($tile, first($columns), $out),
            5 => $inner::<5>($tile, first($columns), $out),
            6 => $inner::<6>($tile, first($columns), $out),
            7 => $inner::<7>($tile, first($columns), $out),
            _ => $inner::<MAX_PASS>($tile, first($columns), $out),
        }
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q4_tile(tile: &[u8], columns: &[Column<'_>], out: &mut TileOutput) {
    by_width!(q4_columns, tile, columns, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q8_tile(tile: &[u8], columns: &[Column<'_>], out: &mut TileOutput) {
    by_width!(q8_columns, tile, columns, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn f32_tile(tile: &[u8], columns: &[Column<'_>], out: &mut TileOutput) {
    by_width!(f32_columns, tile, columns, out);
}

/// The columns as an array, so that loops over them unroll and sums stay in registers.
#[inline(always)]
fn first<'a, 'b, const N: usize>(columns: &'a [Column<'b>]) -> &'a [Column<'b>; N] {
    columns
        .first_chunk()
        .expect("as many columns as the width that was matched")
}

/// Weights are unpacked once and meet N columns. Two integer accumulators a column hide the latency of the dot.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q4_columns<const N: usize>(tile: &[u8], columns: &[Column<'_>; N], out: &mut TileOutput) {
    let low = _mm512_set1_epi8(15);
    let mut sums = [_mm512_setzero_ps(); N];
    for (block, data) in tile.as_chunks::<Q4_BYTES>().0.iter().enumerate() {
        // SAFETY: `data` has 320 bytes: 32 + 32 of scales and minima, then four chunks of 64.
        let (scale, minimum, packed) = unsafe {
            let at = data.as_ptr();
            let packed: [__m512i; 4] = [
                load(at.add(64)),
                load(at.add(128)),
                load(at.add(192)),
                load(at.add(256)),
            ];
            (half_floats(at), half_floats(at.add(32)), packed)
        };
        let mut weights = [_mm512_setzero_si512(); 8];
        for (chunk, bytes) in packed.into_iter().enumerate() {
            weights[chunk] = _mm512_and_si512(bytes, low);
            weights[chunk + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low);
        }
        for index in 0..N {
            let (column, sum) = (&columns[index], &mut sums[index]);
            let dot =
                _mm512_cvtepi32_ps(dot_block(&weights, column, block, _mm512_setzero_si512()));
            *sum = _mm512_fmadd_ps(
                dot,
                _mm512_mul_ps(scale, _mm512_set1_ps(column.scales[block])),
                *sum,
            );
            *sum = _mm512_fmadd_ps(minimum, _mm512_set1_ps(column.sums[block]), *sum);
        }
    }
    store(&sums, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn q8_columns<const N: usize>(tile: &[u8], columns: &[Column<'_>; N], out: &mut TileOutput) {
    let mut sums = [_mm512_setzero_ps(); N];
    for (block, data) in tile.as_chunks::<Q8_BYTES>().0.iter().enumerate() {
        let mut weights = [_mm512_setzero_si512(); 8];
        // SAFETY: `data` has 576 bytes: 64 of scales, then eight chunks of 64.
        let scale = unsafe {
            for (chunk, weight) in weights.iter_mut().enumerate() {
                *weight = load(data.as_ptr().add(64 + chunk * 64));
            }
            _mm512_loadu_ps(data.as_ptr().cast())
        };
        for index in 0..N {
            let (column, sum) = (&columns[index], &mut sums[index]);
            // Weights carry 128 too much; starting at −128 · sum takes it away exactly.
            let start = _mm512_set1_epi32(-128 * column.integer_sums[block]);
            let dot = _mm512_cvtepi32_ps(dot_block(&weights, column, block, start));
            *sum = _mm512_fmadd_ps(
                dot,
                _mm512_mul_ps(scale, _mm512_set1_ps(column.scales[block])),
                *sum,
            );
        }
    }
    store(&sums, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn f32_columns<const N: usize>(tile: &[u8], columns: &[Column<'_>; N], out: &mut TileOutput) {
    let mut sums = [_mm512_setzero_ps(); N];
    for (index, weights) in tile.as_chunks::<{ TILE * 4 }>().0.iter().enumerate() {
        // SAFETY: `weights` has 64 bytes.
        let weights = unsafe { _mm512_loadu_ps(weights.as_ptr().cast()) };
        for (column, sum) in columns.iter().zip(&mut sums) {
            *sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(column.values[index]), *sum);
        }
    }
    store(&sums, out);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")]
fn dot_block(weights: &[__m512i; 8], column: &Column<'_>, block: usize, start: __m512i) -> __m512i {
    let quants = &column.quants[block * BLOCK..(block + 1) * BLOCK];
    let (mut even, mut odd) = (start, _mm512_setzero_si512());
    for (pair, eight) in quants.as_chunks::<8>().0.iter().enumerate() {
        even = _mm512_dpbusd_epi32(even, weights[pair * 2], broadcast(*eight, 0));
        odd = _mm512_dpbusd_epi32(odd, weights[pair * 2 + 1], broadcast(*eight, 4));
    }
    _mm512_add_epi32(even, odd)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(eight: [i8; 8], at: usize) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes([
        eight[at] as u8,
        eight[at + 1] as u8,
        eight[at + 2] as u8,
        eight[at + 3] as u8,
    ]))
}

/// SAFETY: `at` points to 64 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(at: *const u8) -> __m512i {
    unsafe { _mm512_loadu_si512(at.cast()) }
}

/// SAFETY: `at` points to 32 readable bytes.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
unsafe fn half_floats(at: *const u8) -> __m512 {
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast::<__m256i>())) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const N: usize>(sums: &[__m512; N], out: &mut TileOutput) {
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each output has 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
fn quantize(
    values: &[f32],
    quants: &mut [i8],
    scales: &mut [f32],
    sums: &mut [f32],
    integer_sums: &mut [i32],
) {
    portable::quantize(values, quants, scales, sums, integer_sums);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    portable::rms_norm(input, weight, epsilon, output);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
fn silu_mul(gate: &mut [f32; TILE], up: &[f32; TILE]) {
    portable::silu_mul(gate, up);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn attend(task: &mut HeadTask<'_>) {
    match (task.group, task.head_dim) {
        (1, 64) => attend_in_registers::<1, 4>(task),
        (2, 64) => attend_in_registers::<2, 4>(task),
        (3, 64) => attend_in_registers::<3, 4>(task),
        (4, 64) => attend_in_registers::<4, 4>(task),
        (1, 128) => attend_in_registers::<1, 8>(task),
        (2, 128) => attend_in_registers::<2, 8>(task),
        _ => portable::attend(task),
    }
}

/// As `portable::attend`, operation for operation, for G query heads of C · 16 values: each key and value is widened once
/// for the whole group, and the outputs stay in registers over all positions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn attend_in_registers<const G: usize, const C: usize>(task: &mut HeadTask<'_>) {
    let num_positions = task.num_positions;
    let scale = 1.0 / (task.head_dim as f32).sqrt();
    let mut queries = [[_mm512_setzero_ps(); C]; G];
    for (query, values) in queries.iter_mut().zip(task.queries.chunks_exact(C * 16)) {
        for (chunk, values) in query.iter_mut().zip(values.as_chunks::<16>().0) {
            // SAFETY: a chunk is 16 floats.
            *chunk = unsafe { _mm512_loadu_ps(values.as_ptr()) };
        }
    }
    let mut largest = [f32::NEG_INFINITY; G];
    for position in 0..num_positions {
        let key = widen::<C>(task.keys, portable::entry(task, position));
        for query in 0..G {
            let mut lanes = _mm512_setzero_ps();
            for chunk in 0..C {
                lanes = _mm512_fmadd_ps(queries[query][chunk], key[chunk], lanes);
            }
            let score = _mm512_reduce_add_ps(lanes) * scale;
            task.scores[query * num_positions + position] = score;
            largest[query] = largest[query].max(score);
        }
    }
    portable::softmax(
        &mut task.scores[..G * num_positions],
        num_positions,
        &largest,
    );
    let mut sums = [[_mm512_setzero_ps(); C]; G];
    for position in 0..num_positions {
        let value = widen::<C>(task.values, portable::entry(task, position));
        for query in 0..G {
            let weight = _mm512_set1_ps(task.scores[query * num_positions + position]);
            for chunk in 0..C {
                sums[query][chunk] = _mm512_fmadd_ps(weight, value[chunk], sums[query][chunk]);
            }
        }
    }
    for (out, sums) in task.output.chunks_exact_mut(C * 16).zip(&sums) {
        for (out, sum) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            // SAFETY: a chunk is 16 floats.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
        }
    }
}

/// C · 16 f16 values from `at` on, as floats.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn widen<const C: usize>(values: &[u16], at: usize) -> [__m512; C] {
    let mut wide = [_mm512_setzero_ps(); C];
    for (chunk, values) in wide
        .iter_mut()
        .zip(values[at..at + C * 16].as_chunks::<16>().0)
    {
        // SAFETY: a chunk is 32 bytes.
        *chunk = unsafe { half_floats(values.as_ptr().cast()) };
    }
    wide
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
fn exp_scaled(values: &mut [f32], max: f32, scale: f32) -> f32 {
    portable::exp_scaled(values, max, scale)
}
