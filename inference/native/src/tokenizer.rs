//! The tokenizer of a GGUF file: byte-level BPE. Control tokens exist by id only: no text ever becomes one.

use ahash::AHashMap;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{PreTokenizerWrapper, Tokenizer as Pipeline};

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// GGUF's mark of a control token.
const CONTROL: i64 = 3;

pub struct Tokenizer {
    pipeline: Pipeline,
    pub vocab: Vec<String>,
    is_control: Vec<bool>,
    pub bos_id: Option<u32>,
    pub eos_id: Option<u32>,
}

impl Tokenizer {
    pub fn load(gguf: &Gguf) -> Result<Self> {
        let model = gguf.text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(Error::new(format!(
                "tokenizer {model} is not supported, expected gpt2 (byte-level BPE)"
            )));
        }
        let vocab = gguf.texts("tokenizer.ggml.tokens")?.to_vec();
        let merges = gguf
            .texts("tokenizer.ggml.merges")?
            .iter()
            .map(|merge| {
                merge
                    .split_once(' ')
                    .map(|(one, other)| (one.to_owned(), other.to_owned()))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::new("a merge of the tokenizer has no space"))?;
        let is_control = match gguf.value("tokenizer.ggml.token_type") {
            Some(Value::Ints(kinds)) if kinds.len() == vocab.len() => {
                kinds.iter().map(|kind| *kind == CONTROL).collect()
            }
            _ => vec![false; vocab.len()],
        };
        let ids: AHashMap<String, u32> = vocab
            .iter()
            .enumerate()
            .map(|(id, token)| (token.clone(), id as u32))
            .collect();
        let bpe = BPE::builder()
            .vocab_and_merges(ids, merges)
            .build()
            .map_err(|cause| Error::new(format!("the tokenizer is not sound: {cause}")))?;
        let mut pipeline = Pipeline::new(bpe);
        pipeline.with_pre_tokenizer(Some(pre_tokenizer(
            gguf.text("tokenizer.ggml.pre").unwrap_or("gpt-2"),
        )?));
        let id = |key: &str| {
            gguf.integer(key, 0..=vocab.len() as i128 - 1)
                .ok()
                .map(|id| id as u32)
        };
        Ok(Self {
            bos_id: id("tokenizer.ggml.bos_token_id"),
            eos_id: id("tokenizer.ggml.eos_token_id"),
            pipeline,
            vocab,
            is_control,
        })
    }

    /// Ids of a text. Deterministic; never a control token. Bytes that the vocabulary has no token for are left out, as
    /// they were when the model was trained.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .pipeline
            .encode_fast(text, false)
            .map_err(|cause| Error::new(format!("the text cannot be tokenised: {cause}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub fn control_id(&self, text: &str) -> Option<u32> {
        self.vocab
            .iter()
            .zip(&self.is_control)
            .position(|(token, control)| *control && token == text)
            .map(|id| id as u32)
    }

    /// The bytes behind a token; none for control tokens.
    pub fn bytes(&self, id: u32) -> Vec<u8> {
        let index = id as usize;
        if self.is_control.get(index).copied().unwrap_or(true) {
            return Vec::new();
        }
        self.vocab[index].chars().filter_map(byte_of).collect()
    }
}

fn pre_tokenizer(name: &str) -> Result<PreTokenizerWrapper> {
    let byte_level = ByteLevel::new(false, true, true);
    match name {
        "smollm" => Ok(Sequence::new(vec![Digits::new(true).into(), byte_level.into()]).into()),
        "gpt-2" | "default" => Ok(byte_level.into()),
        _ => Err(Error::new(format!("pre-tokenizer {name} is not supported"))),
    }
}

/// Byte-level BPE writes each byte as a printable character. Source: the GPT-2 encoder's byte table.
fn byte_of(character: char) -> Option<u8> {
    let code = character as u32;
    let is_plain = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if code < 256 {
        return is_plain(code).then_some(code as u8);
    }
    (0..256_u32)
        .filter(|byte| !is_plain(*byte))
        .nth((code - 256) as usize)
        .map(|byte| byte as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut seen = [false; 256];
        for code in 0..0x200_u32 {
            if let Some(byte) = char::from_u32(code).and_then(byte_of) {
                assert!(!seen[byte as usize]);
                seen[byte as usize] = true;
            }
        }
        assert!(seen.iter().all(|each| *each));
    }
}
