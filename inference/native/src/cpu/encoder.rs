//! Embeds many texts in one call. A text's vector is the same bits alone and in any batch: rows are split across threads,
//! never a reduction, and a token sees its own text only.

mod step;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::step::{Step, Workspace};
use super::workspace::Own;
use crate::error::{Error, Result};
use crate::kernels::{Kernels, MAX_ROWS, scratch_len};
use crate::model::EncoderModel;
use crate::threads::Team;

/// Slots of a block of keys and values; a text begins at a block of its own.
const BLOCK_SIZE: usize = 16;
/// Bounds what one call can make us allocate.
const MAX_TOKENS: usize = 1 << 16;

pub struct CpuEncoder {
    model: EncoderModel,
    kernels: Kernels,
    team: Team,
    work: Workspace,
}

/// Texts that are embedded together.
pub struct Texts {
    /// Text `i` is tokens `starts[i]` … `starts[i + 1]`.
    token_ids: Vec<i32>,
    starts: Vec<usize>,
    /// The text of each token.
    text_of: Vec<usize>,
    /// The first KV slot of each text; the last is their number.
    slots: Vec<usize>,
    /// The last position of each token's own text.
    last_positions: Vec<i32>,
    /// Tokens of one text that attend together.
    runs: Vec<Range<usize>>,
}

impl Texts {
    /// Fails with the name of the first field that is out of range.
    fn check(model: &EncoderModel, token_ids: &[i32], starts: &[i32]) -> Result<Self> {
        let is_id = |id: &i32| *id >= 0 && (*id as usize) < model.shape.vocab_size;
        if token_ids.len() > MAX_TOKENS || !token_ids.iter().all(is_id) {
            return Err(Error::new("tokenIds is out of range"));
        }
        let ends = (starts.first(), starts.last());
        let is_length = |pair: &[i32]| {
            let length = i64::from(pair[1]) - i64::from(pair[0]);
            (1..=model.shape.context_length as i64).contains(&length)
        };
        if starts.len() < 2
            || ends != (Some(&0), Some(&(token_ids.len() as i32)))
            || !starts.windows(2).all(is_length)
        {
            return Err(Error::new("starts is out of range"));
        }
        let mut texts = Self {
            token_ids: token_ids.to_vec(),
            starts: starts.iter().map(|start| *start as usize).collect(),
            text_of: Vec::new(),
            slots: vec![0],
            last_positions: Vec::new(),
            runs: Vec::new(),
        };
        for text in 0..texts.len() {
            let tokens = texts.tokens(text);
            let last = tokens.len() as i32 - 1;
            texts.text_of.resize(tokens.end, text);
            texts.last_positions.resize(tokens.end, last);
            let slots = texts.slots[text] + tokens.len().next_multiple_of(BLOCK_SIZE);
            texts.slots.push(slots);
            let starts = tokens.clone().step_by(MAX_ROWS);
            let runs = starts.map(|start| start..tokens.end.min(start + MAX_ROWS));
            texts.runs.extend(runs);
        }
        Ok(texts)
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    fn tokens(&self, text: usize) -> Range<usize> {
        self.starts[text]..self.starts[text + 1]
    }

    fn position(&self, token: usize) -> usize {
        token - self.starts[self.text_of[token]]
    }

    fn slot(&self, token: usize) -> usize {
        self.slots[self.text_of[token]] + self.position(token)
    }

    fn num_slots(&self) -> usize {
        self.slots.last().copied().unwrap_or(0)
    }
}

impl CpuEncoder {
    pub fn new(model: EncoderModel, kernels: Kernels, num_threads: usize) -> Self {
        let team = Team::new(num_threads);
        Self {
            work: Workspace::new(team.len()),
            model,
            kernels,
            team,
        }
    }

    /// Vectors of length 1, [text, width]. Text `i` is tokens `starts[i]` … `starts[i + 1]`, its first and last marks
    /// included.
    pub fn embed(&mut self, token_ids: &[i32], starts: &[i32]) -> Result<Vec<f32>> {
        let texts = Texts::check(&self.model, token_ids, starts)?;
        self.work.fit(&self.kernels, &self.model.shape, &texts);
        self.team.run(&|member| {
            Step {
                model: &self.model,
                kernels: &self.kernels,
                texts: &texts,
                work: &self.work,
                member,
            }
            .run();
        });
        // SAFETY: the team is done; nobody writes.
        let vectors = unsafe {
            self.work
                .vectors
                .slice(0, texts.len() * self.model.shape.width)
        };
        Ok(vectors.to_vec())
    }
}

/// Room in a thread's scratch for one run of one head.
fn fit_own(own: &mut Own, head_dim: usize, context_length: usize) {
    own.scores
        .grow(MAX_ROWS * context_length.next_multiple_of(BLOCK_SIZE));
    own.heads.grow(MAX_ROWS * head_dim);
    own.span.grow(scratch_len(head_dim));
}
