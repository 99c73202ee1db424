//! The tokens of a file by id: what each is called, and of what kind it is.

use ahash::AHashMap;

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Marks of gemma that some files call user-defined: a user's text must not become one.
const MARKS: [&str; 5] = [
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
];

pub struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<Kind>,
}

impl Vocabulary {
    pub fn load(gguf: &Gguf) -> Result<Self> {
        let tokens = gguf.texts("tokenizer.ggml.tokens")?.to_vec();
        let kinds = match gguf.value("tokenizer.ggml.token_type") {
            None => vec![Kind::Normal; tokens.len()],
            Some(Value::Ints(numbers)) if numbers.len() == tokens.len() => numbers
                .iter()
                .zip(&tokens)
                .map(|(number, token)| kind_of(*number, token))
                .collect(),
            Some(_) => {
                return Err(Error::new(
                    "tokenizer.ggml.token_type does not have one number for each token",
                ));
            }
        };
        Ok(Self { tokens, kinds })
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn get(&self, id: u32) -> Option<(&str, Kind)> {
        let index = id as usize;
        Some((self.tokens.get(index)?, *self.kinds.get(index)?))
    }

    /// Ids, names and kinds in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        let entries = self.tokens.iter().zip(&self.kinds).enumerate();
        entries.map(|(id, (token, kind))| (id as u32, token.as_str(), *kind))
    }

    /// The ids that a text may become, by name as `rename` makes it. The first of a name counts.
    pub fn ids_by_name(&self, rename: impl Fn(&str) -> String) -> AHashMap<String, u32> {
        let mut ids = AHashMap::new();
        for (id, token, kind) in self.iter() {
            if kind != Kind::Control {
                ids.entry(rename(token)).or_insert(id);
            }
        }
        ids
    }

    pub fn control_id(&self, name: &str) -> Option<u32> {
        self.iter()
            .find(|(_, token, kind)| *kind == Kind::Control && *token == name)
            .map(|(id, ..)| id)
    }

    /// `tokenizer.ggml.NAME_token_id`, where the file has it.
    pub fn special_id(&self, gguf: &Gguf, name: &str) -> Option<u32> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let id = gguf.integer(&key, 0..=self.len() as i128 - 1).ok()?;
        Some(id as u32)
    }
}

fn kind_of(number: i64, token: &str) -> Kind {
    match number {
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 if MARKS.contains(&token) || token.starts_with("<unused") => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => Kind::Normal,
    }
}

/// The byte that `<0x0A>` and its like stand for.
pub fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}
