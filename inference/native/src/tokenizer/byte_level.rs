//! Byte-level BPE, as GPT-2 introduced it. Families differ in how they cut a text before the merges.

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Pipeline};

use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Contractions, words with the character before them, numbers of 1 to N digits, marks, line ends, spaces. Source: the
/// tokenizer files published with llama 3 and qwen 2.
const CUT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What `tokenizer.ggml.pre` names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Gpt2,
    SmolLm,
    Llama3,
    Qwen2,
}

impl Family {
    fn from_name(name: &str) -> Result<Self> {
        match name {
            "gpt-2" | "default" => Ok(Self::Gpt2),
            "smollm" => Ok(Self::SmolLm),
            "llama-bpe" => Ok(Self::Llama3),
            "qwen2" => Ok(Self::Qwen2),
            _ => Err(Error::new(format!(
                "pre-tokenizer {name} is not supported, expected gpt-2, smollm, llama-bpe or qwen2"
            ))),
        }
    }

    fn pre_tokenizer(self) -> Result<PreTokenizerWrapper> {
        let cut_by_itself = ByteLevel::new(false, true, true);
        let cut_before = ByteLevel::new(false, true, false);
        let digits = match self {
            Self::Gpt2 => return Ok(cut_by_itself.into()),
            Self::SmolLm => {
                let digits = Digits::new(true);
                return Ok(Sequence::new(vec![digits.into(), cut_by_itself.into()]).into());
            }
            Self::Llama3 => "3",
            Self::Qwen2 => "1",
        };
        let pattern = SplitPattern::Regex(CUT.replace("{1,N}", &format!("{{1,{digits}}}")));
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|cause| Error::new(format!("the pre-tokenizer is not sound: {cause}")))?;
        Ok(Sequence::new(vec![split.into(), cut_before.into()]).into())
    }
}

pub fn load(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Pipeline> {
    let family = Family::from_name(gguf.text("tokenizer.ggml.pre").unwrap_or("gpt-2"))?;
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
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary.ids_by_name(str::to_owned), merges)
        // Llama 3 was trained to take a word that is a token as it is.
        .ignore_merges(family == Family::Llama3)
        .build()
        .map_err(|cause| Error::new(format!("the tokenizer is not sound: {cause}")))?;
    let mut pipeline = Pipeline::new(bpe);
    if family == Family::Qwen2 {
        pipeline.with_normalizer(Some(NFC));
    }
    pipeline.with_pre_tokenizer(Some(family.pre_tokenizer()?));
    Ok(pipeline)
}

/// The bytes that a token's characters stand for.
pub fn bytes(token: &str) -> Vec<u8> {
    token.chars().filter_map(byte_of).collect()
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
