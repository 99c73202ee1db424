//! Matrix products with AVX2: a tile is two halves of eight rows. Codes are unsigned and small, those of Q8 in two digits of four
//! bits, so that sums of products of bytes fit into 16 bits for some chunks of columns.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_castsi256_ps, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi16,
    _mm256_slli_epi32, _mm256_srli_epi16, _mm256_storeu_ps,
};

use super::format::{Format, by_layout};
use super::{FloatTileKernel, PANEL, QuantBlock, QuantTileKernel};
use crate::matrix::{FloatLayout, QuantLayout, TILE};

const HALF: usize = TILE / 2;

pub fn quant_tile(layout: QuantLayout) -> QuantTileKernel {
    by_layout!(layout, product)
}

pub fn float_tile(layout: FloatLayout) -> FloatTileKernel {
    match layout {
        FloatLayout::F16 => float_product::<{ TILE * 2 }, false>,
        FloatLayout::Bf16 => float_product::<{ TILE * 2 }, true>,
        FloatLayout::F32 => float_product::<{ TILE * 4 }, false>,
    }
}

/// Half a block: eight rows, a register for each chunk of columns.
struct Unpacked {
    /// Of Q8 the lower digits.
    codes: [__m256i; 8],
    /// Of Q8 the upper digits; of others nothing.
    upper: [__m256i; 8],
    first: __m256,
    second: __m256,
}

#[target_feature(enable = "avx2,fma,f16c")]
fn product<F: Format>(tile: &[u8], panels: &[QuantBlock], out: &mut [[f32; TILE]]) {
    let panels = panels.chunks(tile.len() / F::BYTES * PANEL);
    for (out, panel) in out.chunks_mut(PANEL).zip(panels) {
        let inputs = panel.as_chunks::<PANEL>().0;
        for half in 0..2 {
            let mut sums = [_mm256_setzero_ps(); PANEL];
            let sums = &mut sums[..out.len()];
            for (data, inputs) in tile.chunks_exact(F::BYTES).zip(inputs) {
                let weights = unpack::<F>(data, half);
                for (input, sum) in inputs.iter().zip(&mut *sums) {
                    *sum = add_dot::<F>(&weights, input, *sum);
                }
            }
            store(sums, out, half);
        }
    }
}

/// As `scalar::add_dot`, for eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_dot<F: Format>(weights: &Unpacked, input: &QuantBlock, sum: __m256) -> __m256 {
    let codes = &weights.codes;
    let fours = input.quants.as_chunks::<4>().0;
    let scale = _mm256_set1_ps(input.scale);
    let scaled = |scales: __m256, dot: __m256i, sum: __m256| {
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scales, scale), sum)
    };
    // Codes of Q6 and Q8 carry 32 or 128 too much; what is added takes it away exactly.
    let less = |dot: __m256i, excess: i32| _mm256_add_epi32(dot, _mm256_set1_epi32(-excess));
    match F::LAYOUT {
        QuantLayout::Q6 => {
            let back_sum = input.integer_sum - input.first_sum;
            let front = less(dot::<2>(&codes[..4], &fours[..4]), 32 * input.first_sum);
            let back = less(dot::<2>(&codes[4..], &fours[4..]), 32 * back_sum);
            scaled(weights.second, back, scaled(weights.first, front, sum))
        }
        QuantLayout::Q8 => {
            let (lower, upper) = (dot::<8>(codes, fours), dot::<8>(&weights.upper, fours));
            let dot = _mm256_add_epi32(_mm256_slli_epi32::<4>(upper), lower);
            scaled(weights.first, less(dot, 128 * input.integer_sum), sum)
        }
        layout => {
            let dot = if matches!(layout, QuantLayout::Q4 | QuantLayout::Q4Wide) {
                dot::<8>(codes, fours)
            } else {
                dot::<4>(codes, fours)
            };
            let sum = scaled(weights.first, dot, sum);
            _mm256_fmadd_ps(weights.second, _mm256_set1_ps(input.sum), sum)
        }
    }
}

/// `codes[g]` holds chunk `g` of eight rows. Of `CHUNKS` chunks the sums of two products each fit into 16 bits: of eight with codes
/// of 4 bits (8 · 2 · 15 · 128), of four with 5 bits, of two with 6.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const CHUNKS: usize>(codes: &[__m256i], fours: &[[i8; 4]]) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let groups = codes.chunks_exact(CHUNKS).zip(fours.chunks_exact(CHUNKS));
    groups.fold(_mm256_setzero_si256(), |all, (codes, fours)| {
        let pairs = codes
            .iter()
            .zip(fours)
            .fold(_mm256_setzero_si256(), |pairs, (codes, four)| {
                let four = i32::from_le_bytes(four.map(|quant| quant as u8));
                let products = _mm256_maddubs_epi16(*codes, _mm256_set1_epi32(four));
                _mm256_add_epi16(pairs, products)
            });
        _mm256_add_epi32(all, _mm256_madd_epi16(pairs, ones))
    })
}

