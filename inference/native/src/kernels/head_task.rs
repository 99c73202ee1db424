//! One task of an attention, and where its keys and values lie.

use std::ops::Range;

use super::MAX_ROWS;
use super::portable::LANES;
use crate::kv_pool::KvFormat;

/// Attention of some tokens of one sequence over one KV head, with the head's group of query heads. A row is one query
/// head of one token.
pub struct HeadTask<'a> {
    /// Row `t · group + g` of the queries begins at `t · query_stride + g · head_dim`; rope is applied, and all are
    /// multiplied with `query_scale`.
    pub queries: &'a [f32],
    pub query_stride: usize,
    pub group: usize,
    /// A multiple of 16.
    pub head_dim: usize,
    /// [tokens] each attends to positions 0 … its own. tokens · group is 1 … `MAX_ROWS`.
    pub positions: &'a [i32],
    /// Only the latest so many of these positions count, at least one; none = all.
    pub window: Option<usize>,
    /// Block ids of the sequence in order.
    pub block_table: &'a [i32],
    pub block_size: usize,
    pub format: KvFormat,
    /// Keys and values as `BlockLayout` has them; block `b` begins at `b · block_stride`.
    pub pool: &'a [u16],
    pub block_stride: usize,
    /// Where in a block the keys of this layer and head begin: [`head_dim`, `block_size`].
    pub keys_at: usize,
    /// Where its values begin: [`block_size`, `head_dim`].
    pub values_at: usize,
    /// [row, `head_dim`]
    pub output: &'a mut [f32],
    /// [row, `score_stride`], at least as long as positions + 1 rounded up to 16
    pub scores: &'a mut [f32],
    pub score_stride: usize,
    /// `scratch_len(head_dim)` floats
    pub scratch: &'a mut [f32],
}

/// What queries are multiplied with before they meet keys: the softmax is computed in powers of two.
pub fn query_scale(head_dim: usize) -> f32 {
    (std::f64::consts::LOG2_E / (head_dim as f64).sqrt()) as f32
}

/// Positions whose keys or values are widened at a time.
pub const SPAN: usize = 64;

/// Room for the queries side by side and for the keys or values of a span.
pub const fn scratch_len(head_dim: usize) -> usize {
    (MAX_ROWS + SPAN) * head_dim
}

impl HeadTask<'_> {
    #[inline(always)]
    pub fn num_rows(&self) -> usize {
        self.positions.len() * self.group
    }

    /// The positions that a row attends to.
    #[inline(always)]
    pub fn positions_of(&self, row: usize) -> Range<usize> {
        let end = self.positions[row / self.group] as usize + 1;
        end.saturating_sub(self.window.unwrap_or(end))..end
    }

    /// From the first position that one of these rows attends to, rounded down to a strip of 16, to behind the last.
    #[inline(always)]
    pub fn positions_of_all(&self, rows: Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (usize::MAX, 0);
        for row in rows {
            let own = self.positions_of(row);
            (start, end) = (start.min(own.start), end.max(own.end));
        }
        start / LANES * LANES..end
    }

    /// [`head_dim`] the query of a row
    #[inline(always)]
    pub fn query(&self, row: usize) -> &[f32] {
        let start = row / self.group * self.query_stride + row % self.group * self.head_dim;
        &self.queries[start..start + self.head_dim]
    }

    /// Where a position's first key is; the next is `block_size` behind it.
    #[inline(always)]
    pub fn key_start(&self, position: usize) -> usize {
        self.block_start(position) + self.keys_at + position % self.block_size
    }

    /// Where a position's values begin.
    #[inline(always)]
    pub fn value_start(&self, position: usize) -> usize {
        self.block_start(position) + self.values_at + position % self.block_size * self.head_dim
    }

    /// The pool of a Q8 task, byte by byte.
    #[inline(always)]
    pub fn quants(&self) -> &[i8] {
        // SAFETY: any two bytes are numbers, and bytes need no alignment.
        unsafe { std::slice::from_raw_parts(self.pool.as_ptr().cast(), 2 * self.pool.len()) }
    }

    /// Where in `quants` a position's first key is; the next is `block_size` behind it.
    #[inline(always)]
    pub fn key_quants_start(&self, position: usize) -> usize {
        2 * (self.block_start(position) + self.keys_at) + position % self.block_size
    }

    /// Where in `quants` a position's values begin.
    #[inline(always)]
    pub fn value_quants_start(&self, position: usize) -> usize {
        2 * (self.block_start(position) + self.values_at)
            + position % self.block_size * self.head_dim
    }

    /// Where the scale of a position's keys is; the next position's of its block is behind it.
    #[inline(always)]
    pub fn key_scale_at(&self, position: usize) -> usize {
        self.block_start(position) + self.keys_at + self.scales_behind(position)
    }

    /// Where the scale of its values is.
    #[inline(always)]
    pub fn value_scale_at(&self, position: usize) -> usize {
        self.block_start(position) + self.values_at + self.scales_behind(position)
    }

    #[inline(always)]
    fn scales_behind(&self, position: usize) -> usize {
        self.head_dim / 2 * self.block_size + position % self.block_size
    }

    #[inline(always)]
    fn block_start(&self, position: usize) -> usize {
        self.block_table[position / self.block_size] as usize * self.block_stride
    }
}
