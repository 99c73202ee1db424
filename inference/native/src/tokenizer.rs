//! The tokenizer of a GGUF file. Control tokens exist by id only: no text ever becomes one.

mod byte_level;
mod sentence_piece;
#[cfg(test)]
mod tests;
mod vocabulary;
mod word_piece;

use tokenizers::Tokenizer as Pipeline;

use self::sentence_piece::SentencePiece;
use self::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// How text becomes pieces, and what the names of pieces stand for.
enum Pieces {
    /// Byte-level BPE: each byte is written as one printable character.
    ByteLevel(Pipeline),
    SentencePiece(Box<SentencePiece>),
    /// Lower-cased words and their ends.
    WordPiece(Pipeline),
}

pub struct Tokenizer {
    pieces: Pieces,
    vocabulary: Vocabulary,
    pub bos_id: Option<u32>,
    pub eos_id: Option<u32>,
}

impl Tokenizer {
    pub fn load(gguf: &Gguf) -> Result<Self> {
        let vocabulary = Vocabulary::load(gguf)?;
        let pieces = match gguf.text("tokenizer.ggml.model")? {
            "gpt2" => Pieces::ByteLevel(byte_level::load(gguf, &vocabulary)?),
            "llama" => Pieces::SentencePiece(Box::new(SentencePiece::load(gguf, &vocabulary)?)),
            "bert" => Pieces::WordPiece(word_piece::load(&vocabulary)?),
            model => {
                return Err(Error::new(format!(
                    "tokenizer {model} is not supported, expected gpt2 (byte-level BPE), llama (SentencePiece) or bert (WordPiece)"
                )));
            }
        };
        Ok(Self {
            bos_id: vocabulary.special_id(gguf, "bos"),
            eos_id: vocabulary.special_id(gguf, "eos"),
            pieces,
            vocabulary,
        })
    }

    /// The first difference between the vocabularies, as a sentence about `other`'s; none when every id means the same in both.
    pub fn vocabulary_difference(&self, other: &Self) -> Option<String> {
        let (own, others) = (&self.vocabulary, &other.vocabulary);
        if own.len() != others.len() {
            return Some(format!("has {} tokens, not {}", others.len(), own.len()));
        }
        own.iter()
            .zip(others.iter())
            .find(|(one, another)| one != another)
            .map(|((id, token, kind), (_, other, other_kind))| {
                format!("has {other_kind:?} {other:?} as token {id}, not {kind:?} {token:?}")
            })
    }

    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// Ids of a text. Deterministic; never a control token. Bytes that the vocabulary has no token for are left out, as
    /// they were when the model was trained; a model of words has an id for unknown ones.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.pieces {
            Pieces::SentencePiece(pieces) => Ok(pieces.encode(text)),
            Pieces::ByteLevel(pipeline) | Pieces::WordPiece(pipeline) => pipeline
                .encode_fast(text, false)
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|cause| Error::new(format!("the text cannot be tokenised: {cause}"))),
        }
    }

    /// What goes before and behind a text that is embedded.
    pub fn text_marks(&self, gguf: &Gguf) -> Result<[u32; 2]> {
        // The second key is spelled as the format spells it.
        let keys = [("cls", "bos"), ("seperator", "eos")];
        let ids = keys.map(|(name, older)| {
            let id = self.vocabulary.special_id(gguf, name);
            id.or_else(|| self.vocabulary.special_id(gguf, older))
        });
        match ids {
            [Some(first), Some(last)] => Ok([first, last]),
            _ => Err(Error::new(
                "the model has no tokenizer.ggml.cls_token_id or seperator_token_id",
            )),
        }
    }

    /// The id of a token that no text becomes.
    pub fn control_id(&self, name: &str) -> Option<u32> {
        self.vocabulary.control_id(name)
    }

    /// The bytes behind a token; none for control tokens, which are no text.
    pub fn bytes(&self, id: u32) -> Vec<u8> {
        let Some((token, kind)) = self.vocabulary.get(id) else {
            return Vec::new();
        };
        match (kind, &self.pieces) {
            (Kind::Control | Kind::Unknown | Kind::Unused, _) => Vec::new(),
            (Kind::Byte, _) => vocabulary::byte_of(token).into_iter().collect(),
            (Kind::Normal, Pieces::ByteLevel(_)) => byte_level::bytes(token),
            (_, Pieces::SentencePiece(_)) => token.replace('▁', " ").into_bytes(),
            _ => token.as_bytes().to_vec(),
        }
    }
}
