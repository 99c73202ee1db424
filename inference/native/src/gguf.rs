//! A GGUF file: metadata and tensors by name. Owns the mapping; knows no architecture.
//! Source: the GGUF specification of the ggml project, version 3.

mod header;
mod reader;
mod tensor;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use self::header::Header;
pub use self::header::Value;
pub use self::tensor::{Tensor, TensorType};
use crate::error::{Error, Result};
use crate::huge_pages::{Arena, Buffer, Plain};

pub struct Gguf {
    map: Mmap,
    header: Header,
    /// Where weights are put that are made of the file's: side by side, so that small matrices share huge pages.
    room: RefCell<Arena>,
}

impl Gguf {
    /// Maps and parses a file. Fails with a sentence on anything that is not a sound GGUF file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|cause| Error::new(format!("cannot open the model file: {cause}")))?;
        // SAFETY: the mapping is read-only. A file that another program truncates while it is mapped would fault;
        // weights are written once, by a rename, and never changed in place.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|cause| Error::new(format!("cannot map the model file: {cause}")))?;
        let header = Header::parse(&map)?;
        Ok(Self::of(map, header))
    }

    /// As `open`, from memory.
    #[cfg(test)]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut map = memmap2::MmapMut::map_anon(bytes.len().max(1)).expect("memory for a test");
        map[..bytes.len()].copy_from_slice(bytes);
        let header = Header::parse(&map[..bytes.len()])?;
        Ok(Self::of(
            map.make_read_only().expect("a mapping of our own"),
            header,
        ))
    }

    fn of(map: Mmap, header: Header) -> Self {
        Self {
            map,
            header,
            room: RefCell::new(Arena::default()),
        }
    }

    /// A zeroed buffer for what is made of the file's weights. Fails when there is no memory.
    pub fn room<T: Plain>(&self, len: usize) -> Result<Buffer<T>> {
        self.room.borrow_mut().zeroed(len)
    }

    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.header
            .tensors
            .get(name)
            .ok_or_else(|| Error::new(format!("the model has no tensor {name}")))
    }

    pub fn has_tensor(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// The tensor's bytes, exactly as many as its shape and type ask for.
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        &self.map[tensor.offset..tensor.offset + tensor.len]
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        match self.header.metadata.get(key) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::new(format!("the model has no text {key}"))),
        }
    }

    pub fn texts(&self, key: &str) -> Result<&[String]> {
        match self.header.metadata.get(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => Err(Error::new(format!("the model has no list of texts {key}"))),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&self, key: &str, range: std::ops::RangeInclusive<i128>) -> Result<usize> {
        match self.header.metadata.get(key) {
            Some(Value::Int(value)) if range.contains(value) => Ok(*value as usize),
            Some(Value::Int(value)) => Err(Error::new(format!(
                "{key} is {value}, expected {} to {}",
                range.start(),
                range.end()
            ))),
            _ => Err(Error::new(format!("the model has no number {key}"))),
        }
    }

    pub fn float(&self, key: &str) -> Result<f32> {
        match self.header.metadata.get(key) {
            Some(Value::Float(value)) if value.is_finite() => Ok(*value as f32),
            _ => Err(Error::new(format!("the model has no finite number {key}"))),
        }
    }
}
