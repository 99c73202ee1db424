//! `WordPiece`, as BERT uses it: lower case without accents, words cut into their longest known beginnings.
//! Source: Devlin et al. 2018 and its published tokenizer.

use tokenizers::Tokenizer as Pipeline;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};

/// What stands for a word that cannot be made of pieces.
const UNKNOWN: &str = "[UNK]";

pub fn load(vocabulary: &Vocabulary) -> Result<Pipeline> {
    let mut ids = vocabulary.ids_by_name(name_of);
    let unknown = vocabulary
        .iter()
        .find(|(_, token, _)| *token == UNKNOWN)
        .ok_or_else(|| Error::new(format!("the tokenizer has no {UNKNOWN}")))?;
    ids.insert(UNKNOWN.to_owned(), unknown.0);
    let pieces = WordPiece::builder()
        .vocab(ids)
        .unk_token(UNKNOWN.to_owned())
        .build()
        .map_err(|cause| Error::new(format!("the tokenizer is not sound: {cause}")))?;
    let mut pipeline = Pipeline::new(pieces);
    pipeline.with_normalizer(Some(BertNormalizer::default()));
    pipeline.with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(pipeline)
}

/// A file marks the beginnings of words, the algorithm what continues them.
fn name_of(token: &str) -> String {
    match token.strip_prefix('▁') {
        Some(word) => word.to_owned(),
        None => format!("##{token}"),
    }
}
