//! Norms and matrix products: how rows and tiles are shared out, and how they meet.

use std::ops::Range;

use super::products::{Products, Tile, group_tiles};
use super::step::Step;
use super::workspace::Activations;
use crate::kernels::PANEL;
use crate::matrix::{Matrix, TILE};

/// Claims a thread makes of a phase, at least: fewer and a late thread finds nothing left, more and claiming costs.
const CLAIMS: usize = 3;

/// The units of a phase of products.
#[derive(Clone, Copy)]
pub struct Units {
    pub count: usize,
    /// Tiles of weights of each of them, and their columns
    pub tiles: usize,
    pub columns: usize,
}

impl Units {
    pub fn tiles_of(matrix: &Matrix) -> Self {
        Self {
            count: matrix.num_tiles(),
            tiles: 1,
            columns: matrix.num_columns,
        }
    }
}

// SAFETY of every `unsafe` block in this impl: as in step.rs.
impl Step<'_> {
    /// Normalises and quantises residual rows `source(0)` … and runs `work` on all units with them.
    pub fn normalised(
        &self,
        weight: &[f32],
        num_rows: usize,
        source: impl Fn(usize) -> usize,
        units: Units,
        work: impl FnMut(&Activations, Range<usize>),
    ) {
        let norm = |row, input: &Activations| self.norm(weight, source(row), input, row);
        self.prepared(&self.work.input, num_rows, norm, units, work);
    }

    /// Prepares rows 0 … of an input with `prepare(row, input)` and runs `work` on all units with them. A panel of them or less
    /// is prepared by each thread for itself; more are shared out in a phase of their own, and lie in `shared`.
    pub fn prepared(
        &self,
        shared: &Activations,
        num_rows: usize,
        prepare: impl Fn(usize, &Activations),
        units: Units,
        mut work: impl FnMut(&Activations, Range<usize>),
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
            .each(units.count, self.chunk(units, num_rows), |units| {
                if !is_ready {
                    (0..num_rows).for_each(prepare);
                    is_ready = true;
                }
                work(input, units);
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

    /// Multiplies some tiles with every input row; `put(tile, row, outputs)` takes the results.
    pub fn project(
        &self,
        matrix: &Matrix,
        tiles: Range<usize>,
        input: &Activations,
        num_rows: usize,
        mut put: impl FnMut(usize, usize, &mut [f32; TILE]),
    ) {
        let products = self.products(input, num_rows);
        for first in products.passes() {
            for (slot, index) in tiles.clone().enumerate() {
                let outputs = products.pass(Tile::new(matrix, index, slot), first, 0);
                for (row, values) in outputs.iter_mut().enumerate() {
                    put(index, first + row, values);
                }
            }
        }
    }

    /// Products of the first `num_rows` of an input that nobody writes in this phase.
    pub fn products<'b>(&'b self, input: &'b Activations, num_rows: usize) -> Products<'b> {
        unsafe { Products::new(self.kernels, self.own(), input, num_rows) }
    }

    /// Units of one claim: where tokens are many, of a group that is opened together, and as many for every thread.
    pub fn chunk(&self, units: Units, num_rows: usize) -> usize {
        let most = if num_rows > PANEL {
            (group_tiles(units.columns) / units.tiles).max(1)
        } else {
            units.count
        };
        let claims = units.count.div_ceil(self.num_threads * most).max(CLAIMS);
        units.count.div_ceil(self.num_threads * claims)
    }
}