/// Codes and scales of half a block; see `matrix::layout`. @panics when `block` is shorter than one
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unpack<F: Format>(block: &[u8], half: usize) -> Unpacked {
    assert!(block.len() >= F::BYTES && half < 2);
    let at = block.as_ptr();
    // SAFETY: a block begins with two vectors of 16 f16 or f32 (Q8 one of f32).
    let (first, second) = unsafe {
        match F::LAYOUT {
            QuantLayout::Q4 | QuantLayout::Q5 => (
                half_floats(at.add(half * 16)),
                half_floats(at.add(32 + half * 16)),
            ),
            QuantLayout::Q8 => (
                _mm256_loadu_ps(at.add(half * 32).cast()),
                _mm256_setzero_ps(),
            ),
            _ => (
                _mm256_loadu_ps(at.add(half * 32).cast()),
                _mm256_loadu_ps(at.add(64 + half * 32).cast()),
            ),
        }
    };
    let mut codes = codes::<F>(&block[F::LAYOUT.scale_bytes()..], half);
    let mut upper = [_mm256_setzero_si256(); 8];
    if F::LAYOUT == QuantLayout::Q8 {
        let digit = _mm256_set1_epi8(15);
        upper = codes.map(|codes| _mm256_and_si256(_mm256_srli_epi16::<4>(codes), digit));
        codes = codes.map(|codes| _mm256_and_si256(codes, digit));
    }
    Unpacked {
        codes,
        upper,
        first,
        second,
    }
}

/// Codes of half a block: eight rows, a register for each chunk of columns. @panics when `lines` are fewer than a block has
#[inline]
#[target_feature(enable = "avx2")]
pub fn codes<F: Format>(lines: &[u8], half: usize) -> [__m256i; 8] {
    assert!(lines.len() >= F::LAYOUT.code_bytes() && half < 2);
    // SAFETY: there are 4 (Q5 5, Q6 6, Q8 8) lines of 64 bytes.
    let line = |index: usize| unsafe { load(lines.as_ptr().add(index * 64 + half * 32)) };
    if F::LAYOUT == QuantLayout::Q8 {
        return std::array::from_fn(line);
    }
    let low = _mm256_set1_epi8(15);
    let mut codes = [_mm256_setzero_si256(); 8];
    for chunk in 0..4 {
        let bytes = line(chunk);
        codes[chunk] = _mm256_and_si256(bytes, low);
        codes[chunk + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low);
    }
    match F::LAYOUT {
        QuantLayout::Q5 | QuantLayout::Q5Wide => {
            let bits = line(4);
            let moved = [
                _mm256_slli_epi16::<4>(bits),
                _mm256_slli_epi16::<3>(bits),
                _mm256_slli_epi16::<2>(bits),
                _mm256_slli_epi16::<1>(bits),
                bits,
                _mm256_srli_epi16::<1>(bits),
                _mm256_srli_epi16::<2>(bits),
                _mm256_srli_epi16::<3>(bits),
            ];
            add_bits(&mut codes, &moved, 0x10);
        }
        QuantLayout::Q6 => {
            for half in 0..2 {
                let bits = line(4 + half);
                let moved = [
                    _mm256_slli_epi16::<4>(bits),
                    _mm256_slli_epi16::<2>(bits),
                    bits,
                    _mm256_srli_epi16::<2>(bits),
                ];
                add_bits(&mut codes[half * 4..], &moved, 0x30);
            }
        }
        _ => {}
    }
    codes
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_bits(codes: &mut [__m256i], bits: &[__m256i], mask: i8) {
    for (code, bits) in codes.iter_mut().zip(bits) {
        *code = _mm256_or_si256(*code, _mm256_and_si256(*bits, _mm256_set1_epi8(mask)));
    }
}

/// BYTES of a column of 16 rows say whether they are f32; halves are f16 or bf16.
#[target_feature(enable = "avx2,fma,f16c")]
fn float_product<const BYTES: usize, const IS_BF16: bool>(
    tile: &[u8],
    tokens: &[&[f32]],
    out: &mut [[f32; TILE]],
) {
    for half in 0..2 {
        let mut sums = [_mm256_setzero_ps(); PANEL];
        for (index, column) in tile.as_chunks::<BYTES>().0.iter().enumerate() {
            // SAFETY: a column has 16 floats of BYTES / 16 bytes; a half has eight.
            let weights = unsafe {
                let at = column.as_ptr().add(half * BYTES / 2);
                if BYTES == TILE * 4 {
                    _mm256_loadu_ps(at.cast())
                } else if IS_BF16 {
                    let halves = _mm_loadu_si128(at.cast::<__m128i>());
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
                } else {
                    half_floats(at)
                }
            };
            for (values, sum) in tokens.iter().zip(&mut sums) {
                *sum = _mm256_fmadd_ps(weights, _mm256_set1_ps(values[index]), *sum);
            }
        }
        store(&sums[..tokens.len()], out, half);
    }
}

/// SAFETY: `at` points to 32 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(at: *const u8) -> __m256i {
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// SAFETY: `at` points to 16 readable bytes.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn half_floats(at: *const u8) -> __m256 {
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast::<__m128i>())) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(sums: &[__m256], out: &mut [[f32; TILE]], half: usize) {
    for (sum, out) in sums.iter().zip(out) {
        // SAFETY: each output has 16 floats; a half is eight.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(half * HALF), *sum) };
    }
}
