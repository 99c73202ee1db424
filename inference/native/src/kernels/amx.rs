//! Products with AMX: `tdpbf16ps` multiplies 16 tokens with 16 rows of 32 columns. Everything but products is AVX-512's.
//! Codes become bf16 in registers, two columns of 16 rows in each, and reach the tile registers through the first-level cache.
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid, __cpuid_count, __m256bh, __m256i, __m512, __m512i, _MM_HINT_T0, _MM_HINT_T1,
    _mm_prefetch, _mm_set_epi8, _mm256_loadu_si256, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cvtneps_pbh, _mm512_cvtph_ps, _mm512_fmadd_ps,
    _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_or_si512,
    _mm512_rolv_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_store_si512,
};
use std::mem::{MaybeUninit, transmute};
use std::sync::LazyLock;

use super::bf16::{Bf16Kernels, TOKENS, TileBlock, UNBIASED};
use super::format::{Format, by_layout};
use super::{Kernels, avx512};
use crate::matrix::{BLOCK, QuantLayout, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "amx",
    bf16: Some(Bf16Kernels {
        narrow,
        expand: |layout| by_layout!(layout, expand),
        multiply,
        multiply_few: |layout| by_layout!(layout, multiply_few),
        begin,
        end,
    }),
    ..avx512::KERNELS
};

/// Asks the system once for the tile registers, which a process may not use unasked.
pub fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        avx512::is_available()
            && is_x86_feature_detected!("avx512bf16")
            && has_tiles()
            && is_permitted()
    });
    *AVAILABLE
}

fn has_tiles() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let wanted = AMX_TILE | AMX_BF16;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & wanted == wanted
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, for all threads of the process. Systems without it say no.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call reads and writes no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// What `ldtilecfg` reads: bytes of a row and rows of each tile register.
#[repr(C, align(64))]
struct TileShapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Registers 0–3: sums [token, row]. 4: weights. 5–7: tokens.
fn begin(num_tokens: usize) {
    let tokens = num_tokens.clamp(1, TOKENS) as u8;
    let mut shapes = TileShapes {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    for register in 0..8 {
        shapes.row_bytes[register] = 64;
        shapes.rows[register] = if register == 4 { 16 } else { tokens };
    }
    // SAFETY: `is_available` saw the instructions and got the permission; the shapes are within palette 1's limits.
    unsafe { asm!("ldtilecfg [{0}]", in(reg) &raw const shapes, options(nostack, readonly)) };
}

/// Gives the registers back, so that the system need not save them when the thread sleeps.
fn end() {
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn narrow(values: &[f32; BLOCK], out: &mut [u16; BLOCK]) {
    for (values, out) in values
        .as_chunks::<TILE>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<TILE>().0)
    {
        // SAFETY: 16 floats are read; 256 bits are 16 numbers of 16 bits.
        *out = unsafe {
            transmute::<__m256bh, [u16; TILE]>(_mm512_cvtneps_pbh(_mm512_loadu_ps(values.as_ptr())))
        };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn expand<F: Format>(tile: &[u8], out: &mut [TileBlock]) {
    for (block, out) in tile.chunks_exact(F::BYTES).zip(out) {
        // SAFETY: a block of this layout; the instruction set is enabled here.
        unsafe { expand_block::<F>(block.as_ptr(), out) };
    }
}

/// @panics when there are not as many token blocks as one to four times the weights', or fewer outputs than their tokens
#[target_feature(enable = "avx512f")]
fn multiply(weights: &[TileBlock], tokens: &[TileBlock], out: &mut [[f32; TILE]]) {
    let num_blocks = weights.len();
    let num_registers = tokens.len() / num_blocks;
    assert!(tokens.len() == num_blocks * num_registers && out.len() >= num_registers * TOKENS);
    // SAFETY: `begin` was called with 16 tokens; blocks of all registers are there, and room for all sums.
    unsafe {
        match num_registers {
            1 => sum_of_registers::<1>(weights, tokens, out),
            2 => sum_of_registers::<2>(weights, tokens, out),
            3 => sum_of_registers::<3>(weights, tokens, out),
            4 => sum_of_registers::<4>(weights, tokens, out),
            _ => unreachable!("one to four registers of tokens"),
        }
    }
}

/// Sums stay in registers 0 … N − 1 from block to block; the compiler itself uses no tile registers. A block of weights is
/// fetched once for all tokens.
///
/// # Safety
/// The registers have 16 rows; `tokens` has N times as many blocks as `weights`, `out` 16 rows for each of the N.
#[inline(always)]
unsafe fn sum_of_registers<const N: usize>(
    weights: &[TileBlock],
    tokens: &[TileBlock],
    out: &mut [[f32; TILE]],
) {
    let num_blocks = weights.len();
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem)
        );
        for (block, weights) in weights.iter().enumerate() {
            let at = |register: usize| tokens.as_ptr().add(register * num_blocks + block);
            asm!("tileloadd tmm4, [{0} + {1}]", in(reg) weights, in(reg) 64_usize, options(nostack, readonly));
            asm!(
                "tileloadd tmm5, [{0} + {1}]",
                "tdpbf16ps tmm0, tmm5, tmm4",
                in(reg) at(0), in(reg) 64_usize, options(nostack, readonly)
            );
            if N > 1 {
                asm!(
                    "tileloadd tmm6, [{0} + {1}]",
                    "tdpbf16ps tmm1, tmm6, tmm4",
                    in(reg) at(1), in(reg) 64_usize, options(nostack, readonly)
                );
            }
            if N > 2 {
                asm!(
                    "tileloadd tmm7, [{0} + {1}]",
                    "tdpbf16ps tmm2, tmm7, tmm4",
                    in(reg) at(2), in(reg) 64_usize, options(nostack, readonly)
                );
            }
            if N > 3 {
                asm!(
                    "tileloadd tmm5, [{0} + {1}]",
                    "tdpbf16ps tmm3, tmm5, tmm4",
                    in(reg) at(3), in(reg) 64_usize, options(nostack, readonly)
                );
            }
        }
        let mut to = out.as_mut_ptr();
        asm!("tilestored [{0} + {1}], tmm0", in(reg) to, in(reg) 64_usize, options(nostack));
        if N > 1 {
            to = to.add(TOKENS);
            asm!("tilestored [{0} + {1}], tmm1", in(reg) to, in(reg) 64_usize, options(nostack));
        }
        if N > 2 {
            to = to.add(TOKENS);
            asm!("tilestored [{0} + {1}], tmm2", in(reg) to, in(reg) 64_usize, options(nostack));
        }
        if N > 3 {
            to = to.add(TOKENS);
            asm!("tilestored [{0} + {1}], tmm3", in(reg) to, in(reg) 64_usize, options(nostack));
        }
    }
}

