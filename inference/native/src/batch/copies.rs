//! Blocks that are copied before a step writes anything: forks that get a block of their own, sequences swapped out and in.

use crate::error::{Error, Result};
use crate::kv_pool::KvPool;

/// See `BlockCopies` in forward-batch.ts. Made in this order; swap blocks are numbered behind the pool's.
#[derive(Default)]
pub struct Copies {
    pub sources: Vec<i32>,
    pub targets: Vec<i32>,
}

impl Copies {
    /// Fails with the name of the first field that is out of range.
    pub fn check(&self, pool: &KvPool) -> Result<()> {
        let num_blocks = pool.num_blocks + pool.num_swap_blocks;
        let is_block = |id: &i32| *id >= 0 && (*id as usize) < num_blocks;
        if !self.sources.iter().all(is_block) {
            return Err(Error::new("copies.sources is out of range".to_owned()));
        }
        if self.targets.len() != self.sources.len() || !self.targets.iter().all(is_block) {
            return Err(Error::new("copies.targets is out of range".to_owned()));
        }
        Ok(())
    }

    /// Source and target of each.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.sources
            .iter()
            .zip(&self.targets)
            .map(|(source, target)| (*source as usize, *target as usize))
    }
}
