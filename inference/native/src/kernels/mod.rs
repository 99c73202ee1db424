//! The arithmetic, one small file per instruction set. All sets compute the same bits: integer dots are exact, and float
//! operations happen in one fixed order with fused multiply-adds. `Kernels::detect` picks the widest set at run time.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod portable;
mod scalar;
#[cfg(test)]
mod tests;

use crate::matrix::TILE;

/// Most activation columns of one pass over a tile.
pub const MAX_PASS: usize = 8;

/// One token's activations as a matrix reads them. Pointers into `Activations`, valid for `num_columns` of the matrix.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    /// The values themselves, for unquantised weights.
    pub values: &'a [f32],
    /// Per block of 32: quantised values, scale, scale · sum, and plain integer sum.
    pub quants: &'a [i8],
    pub scales: &'a [f32],
    pub sums: &'a [f32],
    pub integer_sums: &'a [i32],
}

/// 16 outputs of a tile for each column of a pass.
pub type TileOutput = [[f32; TILE]; MAX_PASS];

/// tile bytes, columns (1 … `MAX_PASS`), outputs (as many as columns are written).
pub type TileKernel = unsafe fn(&[u8], &[Column<'_>], &mut TileOutput);

/// values → quants, scales, sums, integer sums.
pub type QuantizeKernel = unsafe fn(&[f32], &mut [i8], &mut [f32], &mut [f32], &mut [i32]);

/// One token's attention over one KV head and its group of query heads.
pub struct HeadTask<'a> {
    /// [group · `head_dim`] queries, rope applied.
    pub queries: &'a [f32],
    pub group: usize,
    pub head_dim: usize,
    /// Positions 0 … `num_positions` − 1 are attended to.
    pub num_positions: usize,
    /// Block ids of the sequence in order.
    pub block_table: &'a [i32],
    pub block_size: usize,
    /// Keys and values of this layer as f16 bits: [slot, `kv_stride`], this head at `head_offset`.
    pub keys: &'a [u16],
    pub values: &'a [u16],
    pub kv_stride: usize,
    pub head_offset: usize,
    /// [group · `head_dim`]
    pub output: &'a mut [f32],
    /// [group · `num_positions`] at least
    pub scores: &'a mut [f32],
}

/// The functions of one instruction set. Calling one is safe exactly when the set was detected, as `detect` does.
#[derive(Clone, Copy)]
pub struct Kernels {
    pub name: &'static str,
    pub q4_tile: TileKernel,
    pub q8_tile: TileKernel,
    pub f32_tile: TileKernel,
    /// values → quants, scales, sums, integer sums, per block of 32
    pub quantize: QuantizeKernel,
    /// input, weight, epsilon → output
    pub rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    /// gate, up → silu(gate) · up in place of gate
    pub silu_mul: unsafe fn(&mut [f32; TILE], &[f32; TILE]),
    pub attend: unsafe fn(&mut HeadTask<'_>),
    /// Replaces logits by exp(logit − max) · 1/temperature scaled; returns the sum.
    pub exp_scaled: unsafe fn(&mut [f32], f32, f32) -> f32,
}

impl Kernels {
    /// The widest set this processor has; `only` names one for tests and comparisons (`scalar` is always there).
    pub fn detect(only: Option<&str>) -> Option<Self> {
        Self::available()
            .into_iter()
            .find(|each| only.is_none_or(|name| name == each.name))
    }

    /// All sets of this processor, widest first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if avx512::is_available() {
                sets.push(avx512::KERNELS);
            }
            if avx2::is_available() {
                sets.push(avx2::KERNELS);
            }
        }
        sets.push(scalar::KERNELS);
        sets
    }
}
