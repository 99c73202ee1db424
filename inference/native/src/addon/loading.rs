//! From a file and a number of bytes to a model with its KV pool.

use std::path::Path;

use napi_derive::napi;

use super::to_napi;
use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::kv_pool::{KvFormat, KvPool};
use crate::matrix::Arithmetic;
use crate::model::Model;
use crate::tokenizer::Tokenizer;

#[napi(object)]
pub struct DraftOptions {
    pub path: String,
    pub kv_pool_bytes: f64,
}

/// What the other side knows of a draft model.
#[napi(object)]
#[derive(Clone)]
pub struct DraftInfo {
    pub name: String,
    pub context_length: u32,
    pub num_blocks: u32,
    pub kv_bytes_per_token: u32,
    pub weights_bytes: f64,
}

pub struct Loaded {
    pub tokenizer: Tokenizer,
    pub model: Model,
    pub pool: KvPool,
}

pub fn load(
    path: &str,
    arithmetic: Arithmetic,
    kv_pool_bytes: f64,
    swap_bytes: f64,
    block_size: u32,
    kv_format: &str,
) -> napi::Result<Loaded> {
    let gguf = Gguf::open(Path::new(path)).map_err(to_napi)?;
    let tokenizer = Tokenizer::load(&gguf).map_err(to_napi)?;
    let model = Model::load(&gguf, arithmetic).map_err(to_napi)?;
    let are_sizes = [kv_pool_bytes, swap_bytes]
        .iter()
        .all(|bytes| bytes.is_finite() && *bytes >= 0.0);
    if block_size == 0 || block_size > 1024 || !are_sizes {
        return Err(to_napi(Error::new(
            "blockSize, kvPoolBytes or swapBytes is out of range",
        )));
    }
    let format = KvFormat::from_name(kv_format)
        .ok_or_else(|| to_napi(Error::new(format!("there is no KV format {kv_format}"))))?;
    let pool = KvPool::new(
        kv_pool_bytes as usize,
        swap_bytes as usize,
        model.shape.block_layout(block_size as usize, format),
    )
    .map_err(to_napi)?;
    Ok(Loaded {
        tokenizer,
        model,
        pool,
    })
}

/// The draft model of `target`, on its threads. Every id must mean the same to both.
pub fn load_draft(
    options: &DraftOptions,
    block_size: u32,
    kv_format: &str,
    tokenizer: &Tokenizer,
    target: &CpuExecutor,
) -> napi::Result<CpuExecutor> {
    let draft = load(
        &options.path,
        target.kernels().arithmetic,
        options.kv_pool_bytes,
        0.0,
        block_size,
        kv_format,
    )?;
    if let Some(difference) = tokenizer.vocabulary_difference(&draft.tokenizer) {
        return Err(to_napi(Error::new(format!(
            "the draft model must have the model's vocabulary, but {} {difference}",
            draft.model.shape.name
        ))));
    }
    if draft.model.shape.vocab_size != target.model().shape.vocab_size {
        return Err(to_napi(Error::new(format!(
            "the draft model gives {} logits, the model {}",
            draft.model.shape.vocab_size,
            target.model().shape.vocab_size
        ))));
    }
    Ok(target.beside(draft.model, draft.pool))
}

pub fn describe_draft(draft: &CpuExecutor) -> DraftInfo {
    let shape = &draft.model().shape;
    DraftInfo {
        name: shape.name.clone(),
        context_length: shape.context_length as u32,
        num_blocks: draft.pool().num_blocks as u32,
        kv_bytes_per_token: draft.pool().layout.bytes_per_token() as u32,
        weights_bytes: draft.model().weights_bytes() as f64,
    }
}
