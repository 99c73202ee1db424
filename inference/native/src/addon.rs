//! The thin surface to Node: same names and order as native.ts. Steps run on a thread of their own; one is under way at
//! most, and its outcome comes back through one callback given at load.

// Node hands values over; the macros want them owned.
#![allow(clippy::needless_pass_by_value)]

mod embedder;
mod transfer;
mod vocabulary;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use napi::bindgen_prelude::{Float32Array, FnArgs, Function, Int32Array, Uint8Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use self::transfer::{ForwardBatch, copied};
use crate::batch::Batch;
use crate::cpu::CpuExecutor;
use crate::error::Error;
use crate::executor::Executor;
use crate::gguf::Gguf;
use crate::kernels::Kernels;
use crate::kv_pool::KvPool;
use crate::model::Model;
use crate::tokenizer::Tokenizer;

type Outcome = FnArgs<(
    Option<String>,
    Option<Int32Array>,
    Option<Float32Array>,
    Option<Logprobs>,
)>;
type StepCallback = ThreadsafeFunction<Outcome, (), Outcome, napi::Status, false>;

#[napi(object)]
pub struct LoadOptions {
    pub path: String,
    pub kv_pool_bytes: f64,
    /// Bytes of memory beside the pool that preempted sequences are copied to; 0 = none
    pub swap_bytes: f64,
    pub block_size: u32,
    /// 0 = one for each core
    pub threads: u32,
    /// A kernel set by name, for comparisons; empty = the widest
    pub kernels: String,
}

#[napi(object)]
#[derive(Clone)]
pub struct ModelInfo {
    pub name: String,
    pub architecture: String,
    pub context_length: u32,
    pub vocab_size: u32,
    pub num_layers: u32,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: Option<u32>,
    pub kernels: String,
    pub threads: u32,
    pub num_blocks: u32,
    pub num_swap_blocks: u32,
    pub block_copy_ms: f64,
    pub kv_bytes_per_token: u32,
    pub weights_bytes: f64,
}

#[napi(object)]
pub struct Logprobs {
    pub sampled: Float32Array,
    pub max_top: u32,
    pub top_ids: Int32Array,
    pub top_values: Float32Array,
}

#[napi]
pub struct NativeModel {
    info: ModelInfo,
    tokenizer: Tokenizer,
    steps: Option<Sender<(Batch, bool)>>,
    thread: Option<JoinHandle<()>>,
}

#[napi]
impl NativeModel {
    /// `onStep(error, sampledIds, logits, logprobs)` hears of every step, on the JS thread.
    #[napi(constructor)]
    pub fn new(options: LoadOptions, on_step: Function<'_, Outcome, ()>) -> napi::Result<Self> {
        let on_step: StepCallback = on_step.build_threadsafe_function().build()?;
        let gguf = Gguf::open(Path::new(&options.path)).map_err(to_napi)?;
        let tokenizer = Tokenizer::load(&gguf).map_err(to_napi)?;
        let model = Model::load(&gguf).map_err(to_napi)?;
        if options.block_size == 0
            || options.block_size > 1024
            || !options.kv_pool_bytes.is_finite()
            || options.kv_pool_bytes < 0.0
            || !options.swap_bytes.is_finite()
            || options.swap_bytes < 0.0
        {
            return Err(to_napi(Error::new(
                "blockSize, kvPoolBytes or swapBytes is out of range",
            )));
        }
        let mut pool = KvPool::new(
            options.kv_pool_bytes as usize,
            options.swap_bytes as usize,
            model.shape.block_layout(options.block_size as usize),
        )
        .map_err(to_napi)?;
        let block_copy_ms = pool.measure_copy() * 1000.0;
        let threads = num_threads(options.threads);
        let kernels = kernels_named(&options.kernels)?;
        let executor = CpuExecutor::new(model, pool, kernels, threads);
        let info = describe(&executor, &tokenizer, threads, block_copy_ms);
        let (steps, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("engine-0".to_owned())
            .spawn(move || serve(executor, &inbox, &on_step))?;
        Ok(Self {
            info,
            tokenizer,
            steps: Some(steps),
            thread: Some(thread),
        })
    }

    #[napi(getter)]
    pub fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    /// Queues one step; the batch is copied.
    #[napi]
    pub fn forward(&self, batch: ForwardBatch, wants_logits: bool) -> napi::Result<()> {
        let steps = self
            .steps
            .as_ref()
            .ok_or_else(|| to_napi(Error::new("the model is closed")))?;
        steps
            .send((copied(&batch), wants_logits))
            .map_err(|_| to_napi(Error::new("the engine thread is gone")))
    }

    #[napi]
    pub fn encode(&self, text: String) -> napi::Result<Int32Array> {
        vocabulary::encode(&self.tokenizer, &text)
    }

    /// Bytes of every token one after the other; token i is bytes `offsets[i]` to `offsets[i + 1]`.
    #[napi]
    pub fn token_bytes(&self) -> Uint8Array {
        vocabulary::token_bytes(&self.tokenizer)
    }

    #[napi]
    pub fn token_offsets(&self) -> Int32Array {
        vocabulary::token_offsets(&self.tokenizer)
    }

    #[napi]
    pub fn control_token_id(&self, text: String) -> Option<u32> {
        self.tokenizer.control_id(&text)
    }

    /// Ends the engine thread after the step under way and frees weights and pool. Later calls do nothing.
    #[napi]
    pub fn close(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for NativeModel {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(mut executor: CpuExecutor, inbox: &Receiver<(Batch, bool)>, on_step: &StepCallback) {
    while let Ok((batch, wants_logits)) = inbox.recv() {
        let max_top = batch.max_top() as u32;
        let outcome = match executor.forward(&batch, wants_logits) {
            Ok(output) => {
                let ids = output.sampled_ids.into_iter().map(|id| id as i32).collect();
                (
                    None,
                    Some(Int32Array::new(ids)),
                    output.logits.map(Float32Array::new),
                    output.logprobs.map(|found| Logprobs {
                        sampled: Float32Array::new(found.sampled),
                        max_top,
                        top_ids: Int32Array::new(found.top_ids),
                        top_values: Float32Array::new(found.top_values),
                    }),
                )
            }
            Err(error) => (Some(error.to_string()), None, None, None),
        };
        on_step.call(
            FnArgs::from(outcome),
            ThreadsafeFunctionCallMode::NonBlocking,
        );
    }
}

fn describe(
    executor: &CpuExecutor,
    tokenizer: &Tokenizer,
    threads: usize,
    block_copy_ms: f64,
) -> ModelInfo {
    let shape = &executor.model().shape;
    ModelInfo {
        name: shape.name.clone(),
        architecture: shape.architecture.name().to_owned(),
        context_length: shape.context_length as u32,
        vocab_size: shape.vocab_size as u32,
        num_layers: shape.num_layers as u32,
        bos_token_id: tokenizer.bos_id,
        eos_token_id: tokenizer.eos_id,
        kernels: executor.kernels().name.to_owned(),
        threads: threads as u32,
        num_blocks: executor.pool().num_blocks as u32,
        num_swap_blocks: executor.pool().num_swap_blocks as u32,
        block_copy_ms,
        kv_bytes_per_token: executor.pool().layout.bytes_per_token() as u32,
        weights_bytes: executor.model().weights_bytes() as f64,
    }
}

/// 0 = one for each core.
fn num_threads(wanted: u32) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads.min(256) as usize,
    }
}

/// Empty = the widest set.
fn kernels_named(name: &str) -> napi::Result<Kernels> {
    let wanted = Some(name).filter(|name| !name.is_empty());
    Kernels::detect(wanted).ok_or_else(|| {
        to_napi(Error::new(format!(
            "this processor has no kernels named {name}"
        )))
    })
}

fn to_napi(error: Error) -> napi::Error {
    napi::Error::new(napi::Status::InvalidArg, error.to_string())
}
