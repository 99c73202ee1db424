//! Norms and matrix products: how rows and tiles are shared out, and how they meet.

use super::step::Step;
use super::workspace::Activations;
use crate::kernels::{Kernels, PANEL, TileOutput};
use crate::matrix::{BLOCK, Layout, Matrix, TILE};

/// Claims a thread makes of a phase, about: fewer and a late thread finds nothing left, more and claiming costs.
const CLAIMS: usize = 4;
/// Most tiles of one claim when there are many tokens: they and a panel of tokens stay in the first-level cache.
const CACHED_TILES: usize = 4;

// SAFETY of every `unsafe` block in this impl: as in step.rs.
impl Step<'_> {
    /// Normalises and quantises residual rows `source(0)` … and runs `work` on every unit with them. A panel of them or
    /// less is normalised by each thread for itself; more are shared out in a phase of their own.
    pub fn normalised(
        &self,
        weight: &[f32],
        num_rows: usize,
        source: impl Fn(usize) -> usize,
        num_units: usize,
        mut work: impl FnMut(&Activations, usize),
    ) {
        if num_rows == 0 {
            return;
        }
        let is_own = num_rows <= PANEL;
        let input = if is_own {
            &self.own().input
        } else {
            &self.work.input
        };
        let norm = |row| self.norm(weight, source(row), input, row);
        if !is_own {
            self.member
                .each(num_rows, PANEL, |rows| rows.for_each(norm));
        }
        let mut is_ready = !is_own;
        self.member
            .each(num_units, self.chunk(num_units, num_rows), |units| {
                if !is_ready {
                    (0..num_rows).for_each(norm);
                    is_ready = true;
                }
                for unit in units {
                    work(input, unit);
                }
            });
    }

    fn norm(&self, weight: &[f32], from: usize, to: &Activations, row: usize) {
        let width = self.model.shape.width;
        unsafe {
            let values = to.values(row, 0, width, width);
            let residual = self.work.residual.slice(from * width, width);
            (self.kernels.rms_norm)(residual, weight, self.model.shape.norm_epsilon, values);
            for (index, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
                (self.kernels.quantize)(values, to.block(row, index, width));
            }
        }
    }

    /// Multiplies one tile with every input row; `put(row, outputs)` takes the results.
    pub fn project(
        &self,
        matrix: &Matrix,
        tile: usize,
        input: &Activations,
        num_rows: usize,
        mut put: impl FnMut(usize, &mut [f32; TILE]),
    ) {
        let mut out: TileOutput = [[0.0; TILE]; PANEL];
        for panel in 0..num_rows.div_ceil(PANEL) {
            let count = PANEL.min(num_rows - panel * PANEL);
            self.multiply(matrix, tile, input, panel, count, &mut out);
            for (index, values) in out.iter_mut().enumerate().take(count) {
                put(panel * PANEL + index, values);
            }
        }
    }

    pub fn multiply(
        &self,
        matrix: &Matrix,
        tile: usize,
        input: &Activations,
        panel: usize,
        count: usize,
        out: &mut TileOutput,
    ) {
        unsafe { multiply(self.kernels, matrix, tile, input, panel, count, out) };
    }

    /// Units of one claim.
    pub fn chunk(&self, num_units: usize, num_rows: usize) -> usize {
        let even = num_units.div_ceil(self.num_threads * CLAIMS);
        if num_rows > PANEL {
            even.min(CACHED_TILES)
        } else {
            even
        }
    }
}

/// Multiplies one tile with `count` tokens of a panel of `input`.
///
/// # Safety
/// The kernels were detected, and nobody writes to the panel until the next phase.
pub unsafe fn multiply(
    kernels: &Kernels,
    matrix: &Matrix,
    tile: usize,
    input: &Activations,
    panel: usize,
    count: usize,
    out: &mut TileOutput,
) {
    let width = matrix.num_columns;
    // SAFETY: the caller's promise.
    unsafe {
        match matrix.layout {
            Layout::Quant(layout) => {
                let kernel = (kernels.quant_tile)(layout);
                kernel(matrix.tile(tile), input.panel(panel, width), count, out);
            }
            Layout::Float(layout) => {
                let token = |index: usize| -> &[f32] {
                    input.values(panel * PANEL + index.min(count - 1), 0, width, width)
                };
                let tokens: [&[f32]; PANEL] = std::array::from_fn(token);
                let kernel = (kernels.float_tile)(layout);
                kernel(matrix.tile(tile), &tokens[..count], out);
            }
        }
    }
}
