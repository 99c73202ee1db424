//! The memory of keys and values: fixed slots. Who owns which slot is decided above, in TypeScript.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::huge_pages::{Buffer, zeroed};

/// What is kept of a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// Two bytes.
    F16,
    /// One byte, and one scale for all dimensions of a head in a slot, see `quant_head`.
    Q8,
}

impl KvFormat {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "f16" => Some(Self::F16),
            "q8" => Some(Self::Q8),
            _ => None,
        }
    }
}

/// How a block lies in memory: for each layer its keys, [head, dimension, slot], then its values, [head, slot, dimension].
/// Keys are turned so that a vector holds one dimension of neighbouring positions. All layers of a block are one piece:
/// memory that is never written stays the system's, and a copy is one. In Q8 the keys of a head are bytes in the same order,
/// and behind them is the scale of each slot, as f16; so are its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLayout {
    pub format: KvFormat,
    /// Slots of a block.
    pub block_size: usize,
    pub num_layers: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
}

impl BlockLayout {
    /// Of a block; this and all that follows in units of two bytes.
    pub fn len(self) -> usize {
        self.num_layers * self.layer_len()
    }

    /// Where in a block the keys of a layer and head begin.
    pub fn keys_at(self, layer: usize, head: usize) -> usize {
        layer * self.layer_len() + head * self.head_len()
    }

    /// Where in a block the values of a layer and head begin.
    pub fn values_at(self, layer: usize, head: usize) -> usize {
        self.keys_at(layer, self.num_kv_heads + head)
    }

    /// Bytes.
    pub fn bytes_per_token(self) -> usize {
        self.len() / self.block_size * size_of::<u16>()
    }

    fn layer_len(self) -> usize {
        2 * self.num_kv_heads * self.head_len()
    }

    /// Of the keys of a head, or its values. A head has an even number of dimensions.
    pub fn head_len(self) -> usize {
        match self.format {
            KvFormat::F16 => self.head_dim * self.block_size,
            KvFormat::Q8 => self.head_dim / 2 * self.block_size + self.block_size,
        }
    }
}

pub struct KvPool {
    /// [block, `layout.len()`]
    pub data: Buffer<u16>,
    pub layout: BlockLayout,
    /// Blocks that sequences run in.
    pub num_blocks: usize,
    /// Blocks behind those, where preempted sequences wait: only copied to and from.
    pub num_swap_blocks: usize,
}

impl KvPool {
    /// As many blocks as fit in `bytes`, at least one or an error, and as many to swap to as fit in `swap_bytes`. Memory
    /// is the operating system's until it is first written.
    pub fn new(bytes: usize, swap_bytes: usize, layout: BlockLayout) -> Result<Self> {
        let block_bytes = layout.len() * size_of::<u16>();
        let num_blocks = bytes / block_bytes;
        let num_swap_blocks = swap_bytes / block_bytes;
        let all = num_blocks.saturating_add(num_swap_blocks);
        if num_blocks == 0 || all > i32::MAX as usize / layout.block_size {
            return Err(Error::new(format!(
                "a KV pool of {bytes} bytes has {num_blocks} blocks of {block_bytes} bytes"
            )));
        }
        Ok(Self {
            data: zeroed(all * layout.len())?,
            layout,
            num_blocks,
            num_swap_blocks,
        })
    }

    /// Copies whole blocks in this order. Both ids are below `num_blocks + num_swap_blocks`: `Batch::check`.
    pub fn copy_blocks(&mut self, copies: impl Iterator<Item = (usize, usize)>) {
        let length = self.layout.len();
        for (source, target) in copies {
            let range = source * length..(source + 1) * length;
            self.data.copy_within(range, target * length);
        }
    }

    /// Seconds that the copy of one block takes, the best of a few; 0 without blocks to swap to.
    pub fn measure_copy(&mut self) -> f64 {
        if self.num_swap_blocks == 0 {
            return 0.0;
        }
        let target = self.num_blocks;
        (0..4)
            .map(|_| {
                let start = Instant::now();
                self.copy_blocks(std::iter::once((0, target)));
                start.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min)
    }

    pub fn num_slots(&self) -> usize {
        self.num_blocks * self.layout.block_size
    }
}
