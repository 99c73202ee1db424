//! The arithmetic of rows with AMX: `tdpbssd` multiplies 16 digits with 16 rows of 64 columns. A token alone, or two, are
//! faster with vectors; everything but products is AVX-512's.
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, `TDPBSSD`.

use std::arch::asm;
use std::arch::x86_64::{_mm512_load_si512, _mm512_setzero_si512, _mm512_store_si512};
use std::mem::MaybeUninit;

pub use super::amx_registers::is_available;
use super::amx_registers::{begin, end};
use super::avx512_expand::{prefetch, weights};
use super::format::{Format, by_layout, with};
use super::rows::{Digits, PASS, PASS_PANELS, RowsKernels, TileBlock, row_scales};
use super::{Kernels, PANEL, avx512, avx512_rows};
use crate::matrix::{ROW_SCALES, TILE};

pub const KERNELS: Kernels = Kernels {
    name: "amx",
    rows: RowsKernels {
        multiply_expanded,
        multiply: |layout| by_layout!(layout, multiply),
        few: PASS,
        begin,
        end,
        ..avx512_rows::KERNELS
    },
    ..avx512::KERNELS
};

/// Tokens for which tile registers are not worth it.
const FEW: usize = 2;

/// Registers of 64 columns between the expansion of one and its product: what was stored must have reached the cache.
const LAG: usize = 3;
/// Compiles a call for each number of panels, so that loops over them unroll.
macro_rules! by_panels {
    ($tokens:expr, $n:ident => $call:expr) => {
        match $tokens.div_ceil(PANEL) {
            1 => with!($n = 1, $call),
            2 => with!($n = 2, $call),
            3 => with!($n = 3, $call),
            4 => with!($n = 4, $call),
            5 => with!($n = 5, $call),
            PASS_PANELS => with!($n = PASS_PANELS, $call),
            _ => unreachable!("one to six panels"),
        }
    };
}

/// Repeats `$one` for each panel and the register of its sums, whose name an instruction has to spell out.
macro_rules! each_sum {
    ($one:ident) => {
        $one!(0, "tmm0");
        $one!(1, "tmm1");
        $one!(2, "tmm2");
        $one!(3, "tmm3");
        $one!(4, "tmm4");
        $one!(5, "tmm5");
    };
}

/// @panics when activations and outputs are not of the same 1 … `PASS` tokens, or not as wide as the weights
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn multiply_expanded(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let count = digits.scales.len();
    assert!(count == out.len() && (1..=PASS).contains(&count));
    assert!(digits.tiles.len() == weights.len() * count.div_ceil(PANEL));
    by_panels!(count, N => expanded::<N>(row_scales, weights, digits, out));
}