/// Blocks between the expansion of one and its product: what was stored must have reached the cache.
const LAG: usize = 3;
/// Bytes ahead of the block at hand that are asked for: far ahead into the second-level cache, which takes more requests at a
/// time, and from there into the first.
const FAR: usize = 12 << 10;
const NEAR: usize = 1 << 10;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
fn multiply_few<F: Format>(tile: &[u8], tokens: &[TileBlock], out: &mut [[f32; TILE]]) {
    let num_blocks = tokens.len();
    assert!(tile.len() == num_blocks * F::BYTES && out.len() >= TOKENS);
    let mut ring = [const { MaybeUninit::<TileBlock>::uninit() }; LAG + 1];
    // SAFETY: `begin` was called with the tokens' number; blocks are in range; a place of the ring is read LAG blocks after
    // it was written, and before it is written again.
    unsafe {
        asm!("tilezero tmm0", options(nostack, nomem));
        for block in 0..num_blocks + LAG {
            if block < num_blocks {
                let from = tile.as_ptr().add(block * F::BYTES);
                for line in 0..F::BYTES / 64 {
                    _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(FAR + line * 64).cast());
                    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(NEAR + line * 64).cast());
                }
                expand_block::<F>(from, &mut *ring[block % (LAG + 1)].as_mut_ptr());
            }
            if block >= LAG {
                let block = block - LAG;
                asm!(
                    "tileloadd tmm4, [{weights} + {line}]",
                    "tileloadd tmm5, [{tokens} + {line}]",
                    "tdpbf16ps tmm0, tmm5, tmm4",
                    weights = in(reg) ring[block % (LAG + 1)].as_ptr(),
                    tokens = in(reg) tokens.as_ptr().add(block),
                    line = in(reg) 64_usize,
                    options(nostack, readonly)
                );
            }
        }
        asm!("tilestored [{0} + {1}], tmm0", in(reg) out.as_mut_ptr(), in(reg) 64_usize, options(nostack));
    }
}

/// As `bf16::expand`, a block.
///
/// # Safety
/// Of this and the next functions: `block` points to `F::BYTES` bytes, and they are inlined into one that has the instruction
/// set enabled. They have no such attribute of their own, because an attribute forbids to insist on inlining.
#[inline(always)]
unsafe fn expand_block<F: Format>(block: *const u8, out: &mut TileBlock) {
    // SAFETY: the caller's promise; see `matrix::layout` for what lies where.
    unsafe {
        let lines = block.add(F::LAYOUT.scale_bytes());
        let (front, back) = slopes::<F>(block);
        let load = |line: usize| _mm512_loadu_si512(lines.add(line * 64).cast());
        let out = out.0.as_mut_ptr();
        if F::LAYOUT == QuantLayout::Q8 {
            for chunk in 0..8 {
                let codes = load(chunk);
                for pair in 0..2 {
                    let at = pair * 16;
                    let even = value_of::<F>(codes, codes, at, 0, front);
                    let odd = value_of::<F>(codes, codes, at + 8, 0, front);
                    store(out.add(chunk * 2 + pair), even, odd);
                }
            }
            return;
        }
        for line in 0..4 {
            let codes = load(line);
            for half in 0..2 {
                // Where the upper bits of this chunk's codes are.
                let (upper, upper_at) = match F::LAYOUT {
                    QuantLayout::Q5 | QuantLayout::Q5Wide => (load(4), line + 4 * half),
                    QuantLayout::Q6 => (load(4 + half), line * 2),
                    _ => (codes, 0),
                };
                let slope = if half == 0 { front } else { back };
                for pair in 0..2 {
                    let at = pair * 16;
                    let nibble = at + half * 4;
                    let even = value_of::<F>(codes, upper, nibble, at + upper_at, slope);
                    let odd = value_of::<F>(codes, upper, nibble + 8, at + 8 + upper_at, slope);
                    store(out.add(half * 8 + line * 2 + pair), even, odd);
                }
            }
        }
    }
}

