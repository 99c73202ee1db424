//! The native half of the engine: weights, KV pool, kernels, sampler, tokenizer. `addon` is the only part that knows Node.

// Only the addon uses the rest, and it is not part of the tests: it needs Node to link.
#![cfg_attr(test, allow(dead_code))]

#[cfg(not(test))]
mod addon;
mod batch;
mod cpu;
mod draft;
mod error;
mod executor;
#[cfg(test)]
mod fuzz;
mod gguf;
mod huge_pages;
mod kernels;
mod kv_pool;
mod matrix;
mod model;
mod sampler;
mod shared;
#[cfg(test)]
mod test_model;
mod threads;
mod tokenizer;
