//! The thin surface to Node: same names and order as native.ts. Steps run on a thread of their own; one is under way at
//! most, and its outcome comes back through one callback given at load.

// Node hands values over; the macros want them owned.
#![allow(clippy::needless_pass_by_value)]

mod embedder;
mod loading;
mod transfer;
mod vocabulary;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use napi::bindgen_prelude::{Float32Array, FnArgs, Function, Int32Array, Uint8Array, Uint32Array};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use self::loading::{DraftInfo, DraftOptions, Loaded, describe_draft, load, load_draft};
use self::transfer::{ForwardBatch, copied};
use crate::batch::Batch;
use crate::cpu::CpuExecutor;
use crate::draft::propose;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::kernels::Kernels;
use crate::matrix::Arithmetic;
use crate::tokenizer::Tokenizer;

type StepResult = (
    Option<String>,
    Option<Int32Array>,
    Option<Float32Array>,
    Option<Logprobs>,
);
type Outcome = FnArgs<StepResult>;
type StepCallback = ThreadsafeFunction<Outcome, (), Outcome, napi::Status, false>;

#[napi(object)]
pub struct LoadOptions {
    pub path: String,
    pub kv_pool_bytes: f64,
    /// Bytes of memory beside the pool that preempted sequences are copied to; 0 = none
    pub swap_bytes: f64,
    pub block_size: u32,
    /// `f16` or `q8`, of the draft model's pool as well
    pub kv_format: String,
    /// 0 = one for each core
    pub threads: u32,
    /// `blocks`, `rows`, or `fastest`, see `Kernels::fastest`; the draft model's too
    pub arithmetic: String,
    /// A kernel set by name, for comparisons; empty = the widest
    pub kernels: String,
    pub draft: Option<DraftOptions>,
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
    pub arithmetic: String,
    pub kernels: String,
    pub threads: u32,
    pub num_blocks: u32,
    pub num_swap_blocks: u32,
    pub block_copy_ms: f64,
    pub kv_bytes_per_token: u32,
    pub weights_bytes: f64,
    pub draft: Option<DraftInfo>,
}

/// What the engine's thread is asked for.
enum Step {
    /// A batch, and whether its logits are wanted.
    Forward(Batch, bool),
    /// Guesses of the draft model, so many for each sequence.
    Propose(Batch, Vec<u32>),
}

struct Executors {
    target: CpuExecutor,
    draft: Option<CpuExecutor>,
    block_size: usize,
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
    steps: Option<Sender<Step>>,
    thread: Option<JoinHandle<()>>,
}

