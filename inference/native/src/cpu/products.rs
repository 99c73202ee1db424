//! Matrix products as one thread makes them: some tiles of weights at a time, small enough together to stay in the second-level
//! cache, meet the tokens pass by pass, which stay in the first. Tile by tile, all tokens would come from further away for each
//! of them. Which arithmetic products are in is the kernels' matter.

use std::sync::atomic::Ordering;

use super::workspace::{Activations, Own};
use crate::kernels::rows::{PASS, TileBlock, WIDE, row_scales};
use crate::kernels::{Kernels, PANEL};
use crate::matrix::{Arithmetic, Layout, Matrix, QuantLayout, TILE};

/// Products of some rows of `input` on one thread.
pub struct Products<'a> {
    kernels: &'a Kernels,
    own: &'a Own,
    input: &'a Activations,
    num_rows: usize,
}

/// A tile of a matrix, and where its weights lie while it meets the tokens; tiles of one group have slots of their own.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    matrix: &'a Matrix,
    index: usize,
    slot: usize,
}

impl<'a> Tile<'a> {
    pub fn new(matrix: &'a Matrix, index: usize, slot: usize) -> Self {
        Self {
            matrix,
            index,
            slot,
        }
    }
}

/// Most registers of opened weights of a group: half a megabyte of them leaves room for activations in the second-level cache.
pub const GROUP_BLOCKS: usize = (512 << 10) / size_of::<TileBlock>();

/// Most tiles of a group, so many columns wide.
pub fn group_tiles(num_columns: usize) -> usize {
    (GROUP_BLOCKS / num_columns.div_ceil(WIDE)).max(1)
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

    /// Products with rows `first` … of a pass, [token, 16 rows of the matrix]; `place` is 0 or 1, and what was there is lost. A
    /// tile's first pass comes first: there its weights are put into its slot.
    pub fn pass(&self, tile: Tile<'_>, first: usize, place: usize) -> &'a mut [[f32; TILE]] {
        let count = PASS.min(self.num_rows - first);
        let out = unsafe { &mut self.own.products.slice(place * PASS, PASS)[..count] };
        let (matrix, width) = (tile.matrix, tile.matrix.num_columns);
        match matrix.layout {
            Layout::Rows(layout) => self.rows(tile, layout, first, out),
            Layout::Quant(layout) => unsafe {
                let panels = self
                    .input
                    .panels(first / PANEL, count.div_ceil(PANEL), width);
                (self.kernels.quant_tile)(layout)(matrix.tile(tile.index), panels, out);
            },
            Layout::Float(layout) => unsafe {
                let token = |row| -> &[f32] { self.input.values(row, 0, width, width) };
                let kernel = (self.kernels.float_tile)(layout);
                for (panel, out) in out.chunks_mut(PANEL).enumerate() {
                    let first = first + panel * PANEL;
                    let tokens: [&[f32]; PANEL] =
                        std::array::from_fn(|index| token(first + index.min(out.len() - 1)));
                    kernel(matrix.tile(tile.index), &tokens[..out.len()], out);
                }
            },
        }
        out
    }

    /// A pass in the arithmetic of rows.
    fn rows(&self, tile: Tile<'_>, layout: QuantLayout, first: usize, out: &mut [[f32; TILE]]) {
        let (bytes, width) = (tile.matrix.tile(tile.index), tile.matrix.num_columns);
        let kernels = &self.kernels.rows;
        unsafe {
            let digits = self.input.digits(first, out.len(), width);
            if self.num_rows <= kernels.few {
                return (kernels.multiply)(layout)(bytes, &digits, out);
            }
            let len = width.div_ceil(WIDE);
            let weights = self.own.expanded.slice(tile.slot * len, len);
            if first == 0 {
                (kernels.expand)(layout)(bytes, weights);
            }
            (kernels.multiply_expanded)(&row_scales(bytes), weights, &digits, out);
        }
    }
}
