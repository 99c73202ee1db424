//! Norms and matrix products: how rows and tiles are shared out, and how they meet.

use super::products::Products;
use super::step::Step;
use super::workspace::Activations;
use crate::kernels::PANEL;
use crate::matrix::{Matrix, TILE};

/// Claims a thread makes of a phase, about: fewer and a late thread finds nothing left, more and claiming costs.
const CLAIMS: usize = 4;
/// Most tiles of one claim when there are many tokens: they and a panel of tokens stay in the first-level cache.
const CACHED_TILES: usize = 4;

// SAFETY of every `unsafe` block in this impl: as in step.rs.
impl Step<'_> {
    /// Normalises and quantises residual rows `source(0)` … and runs `work` on every unit with them.
    pub fn normalised(
        &self,
        weight: &[f32],
        num_rows: usize,
        source: impl Fn(usize) -> usize,
        num_units: usize,
        work: impl FnMut(&Activations, usize),
    ) {
        let norm = |row, input: &Activations| self.norm(weight, source(row), input, row);
        self.prepared(&self.work.input, num_rows, norm, num_units, work);
    }

    /// Prepares rows 0 … of an input with `prepare(row, input)` and runs `work` on every unit with them. A panel of them or less
    /// is prepared by each thread for itself; more are shared out in a phase of their own, and lie in `shared`.
    pub fn prepared(
        &self,
        shared: &Activations,
        num_rows: usize,
        prepare: impl Fn(usize, &Activations),
        num_units: usize,
        mut work: impl FnMut(&Activations, usize),
    ) {
        if num_rows == 0 {
            return;
        }
        let is_own = num_rows <= PANEL;
        let input = if is_own { &self.own().input } else { shared };
        let prepare = |row| prepare(row, input);
        if !is_own {
            self.member
                .each(num_rows, PANEL, |rows| rows.for_each(prepare));
        }
        let mut is_ready = !is_own;
        self.member
            .each(num_units, self.chunk(num_units, num_rows), |units| {
                if !is_ready {
                    (0..num_rows).for_each(prepare);
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
            to.put_all(self.kernels, row, width);
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
        let products = self.products(input, num_rows);
        let tile = products.open(matrix, tile, 0);
        for first in products.passes() {
            for (index, values) in products.pass(&tile, first, 0).iter_mut().enumerate() {
                put(first + index, values);
            }
        }
    }

    /// Products of the first `num_rows` of an input that nobody writes in this phase.
    pub fn products<'b>(&'b self, input: &'b Activations, num_rows: usize) -> Products<'b> {
        unsafe { Products::new(self.kernels, self.own(), input, num_rows) }
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
