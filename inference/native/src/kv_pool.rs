//! The memory of keys and values: fixed slots, as f16 bits. Who owns which slot is decided above, in TypeScript.

use crate::error::{Error, Result};

/// One layer's slots: [slot, `num_kv_heads` · `head_dim`] for keys and for values.
pub struct Layer {
    pub keys: Vec<u16>,
    pub values: Vec<u16>,
}

pub struct KvPool {
    pub layers: Vec<Layer>,
    pub num_blocks: usize,
    pub block_size: usize,
}

impl KvPool {
    /// As many blocks as fit in `bytes`; at least one, or an error.
    pub fn new(bytes: usize, block_size: usize, num_layers: usize, stride: usize) -> Result<Self> {
        let block_bytes = Self::bytes_per_token(num_layers, stride) * block_size;
        let num_blocks = bytes / block_bytes;
        if num_blocks == 0 || num_blocks > i32::MAX as usize / block_size {
            return Err(Error::new(format!(
                "a KV pool of {bytes} bytes has {num_blocks} blocks of {block_bytes} bytes"
            )));
        }
        let slots = num_blocks * block_size * stride;
        let layers = (0..num_layers)
            .map(|_| Layer {
                keys: vec![0; slots],
                values: vec![0; slots],
            })
            .collect();
        Ok(Self {
            layers,
            num_blocks,
            block_size,
        })
    }

    pub fn bytes_per_token(num_layers: usize, stride: usize) -> usize {
        num_layers * stride * 2 * size_of::<u16>()
    }

    pub fn num_slots(&self) -> usize {
        self.num_blocks * self.block_size
    }
}