#[napi]
impl NativeModel {
    /// `onStep(error, sampledIds, logits, logprobs)` hears of every step, on the JS thread.
    #[napi(constructor)]
    pub fn new(options: LoadOptions, on_step: Function<'_, Outcome, ()>) -> napi::Result<Self> {
        let on_step: StepCallback = on_step.build_threadsafe_function().build()?;
        let arithmetic = arithmetic_named(&options.arithmetic)?;
        let kernels = kernels_named(arithmetic, &options.kernels)?;
        let Loaded {
            tokenizer,
            model,
            mut pool,
        } = load(
            &options.path,
            arithmetic,
            options.kv_pool_bytes,
            options.swap_bytes,
            options.block_size,
            &options.kv_format,
        )?;
        let block_copy_ms = pool.measure_copy() * 1000.0;
        let threads = num_threads(options.threads);
        let executor = CpuExecutor::new(model, pool, kernels, threads);
        let draft = options
            .draft
            .map(|draft| {
                load_draft(
                    &draft,
                    options.block_size,
                    &options.kv_format,
                    &tokenizer,
                    &executor,
                )
            })
            .transpose()?;
        let info = ModelInfo {
            draft: draft.as_ref().map(describe_draft),
            ..describe(&executor, &tokenizer, threads, block_copy_ms)
        };
        let executors = Executors {
            target: executor,
            draft,
            block_size: options.block_size as usize,
        };
        let (steps, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("engine-0".to_owned())
            .spawn(move || serve(executors, &inbox, &on_step))?;
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
        self.send(Step::Forward(copied(&batch), wants_logits))
    }

    /// Queues the draft model's turn; the batch is copied. Its outcome has guesses for sampled ids.
    #[napi]
    pub fn propose(&self, batch: ForwardBatch, counts: Uint32Array) -> napi::Result<()> {
        self.send(Step::Propose(copied(&batch), counts.to_vec()))
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

impl NativeModel {
    fn send(&self, step: Step) -> napi::Result<()> {
        let steps = self
            .steps
            .as_ref()
            .ok_or_else(|| to_napi(Error::new("the model is closed")))?;
        steps
            .send(step)
            .map_err(|_| to_napi(Error::new("the engine thread is gone")))
    }
}

impl Drop for NativeModel {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(mut executors: Executors, inbox: &Receiver<Step>, on_step: &StepCallback) {
    while let Ok(step) = inbox.recv() {
        let outcome = executors
            .run(step)
            .unwrap_or_else(|error| (Some(error.to_string()), None, None, None));
        on_step.call(
            FnArgs::from(outcome),
            ThreadsafeFunctionCallMode::NonBlocking,
        );
    }
}

impl Executors {
    fn run(&mut self, step: Step) -> Result<StepResult> {
        match step {
            Step::Forward(batch, wants_logits) => {
                let output = self.target.forward(&batch, wants_logits)?;
                Ok((
                    None,
                    Some(ids_of(output.sampled_ids)),
                    output.logits.map(Float32Array::new),
                    output.logprobs.map(|found| Logprobs {
                        sampled: Float32Array::new(found.sampled),
                        max_top: batch.max_top() as u32,
                        top_ids: Int32Array::new(found.top_ids),
                        top_values: Float32Array::new(found.top_values),
                    }),
                ))
            }
            Step::Propose(batch, counts) => {
                let draft = self.draft.as_mut();
                let draft = draft.ok_or_else(|| Error::new("the model has no draft model"))?;
                let guesses = propose(draft, batch, &counts, self.block_size)?;
                Ok((None, Some(ids_of(guesses)), None, None))
            }
        }
    }
}

fn ids_of(ids: Vec<u32>) -> Int32Array {
    Int32Array::new(ids.into_iter().map(|id| id as i32).collect())
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
        arithmetic: executor.kernels().arithmetic.name().to_owned(),
        kernels: executor.kernels().name.to_owned(),
        threads: threads as u32,
        num_blocks: executor.pool().num_blocks as u32,
        num_swap_blocks: executor.pool().num_swap_blocks as u32,
        block_copy_ms,
        kv_bytes_per_token: executor.pool().layout.bytes_per_token() as u32,
        weights_bytes: executor.model().weights_bytes() as f64,
        draft: None,
    }
}

/// 0 = one for each core.
fn num_threads(wanted: u32) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads.min(256) as usize,
    }
}

fn arithmetic_named(name: &str) -> napi::Result<Arithmetic> {
    if name == "fastest" {
        return Ok(Kernels::fastest());
    }
    let all = [Arithmetic::Blocks, Arithmetic::Rows].into_iter();
    let mut named = all.filter(|each| each.name() == name);
    named
        .next()
        .ok_or_else(|| to_napi(Error::new(format!("there is no arithmetic {name}"))))
}

/// Empty = the widest set.
fn kernels_named(arithmetic: Arithmetic, name: &str) -> napi::Result<Kernels> {
    let wanted = Some(name).filter(|name| !name.is_empty());
    Kernels::detect(arithmetic, wanted).ok_or_else(|| {
        to_napi(Error::new(format!(
            "this processor has no kernels named {name}"
        )))
    })
}

fn to_napi(error: Error) -> napi::Error {
    napi::Error::new(napi::Status::InvalidArg, error.to_string())
}
