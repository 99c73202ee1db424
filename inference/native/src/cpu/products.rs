//! Matrix products as one thread makes them: a tile of weights is opened, then meets the tokens pass by pass. Which arithmetic
//! they are in is the kernels' matter.

use std::sync::atomic::Ordering;

use super::workspace::{Activations, Own};
use crate::kernels::rows::{PASS, TileBlock, WIDE, row_scales};
use crate::kernels::{Kernels, PANEL, TileOutput};
use crate::matrix::{Arithmetic, Layout, Matrix, TILE};

/// Products of some rows of `input` on one thread.
pub struct Products<'a> {
    kernels: &'a Kernels,
    own: &'a Own,
    input: &'a Activations,
    num_rows: usize,
}

/// A tile of a matrix that is ready to meet tokens.
pub struct Opened<'a> {
    matrix: &'a Matrix,
    tile: usize,
    /// Its weights as bytes; none when the kernels read the tile itself.
    expanded: &'a [TileBlock],
}

// SAFETY of every `unsafe` block in this impl: the promise of `new`.
impl<'a> Products<'a> {
    /// # Safety
    /// The kernels were detected; `own` is this thread's alone and has room (`Own::fit_products`); nobody writes to rows
    /// 0 … `num_rows` − 1 of the input until the next phase.
    pub unsafe fn new(
        kernels: &'a Kernels,
        own: &'a Own,
        input: &'a Activations,
        num_rows: usize,
    ) -> Self {
        if kernels.arithmetic == Arithmetic::Rows {
            let rows = num_rows.min(PANEL);
            if own.register_rows.load(Ordering::Relaxed) != rows {
                own.register_rows.store(rows, Ordering::Relaxed);
                // SAFETY: as above.
                unsafe { (kernels.rows.begin)(rows) };
            }
        }
        Self {
            kernels,
            own,
            input,
            num_rows,
        }
    }

    /// The first rows of the passes.
    pub fn passes(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.num_rows).step_by(PASS)
    }

    /// Tiles in different slots are open at the same time.
    pub fn open(&self, matrix: &'a Matrix, tile: usize, slot: usize) -> Opened<'a> {
        let mut expanded: &[TileBlock] = &[];
        if let Layout::Rows(layout) = matrix.layout
            && self.num_rows > self.kernels.rows.few
        {
            let len = matrix.num_columns.div_ceil(WIDE);
            unsafe {
                let blocks = self.own.expanded.slice(slot * len, len);
                (self.kernels.rows.expand)(layout)(matrix.tile(tile), blocks);
                expanded = blocks;
            }
        }
        Opened {
            matrix,
            tile,
            expanded,
        }
    }

    /// Products with rows `first` … of a pass, [token, 16 rows of the matrix]; `place` is 0 or 1, and what was there is lost.
    pub fn pass(&self, opened: &Opened<'_>, first: usize, place: usize) -> &'a mut [[f32; TILE]] {
        let count = PASS.min(self.num_rows - first);
        let out = unsafe { self.own.products.slice(place * PASS, PASS) };
        let (matrix, width) = (opened.matrix, opened.matrix.num_columns);
        if let Layout::Rows(layout) = matrix.layout {
            unsafe {
                let digits = self.input.digits(first, count, width);
                let (tile, out) = (matrix.tile(opened.tile), &mut out[..count]);
                if opened.expanded.is_empty() {
                    (self.kernels.rows.multiply)(layout)(tile, &digits, out);
                } else {
                    let scales = row_scales(tile);
                    (self.kernels.rows.multiply_expanded)(&scales, opened.expanded, &digits, out);
                }
            }
        } else {
            for (index, out) in out[..count].chunks_mut(PANEL).enumerate() {
                self.panel(opened, first / PANEL + index, out);
            }
        }
        &mut out[..count]
    }

    /// Products with at most `PANEL` rows.
    fn panel(&self, opened: &Opened<'_>, panel: usize, out: &mut [[f32; TILE]]) {
        let (matrix, width, count) = (opened.matrix, opened.matrix.num_columns, out.len());
        let mut sums: TileOutput = [[0.0; TILE]; PANEL];
        unsafe {
            match matrix.layout {
                Layout::Quant(layout) => {
                    let kernel = (self.kernels.quant_tile)(layout);
                    let blocks = self.input.panel(panel, width);
                    kernel(matrix.tile(opened.tile), blocks, count, &mut sums);
                }
                Layout::Rows(_) => unreachable!("multiplied pass by pass"),
                Layout::Float(layout) => {
                    let token = |index: usize| -> &[f32] {
                        let row = panel * PANEL + index.min(count - 1);
                        self.input.values(row, 0, width, width)
                    };
                    let tokens: [&[f32]; PANEL] = std::array::from_fn(token);
                    let kernel = (self.kernels.float_tile)(layout);
                    kernel(matrix.tile(opened.tile), &tokens[..count], &mut sums);
                }
            }
        }
        out.copy_from_slice(&sums[..count]);
    }
}
