//! The encoder's surface to Node: one call a batch, on a thread of Node's pool.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{AsyncTask, Float32Array, Int32Array};
use napi::{Env, Task};
use napi_derive::napi;

use super::{kernels_named, num_threads, to_napi};
use crate::cpu::encoder::CpuEncoder;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::matrix::Arithmetic;
use crate::model::EncoderModel;
use crate::tokenizer::Tokenizer;

#[napi(object)]
pub struct EmbedderOptions {
    pub path: String,
    /// 0 = one for each core
    pub threads: u32,
    /// A kernel set by name, for comparisons; empty = the widest
    pub kernels: String,
}

#[napi(object)]
#[derive(Clone)]
pub struct EmbedderInfo {
    pub name: String,
    pub width: u32,
    pub context_length: u32,
    pub vocab_size: u32,
    pub kernels: String,
    pub threads: u32,
    pub weights_bytes: f64,
}

#[napi]
pub struct NativeEmbedder {
    info: EmbedderInfo,
    tokenizer: Tokenizer,
    /// Begin and end every text.
    marks: [u32; 2],
    /// None once it is closed; a batch under way holds its own.
    encoder: Option<Arc<Mutex<CpuEncoder>>>,
}

#[napi]
impl NativeEmbedder {
    #[napi(constructor)]
    pub fn new(options: EmbedderOptions) -> napi::Result<Self> {
        let gguf = Gguf::open(Path::new(&options.path)).map_err(to_napi)?;
        let model = EncoderModel::load(&gguf).map_err(to_napi)?;
        let tokenizer = Tokenizer::load(&gguf).map_err(to_napi)?;
        let marks = tokenizer.text_marks(&gguf).map_err(to_napi)?;
        let kernels = kernels_named(Arithmetic::Blocks, &options.kernels)?;
        let threads = num_threads(options.threads);
        let shape = model.shape.clone();
        let info = EmbedderInfo {
            name: shape.name,
            width: shape.width as u32,
            context_length: shape.context_length as u32,
            vocab_size: shape.vocab_size as u32,
            kernels: kernels.name.to_owned(),
            threads: threads as u32,
            weights_bytes: model.weights_bytes() as f64,
        };
        let encoder = CpuEncoder::new(model, kernels, threads);
        Ok(Self {
            info,
            tokenizer,
            marks,
            encoder: Some(Arc::new(Mutex::new(encoder))),
        })
    }

    #[napi(getter)]
    pub fn info(&self) -> EmbedderInfo {
        self.info.clone()
    }

    /// Ids of a text between its two marks; what goes beyond the context length is cut off.
    #[napi]
    pub fn encode(&self, text: String) -> napi::Result<Int32Array> {
        let mut ids = self.tokenizer.encode(&text).map_err(to_napi)?;
        ids.truncate((self.info.context_length as usize).saturating_sub(self.marks.len()));
        let all = [self.marks[0]]
            .into_iter()
            .chain(ids)
            .chain([self.marks[1]]);
        Ok(Int32Array::new(all.map(|id| id as i32).collect()))
    }

    /// Text `i` is tokens `starts[i]` … `starts[i + 1]`; both are copied. Resolves to [text, width], vectors of length 1.
    #[napi(ts_return_type = "Promise<Float32Array>")]
    pub fn embed(
        &self,
        token_ids: Int32Array,
        starts: Int32Array,
    ) -> napi::Result<AsyncTask<EmbedTask>> {
        let encoder = self.encoder.clone();
        Ok(AsyncTask::new(EmbedTask {
            encoder: encoder.ok_or_else(|| to_napi(Error::new("the model is closed")))?,
            token_ids: token_ids.to_vec(),
            starts: starts.to_vec(),
        }))
    }

    /// Frees the model once no batch is under way. Later calls do nothing.
    #[napi]
    pub fn close(&mut self) {
        self.encoder = None;
    }
}

pub struct EmbedTask {
    encoder: Arc<Mutex<CpuEncoder>>,
    token_ids: Vec<i32>,
    starts: Vec<i32>,
}

impl Task for EmbedTask {
    type Output = Vec<f32>;
    type JsValue = Float32Array;

    fn compute(&mut self) -> napi::Result<Vec<f32>> {
        let mut encoder = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        encoder
            .embed(&self.token_ids, &self.starts)
            .map_err(to_napi)
    }

    fn resolve(&mut self, _env: Env, vectors: Vec<f32>) -> napi::Result<Float32Array> {
        Ok(Float32Array::new(vectors))
    }
}