/// Slope and offset of 16 rows, for both halves of a block; in the order of operations of `bf16::lines`.
///
/// # Safety
/// As `expand_block`.
#[inline(always)]
unsafe fn slopes<F: Format>(block: *const u8) -> (Line, Line) {
    let size = (1 << F::LAYOUT.code_bits()) as f32;
    // SAFETY: the caller's promise.
    unsafe {
        let half_floats =
            |at: usize| _mm512_cvtph_ps(_mm256_loadu_si256(block.add(at).cast::<__m256i>()));
        let floats = |at: usize| _mm512_loadu_ps(block.add(at).cast());
        let (first, second) = match F::LAYOUT {
            QuantLayout::Q4 | QuantLayout::Q5 => (half_floats(0), half_floats(32)),
            QuantLayout::Q8 => (floats(0), _mm512_setzero_ps()),
            _ => (floats(0), floats(64)),
        };
        let slope = |scale: __m512| _mm512_mul_ps(_mm512_set1_ps(size * UNBIASED), scale);
        let centred = |scale: __m512, centre: f32| Line {
            slope: slope(scale),
            offset: _mm512_mul_ps(_mm512_set1_ps(-centre * UNBIASED), scale),
        };
        match F::LAYOUT {
            QuantLayout::Q6 => (centred(first, 96.0), centred(second, 96.0)),
            QuantLayout::Q8 => (centred(first, 384.0), centred(first, 384.0)),
            _ => {
                let offset = _mm512_fnmadd_ps(_mm512_set1_ps(size), first, second);
                let line = Line {
                    slope: slope(first),
                    offset: _mm512_mul_ps(offset, _mm512_set1_ps(UNBIASED)),
                };
                (line, line)
            }
        }
    }
}

/// Of 16 rows.
#[derive(Clone, Copy)]
struct Line {
    slope: __m512,
    offset: __m512,
}

/// One column of 16 rows: its codes' lower bits are at bit `at` of each lane of `codes`, the upper ones, where the layout has
/// such, at bit `upper_at` of `upper`.
///
/// # Safety
/// As `expand_block`.
#[inline(always)]
unsafe fn value_of<F: Format>(
    codes: __m512i,
    upper: __m512i,
    at: usize,
    upper_at: usize,
    line: Line,
) -> __m512i {
    /// Bits of a float's mantissa.
    const MANTISSA: usize = 23;
    let bits = F::LAYOUT.code_bits();
    let lower = if F::LAYOUT == QuantLayout::Q8 { 8 } else { 4 };
    // SAFETY: the caller's promise.
    unsafe {
        // Moves `count` bits from bit `from` on to bit `to` on, and drops the others.
        let moved = |lanes: __m512i, from: usize, to: usize, count: usize| {
            let by = _mm512_set1_epi32((to + 32 - from) as i32 % 32);
            let mask = _mm512_set1_epi32(((1 << count) - 1) << to);
            _mm512_and_si512(_mm512_rolv_epi32(lanes, by), mask)
        };
        let one = _mm512_set1_epi32(1.0_f32.to_bits() as i32);
        let mut value = _mm512_or_si512(moved(codes, at, MANTISSA - bits, lower), one);
        if bits > lower {
            let to = MANTISSA - bits + lower;
            value = _mm512_or_si512(moved(upper, upper_at, to, bits - lower), value);
        }
        _mm512_castps_si512(_mm512_fmadd_ps(
            _mm512_castsi512_ps(value),
            line.slope,
            line.offset,
        ))
    }
}

/// The upper halves of two columns, side by side.
///
/// # Safety
/// As `expand_block`; `out` is a row of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn store(out: *mut [u16; BLOCK], even: __m512i, odd: __m512i) {
    const LOWER_HALVES: u64 = 0x3333_3333_3333_3333;
    // SAFETY: the caller's promise; rows are aligned.
    unsafe {
        let upper_to_lower = _mm512_broadcast_i32x4(_mm_set_epi8(
            0, 0, 15, 14, 0, 0, 11, 10, 0, 0, 7, 6, 0, 0, 3, 2,
        ));
        let mut both = odd;
        // By hand: a compiler that knows what this means takes a permutation of both, which has three times the work.
        asm!(
            "vpshufb {both} {{{mask}}}, {even}, {control}",
            both = inout(zmm_reg) both,
            mask = in(kreg) LOWER_HALVES,
            even = in(zmm_reg) even,
            control = in(zmm_reg) upper_to_lower,
            options(pure, nomem, nostack, preserves_flags)
        );
        _mm512_store_si512(out.cast(), both);
    }
}
