//! The primitive values of a GGUF file, each read with its length checked.

use super::Value;
use crate::error::{Error, Result};

/// More than any model has; a bound that keeps a hostile header from asking for memory.
const MAX_ENTRIES: u64 = 1 << 20;

/// A position in the bytes of a header; every read moves it on or fails.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len())
            .ok_or_else(truncated)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| truncated())
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn count(&mut self, what: &str) -> Result<u64> {
        let count = self.u64()?;
        if count > MAX_ENTRIES {
            return Err(Error::new(format!(
                "the header announces {count} {what}, at most {MAX_ENTRIES} are read"
            )));
        }
        Ok(count)
    }

    pub fn text(&mut self) -> Result<String> {
        let len = usize::try_from(self.u64()?).map_err(|_| truncated())?;
        String::from_utf8(self.take(len)?.to_vec())
            .map_err(|_| Error::new("a text in the header is not UTF-8"))
    }

    pub fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Int(i128::from(self.array::<1>()?[0])),
            1 => Value::Int(i128::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Int(i128::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Int(i128::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Int(i128::from(self.u32()?)),
            5 => Value::Int(i128::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Int(i128::from(self.array::<1>()?[0] != 0)),
            8 => Value::Text(self.text()?),
            9 => self.list()?,
            10 => Value::Int(i128::from(self.u64()?)),
            11 => Value::Int(i128::from(i64::from_le_bytes(self.array()?))),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(Error::new(format!("metadata of unknown kind {kind}"))),
        })
    }

    /// Lists of lists are refused: nothing uses them, and they could nest without end.
    fn list(&mut self) -> Result<Value> {
        let kind = self.u32()?;
        let len = self.count("list items")?;
        let nested = || Error::new("metadata lists of lists are not supported");
        if kind == 9 {
            return Err(nested());
        }
        let (mut texts, mut ints, mut floats) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..len {
            match self.value(kind)? {
                Value::Text(text) => texts.push(text),
                Value::Int(value) => ints.push(i64::try_from(value).map_err(|_| too_large())?),
                Value::Float(value) => floats.push(value as f32),
                Value::Texts(_) | Value::Ints(_) | Value::Floats(_) => return Err(nested()),
            }
        }
        Ok(match kind {
            8 => Value::Texts(texts),
            6 | 12 => Value::Floats(floats),
            _ => Value::Ints(ints),
        })
    }
}

fn truncated() -> Error {
    Error::new("the model file ends in the middle of its header")
}

pub fn too_large() -> Error {
    Error::new("a size in the model file is too large")
}