/// As `multiply_expanded`, but weights are expanded on the way.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn multiply<F: Format>(tile: &[u8], digits: &Digits<'_>, out: &mut [[f32; TILE]]) {
    let count = digits.scales.len();
    if count <= FEW {
        return avx512_rows::multiply::<F>(tile, digits, out);
    }
    assert!(count == out.len() && count <= PASS);
    let num_blocks = (tile.len() - ROW_SCALES) / F::ROW_BYTES;
    assert!(digits.tiles.len() == num_blocks.div_ceil(2) * count.div_ceil(PANEL));
    by_panels!(count, N => on_the_way::<F, N>(tile, digits, out));
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn expanded<const N: usize>(
    row_scales: &[f32; TILE],
    weights: &[TileBlock],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: `begin` was called; there are N panels of as many registers as weights.
    unsafe {
        zero();
        for (index, block) in weights.iter().enumerate() {
            add::<N>(block, digits.tiles.as_ptr().add(index), weights.len());
        }
        finish::<N>(row_scales, digits, out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
fn on_the_way<F: Format, const N: usize>(
    tile: &[u8],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let num_blocks = (tile.len() - ROW_SCALES) / F::ROW_BYTES;
    let num_registers = num_blocks.div_ceil(2);
    let mut ring = [const { MaybeUninit::<TileBlock>::uninit() }; LAG + 1];
    // SAFETY: `begin` was called; blocks are in range; a place of the ring is read LAG registers after it was written, and
    // before it is written again.
    unsafe {
        zero();
        let blocks = tile.as_ptr().add(ROW_SCALES);
        for register in 0..num_registers + LAG {
            if register < num_registers {
                let to = ring[register % (LAG + 1)].as_mut_ptr();
                for half in 0..2 {
                    let block = register * 2 + half;
                    let to = (*to).0.as_mut_ptr().add(half * 8);
                    if block < num_blocks {
                        expand_block::<F>(blocks.add(block * F::ROW_BYTES), to.cast());
                    } else {
                        for line in 0..8 {
                            _mm512_store_si512(to.add(line).cast(), _mm512_setzero_si512());
                        }
                    }
                }
            }
            if let Some(register) = register.checked_sub(LAG) {
                let weights = ring[register % (LAG + 1)].as_ptr();
                add::<N>(weights, digits.tiles.as_ptr().add(register), num_registers);
            }
        }
        finish::<N>(&row_scales(tile), digits, out);
    }
}

/// # Safety
/// `block` points to `F::ROW_BYTES` bytes, `to` to eight lines; inlined into a function that has the instruction set enabled.
#[inline(always)]
unsafe fn expand_block<F: Format>(block: *const u8, to: *mut [i8; 64]) {
    // SAFETY: the caller's promise.
    unsafe {
        prefetch::<F>(block);
        for (line, weights) in weights::<F, false>(block).into_iter().enumerate() {
            _mm512_store_si512(to.add(line).cast(), weights);
        }
    }
}

/// Sums are in registers 0 … 5 from here to `finish`: the compiler itself uses no tile registers.
///
/// # Safety
/// `begin` was called on this thread.
#[inline(always)]
unsafe fn zero() {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            options(nostack, nomem)
        );
    }
}

/// Adds the products of a register of weights with N of activations, which are `stride` apart.
///
/// # Safety
/// As `zero`; all of these can be read.
#[inline(always)]
unsafe fn add<const N: usize>(
    weights: *const TileBlock,
    activations: *const TileBlock,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let panel = |index: usize| activations.add(index * stride);
        asm!("tileloadd tmm6, [{0} + {1}]", in(reg) weights, in(reg) 64_usize, options(nostack, readonly));
        macro_rules! add_panel {
            ($index:literal, $sum:literal) => {
                if N > $index {
                    asm!(
                        "tileloadd tmm7, [{0} + {1}]",
                        concat!("tdpbssd ", $sum, ", tmm7, tmm6"),
                        in(reg) panel($index), in(reg) 64_usize, options(nostack, readonly)
                    );
                }
            };
        }
        each_sum!(add_panel);
    }
}

/// Stores the sums and makes outputs of them.
///
/// # Safety
/// As `zero`; inlined into a function that has the instruction set enabled.
#[inline(always)]
unsafe fn finish<const N: usize>(
    row_scales: &[f32; TILE],
    digits: &Digits<'_>,
    out: &mut [[f32; TILE]],
) {
    let mut sums = [const { MaybeUninit::<Sums>::uninit() }; N];
    // SAFETY: the caller's promise; of each register the digits of the panel's tokens are stored, and only they are read.
    unsafe {
        macro_rules! store_sum {
            ($index:literal, $sum:literal) => {
                if N > $index {
                    asm!(
                        concat!("tilestored [{0} + {1}], ", $sum),
                        in(reg) sums[$index].as_mut_ptr(), in(reg) 64_usize, options(nostack)
                    );
                }
            };
        }
        each_sum!(store_sum);
        for (token, (scale, out)) in digits.scales.iter().zip(out).enumerate() {
            let sums = sums[token / PANEL].as_ptr().cast::<[i32; TILE]>();
            let at = sums.add(token % PANEL * 2);
            let (upper, lower) = (
                _mm512_load_si512(at.cast()),
                _mm512_load_si512(at.add(1).cast()),
            );
            avx512_rows::finish(upper, lower, row_scales, scale, out);
        }
    }
}

/// A register of sums: 16 rows of each digit.
#[repr(C, align(64))]
struct Sums([[i32; TILE]; 16]);
