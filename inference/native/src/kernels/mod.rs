//! Both arithmetics, one small file per instruction set. In each all sets compute the same bits: integer dots are exact, and
//! float operations happen in one fixed order with fused multiply-adds. `Kernels::detect` picks the widest set at run time.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod amx_registers;
#[cfg(test)]
mod attention_tests;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_products;
#[cfg(target_arch = "x86_64")]
mod avx2_rows;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_attention;
#[cfg(target_arch = "x86_64")]
mod avx512_expand;
#[cfg(target_arch = "x86_64")]
mod avx512_floats;
#[cfg(target_arch = "x86_64")]
mod avx512_products;
#[cfg(target_arch = "x86_64")]
mod avx512_rows;
mod format;
mod head_task;
mod kv_quants;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_products;
pub mod portable;
mod portable_attention;
pub mod rows;
#[cfg(test)]
mod rows_tests;
mod scalar;
#[cfg(test)]
mod tests;

pub use self::head_task::{HeadTask, query_scale, scratch_len};
pub use self::kv_quants::quant_head;
use self::rows::RowsKernels;
use crate::huge_pages::Plain;
use crate::matrix::{Arithmetic, BLOCK, FloatLayout, QuantLayout, TILE};

/// Tokens that meet a tile of weights in one pass. Their quantised blocks lie side by side, so that a kernel walks one
/// pointer: block `b` of token `t` of a panel is at `b · PANEL + t`.
pub const PANEL: usize = 8;

/// Most query rows (tokens times query heads of a KV head) of one attention task.
pub const MAX_ROWS: usize = 48;

/// 32 activations of one token: value = scale · quant.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C, align(16))]
pub struct QuantBlock {
    pub quants: [i8; BLOCK],
    pub scale: f32,
    /// scale · sum of the quants
    pub sum: f32,
    /// sum of the quants
    pub integer_sum: i32,
    /// sum of the first half of them
    pub first_sum: i32,
}

// SAFETY: numbers, aligned to 16 bytes.
unsafe impl Plain for QuantBlock {}

/// tile bytes, blocks of one or more panels, 16 outputs of the tile for each token: the last panel may have fewer than `PANEL`.
pub type QuantTileKernel = unsafe fn(&[u8], &[QuantBlock], &mut [[f32; TILE]]);

/// tile bytes, each token's values (1 … `PANEL` tokens), as many outputs.
pub type FloatTileKernel = unsafe fn(&[u8], &[&[f32]], &mut [[f32; TILE]]);

/// input, weight, bias, epsilon → output, of mean 0 and variance 1 before weight and bias
pub type LayerNormKernel = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);

/// The functions of one instruction set. Calling one is safe exactly when the set was detected, as `detect` does.
#[derive(Clone, Copy)]
pub struct Kernels {
    pub name: &'static str,
    /// Of the weights it is used for.
    pub arithmetic: Arithmetic,
    pub quant_tile: fn(QuantLayout) -> QuantTileKernel,
    pub float_tile: fn(FloatLayout) -> FloatTileKernel,
    pub quantize: unsafe fn(&[f32; BLOCK], &mut QuantBlock),
    /// Products in the arithmetic of rows, instead of `quant_tile` and `quantize`.
    pub rows: RowsKernels,
    /// input, weight, epsilon → output
    pub rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    /// gate, up → silu(gate) · up in place of gate
    pub silu_mul: unsafe fn(&mut [f32; TILE], &[f32; TILE]),
    /// gate, up → gelu(gate) · up in place of gate, by the approximation with tanh
    pub gelu_mul: unsafe fn(&mut [f32; TILE], &[f32; TILE]),
    /// gelu by the error function, in place
    pub gelu: unsafe fn(&mut [f32; TILE]),
    pub layer_norm: LayerNormKernel,
    /// Rotates neighbouring pairs by (cos, sin), as many as there are.
    pub rotate: unsafe fn(&mut [f32; TILE], &[(f32, f32)]),
    /// Rounds to f16; values beyond its range saturate, so that no infinity enters an attention.
    pub store_f16: unsafe fn(&[f32; TILE], &mut [u16; TILE]),
    pub attend: unsafe fn(&mut HeadTask<'_>),
    /// Replaces each logit by exp((logit − max) · scale); returns the sum.
    pub exp_scaled: unsafe fn(&mut [f32], f32, f32) -> f32,
    /// The first of the largest, and its value; none when one is a NaN or all are −∞.
    pub argmax: unsafe fn(&[f32]) -> Option<(usize, f32)>,
}

impl Kernels {
    /// The widest set this processor has; `only` names one (`scalar` is always there).
    pub fn detect(arithmetic: Arithmetic, only: Option<&str>) -> Option<Self> {
        let mut all = Self::available(arithmetic).into_iter();
        all.find(|each| only.is_none_or(|name| name == each.name))
    }

    /// The arithmetic that is the faster one here: of rows with tile registers, else of blocks.
    pub fn fastest() -> Arithmetic {
        #[cfg(target_arch = "x86_64")]
        if amx::is_available() {
            return Arithmetic::Rows;
        }
        Arithmetic::Blocks
    }

    /// The sets of this processor, which agree bit by bit, widest first.
    #[cfg_attr(not(target_arch = "x86_64"), allow(clippy::vec_init_then_push))]
    pub fn available(arithmetic: Arithmetic) -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // Tile registers are of use for rows only.
            if arithmetic == Arithmetic::Rows && amx::is_available() {
                sets.push(amx::KERNELS);
            }
            if avx512::is_available() {
                sets.push(avx512::KERNELS);
            }
            if avx2::is_available() {
                sets.push(avx2::KERNELS);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if neon::is_available() {
            sets.push(neon::KERNELS);
        }
        sets.push(scalar::KERNELS);
        sets.into_iter()
            .map(|set| Self { arithmetic, ..set })
            .collect()
    }
}
