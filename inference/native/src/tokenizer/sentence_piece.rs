//! `SentencePiece`'s BPE: neighbours merge into the piece of the best score until none is known; what is left unknown
//! becomes bytes. Source: Kudo and Richardson 2018.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use ahash::AHashMap;

use super::vocabulary::{Kind, Vocabulary, byte_of};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// Stands for a space.
const SPACE: &str = "▁";

pub struct SentencePiece {
    /// Pieces that symbols merge into: id and score.
    pieces: AHashMap<String, (u32, f32)>,
    /// Pieces that are found in a text before any merge and take no part in one.
    whole: AHashMap<String, u32>,
    /// Lengths in bytes of whole pieces by their first character, longest first.
    whole_lengths: AHashMap<char, Vec<usize>>,
    bytes: [Option<u32>; 256],
    unknown: Option<u32>,
    has_space_before: bool,
}

/// A stretch of the text that is one piece so far; merged away when its length is 0.
struct Symbol {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
    /// Its id, if it is a whole piece.
    whole: Option<u32>,
}

/// Two neighbours that make a piece. It is stale when the length of the two has changed.
struct Merge {
    left: usize,
    right: usize,
    len: usize,
    score: f32,
}

impl Ord for Merge {
    /// The best score first, of equals the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Merge {}

impl SentencePiece {
    pub fn load(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Self> {
        let scores = match gguf.value("tokenizer.ggml.scores") {
            Some(Value::Floats(scores)) if scores.len() == vocabulary.len() => scores,
            _ => {
                return Err(Error::new(
                    "tokenizer.ggml.scores does not have one number for each token",
                ));
            }
        };
        let mut loaded = Self {
            pieces: AHashMap::new(),
            whole: AHashMap::new(),
            whole_lengths: AHashMap::new(),
            bytes: [None; 256],
            unknown: vocabulary.special_id(gguf, "unknown"),
            has_space_before: gguf.value("tokenizer.ggml.add_space_prefix") != Some(&Value::Int(0)),
        };
        for ((id, token, kind), score) in vocabulary.iter().zip(scores) {
            match kind {
                Kind::Normal => {
                    loaded.pieces.insert(token.to_owned(), (id, *score));
                }
                Kind::UserDefined => loaded.add_whole(token, id),
                Kind::Byte => {
                    if let Some(byte) = byte_of(token) {
                        loaded.bytes[byte as usize] = Some(id);
                    }
                }
                Kind::Control | Kind::Unknown | Kind::Unused => {}
            }
        }
        Ok(loaded)
    }

    fn add_whole(&mut self, token: &str, id: u32) {
        let Some(first) = token.chars().next() else {
            return;
        };
        self.whole.insert(token.to_owned(), id);
        let lengths = self.whole_lengths.entry(first).or_default();
        if let Err(at) = lengths.binary_search_by(|len| token.len().cmp(len)) {
            lengths.insert(at, token.len());
        }
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let prefix = if self.has_space_before { SPACE } else { "" };
        let text = prefix.to_owned() + &text.replace(' ', SPACE);
        let mut symbols = self.symbols(&text);
        let mut merges = BinaryHeap::new();
        for right in 1..symbols.len() {
            merges.extend(self.merge(&text, &symbols, right - 1, right));
        }
        while let Some(merge) = merges.pop() {
            let Merge {
                left, right, len, ..
            } = merge;
            if symbols[left].len == 0
                || symbols[right].len == 0
                || symbols[left].len + symbols[right].len != len
            {
                continue;
            }
            symbols[left].len = len;
            symbols[right].len = 0;
            let next = symbols[right].next;
            symbols[left].next = next;
            if let Some(next) = next {
                symbols[next].previous = Some(left);
                merges.extend(self.merge(&text, &symbols, left, next));
            }
            if let Some(previous) = symbols[left].previous {
                merges.extend(self.merge(&text, &symbols, previous, left));
            }
        }
        let mut ids = Vec::new();
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            let piece = &text[symbol.start..symbol.start + symbol.len];
            match symbol.whole.or(self.pieces.get(piece).map(|(id, _)| *id)) {
                Some(id) => ids.push(id),
                None => self.push_bytes(piece, &mut ids),
            }
        }
        ids
    }

    fn symbols(&self, text: &str) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        let mut start = 0;
        while let Some(first) = text[start..].chars().next() {
            let lengths = self.whole_lengths.get(&first).into_iter().flatten();
            let found = lengths
                .filter_map(|len| text.get(start..start + len))
                .find_map(|piece| Some((piece.len(), *self.whole.get(piece)?)));
            let len = found.map_or(first.len_utf8(), |(len, _)| len);
            let index = symbols.len();
            symbols.push(Symbol {
                start,
                len,
                previous: index.checked_sub(1),
                next: (start + len < text.len()).then_some(index + 1),
                whole: found.map(|(_, id)| id),
            });
            start += len;
        }
        symbols
    }

    fn merge(&self, text: &str, symbols: &[Symbol], left: usize, right: usize) -> Option<Merge> {
        let (one, other) = (&symbols[left], &symbols[right]);
        if one.whole.is_some() || other.whole.is_some() {
            return None;
        }
        let len = one.len + other.len;
        let (_, score) = self.pieces.get(&text[one.start..one.start + len])?;
        Some(Merge {
            left,
            right,
            len,
            score: *score,
        })
    }

    /// Its bytes where the vocabulary has all of them, else the id of the unknown.
    fn push_bytes(&self, piece: &str, ids: &mut Vec<u32>) {
        let bytes: Option<Vec<u32>> = piece
            .bytes()
            .map(|byte| self.bytes[byte as usize])
            .collect();
        match bytes {
            Some(bytes) => ids.extend(bytes),
            None => ids.extend(self.unknown),
        }
    }
}
