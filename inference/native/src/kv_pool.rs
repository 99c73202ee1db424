//! The memory of keys and values: fixed slots, as f16 bits. Who owns which slot is decided above, in TypeScript.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::huge_pages::{Arena, Buffer};

/// One layer's slots: [slot, `num_kv_heads` · `head_dim`] for keys and for values.
pub struct Layer {
    pub keys: Buffer<u16>,
    pub values: Buffer<u16>,
}

pub struct KvPool {
    pub layers: Vec<Layer>,
    /// Blocks that sequences run in.
    pub num_blocks: usize,
    /// Blocks behind those, where preempted sequences wait: only copied to and from.
    pub num_swap_blocks: usize,
    pub block_size: usize,
    /// Elements of one slot in one layer.
    stride: usize,
}

impl KvPool {
    /// As many blocks as fit in `bytes`, at least one or an error, and as many to swap to as fit in `swap_bytes`. Memory
    /// is the operating system's until it is first written.
    pub fn new(
        bytes: usize,
        swap_bytes: usize,
        block_size: usize,
        num_layers: usize,
        stride: usize,
    ) -> Result<Self> {
        let block_bytes = Self::bytes_per_token(num_layers, stride) * block_size;
        let num_blocks = bytes / block_bytes;
        let num_swap_blocks = swap_bytes / block_bytes;
        if num_blocks == 0 || num_blocks + num_swap_blocks > i32::MAX as usize / block_size {
            return Err(Error::new(format!(
                "a KV pool of {bytes} bytes has {num_blocks} blocks of {block_bytes} bytes"
            )));
        }
        let slots = (num_blocks + num_swap_blocks) * block_size * stride;
        let mut arena = Arena::with_room(num_layers * 2 * slots * size_of::<u16>())?;
        let layers = (0..num_layers)
            .map(|_| {
                Ok(Layer {
                    keys: arena.zeroed(slots)?,
                    values: arena.zeroed(slots)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            num_blocks,
            num_swap_blocks,
            block_size,
            stride,
        })
    }

    /// Copies whole blocks in this order. Both ids are below `num_blocks + num_swap_blocks`: `Batch::check`.
    pub fn copy_blocks(&mut self, copies: impl Iterator<Item = (usize, usize)>) {
        let length = self.block_size * self.stride;
        for (source, target) in copies {
            let range = source * length..(source + 1) * length;
            for layer in &mut self.layers {
                layer.keys.copy_within(range.clone(), target * length);
                layer.values.copy_within(range.clone(), target * length);
            }
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

    pub fn bytes_per_token(num_layers: usize, stride: usize) -> usize {
        num_layers * stride * 2 * size_of::<u16>()
    }

    pub fn num_slots(&self) -> usize {
        self.num_blocks * self.block_size
    }
}
