//! A vocabulary alone, for pools whose model is on another server: the file's header is read, its weights are not.

use std::path::Path;

use napi::bindgen_prelude::{Int32Array, Uint8Array};
use napi_derive::napi;

use super::to_napi;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::tokenizer::Tokenizer;

#[napi(object)]
#[derive(Clone)]
pub struct VocabularyInfo {
    pub name: String,
    pub architecture: String,
    pub vocab_size: u32,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: Option<u32>,
}

#[napi]
pub struct NativeVocabulary {
    info: VocabularyInfo,
    /// None once it is closed.
    tokenizer: Option<Tokenizer>,
}

#[napi]
impl NativeVocabulary {
    /// The architecture may be one that the engine does not run, and the file may have no tensors.
    #[napi(constructor)]
    pub fn new(path: String) -> napi::Result<Self> {
        let gguf = Gguf::open(Path::new(&path)).map_err(to_napi)?;
        let tokenizer = Tokenizer::load(&gguf).map_err(to_napi)?;
        let info = VocabularyInfo {
            name: gguf.text("general.name").unwrap_or("unnamed").to_owned(),
            architecture: gguf
                .text("general.architecture")
                .map_err(to_napi)?
                .to_owned(),
            vocab_size: tokenizer.vocab_size() as u32,
            bos_token_id: tokenizer.bos_id,
            eos_token_id: tokenizer.eos_id,
        };
        Ok(Self {
            info,
            tokenizer: Some(tokenizer),
        })
    }

    #[napi(getter)]
    pub fn info(&self) -> VocabularyInfo {
        self.info.clone()
    }

    #[napi]
    pub fn encode(&self, text: String) -> napi::Result<Int32Array> {
        encode(self.tokenizer()?, &text)
    }

    #[napi]
    pub fn token_bytes(&self) -> napi::Result<Uint8Array> {
        Ok(token_bytes(self.tokenizer()?))
    }

    #[napi]
    pub fn token_offsets(&self) -> napi::Result<Int32Array> {
        Ok(token_offsets(self.tokenizer()?))
    }

    #[napi]
    pub fn control_token_id(&self, text: String) -> napi::Result<Option<u32>> {
        Ok(self.tokenizer()?.control_id(&text))
    }

    /// Frees the vocabulary; later calls fail.
    #[napi]
    pub fn close(&mut self) {
        self.tokenizer = None;
    }

    fn tokenizer(&self) -> napi::Result<&Tokenizer> {
        self.tokenizer
            .as_ref()
            .ok_or_else(|| to_napi(Error::new("the vocabulary is closed")))
    }
}

pub fn encode(tokenizer: &Tokenizer, text: &str) -> napi::Result<Int32Array> {
    let ids = tokenizer.encode(text).map_err(to_napi)?;
    Ok(Int32Array::new(
        ids.into_iter().map(|id| id as i32).collect(),
    ))
}

/// Bytes of every token one after the other; token i is bytes `offsets[i]` to `offsets[i + 1]`.
pub fn token_bytes(tokenizer: &Tokenizer) -> Uint8Array {
    Uint8Array::new(
        (0..tokenizer.vocab_size() as u32)
            .flat_map(|id| tokenizer.bytes(id))
            .collect(),
    )
}

pub fn token_offsets(tokenizer: &Tokenizer) -> Int32Array {
    let mut offsets = vec![0];
    let mut end = 0;
    for id in 0..tokenizer.vocab_size() as u32 {
        end += tokenizer.bytes(id).len() as i32;
        offsets.push(end);
    }
    Int32Array::new(offsets)
}
