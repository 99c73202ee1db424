//! Reads a file's metadata and tensor table. Every length and offset comes from the file and is checked before it is used.

use std::collections::HashMap;

use super::reader::{Reader, too_large};
use super::tensor::{Tensor, TensorType};
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
const MAX_DIMS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. Integers of all widths are one kind, as are the two float widths.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Int(i128),
    Float(f64),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
}

/// What a file says of itself, checked against its length.
pub struct Header {
    pub metadata: HashMap<String, Value>,
    pub tensors: HashMap<String, Tensor>,
}

impl Header {
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        if reader.take(4)? != MAGIC {
            return Err(Error::new("not a GGUF file: wrong magic"));
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(Error::new(format!(
                "GGUF version {version} is not supported, expected 2 or 3"
            )));
        }
        let num_tensors = reader.count("tensors")?;
        let num_values = reader.count("metadata entries")?;
        let mut metadata = HashMap::new();
        for _ in 0..num_values {
            let key = reader.text()?;
            let kind = reader.u32()?;
            metadata.insert(key, reader.value(kind)?);
        }
        let mut headers = Vec::new();
        for _ in 0..num_tensors {
            headers.push(TensorHeader::read(&mut reader)?);
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Int(value))
                if *value > 0 && *value <= 1 << 20 && (*value & (*value - 1)) == 0 =>
            {
                *value as u64
            }
            None => DEFAULT_ALIGNMENT,
            _ => return Err(Error::new("general.alignment is not a power of two")),
        };
        let start = (reader.at() as u64)
            .checked_next_multiple_of(alignment)
            .ok_or_else(too_large)?;
        let mut tensors = HashMap::new();
        for header in headers {
            let tensor = header.place(start, alignment, bytes.len())?;
            tensors.insert(header.name, tensor);
        }
        Ok(Self { metadata, tensors })
    }
}

struct TensorHeader {
    name: String,
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl TensorHeader {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let name = reader.text()?;
        let num_dims = reader.u32()?;
        if num_dims == 0 || num_dims > MAX_DIMS {
            return Err(Error::new(format!(
                "tensor {name} has {num_dims} dimensions, expected 1 to {MAX_DIMS}"
            )));
        }
        let dims = (0..num_dims)
            .map(|_| reader.u64())
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            name,
            dims,
            kind: reader.u32()?,
            offset: reader.u64()?,
        })
    }

    fn place(&self, start: u64, alignment: u64, file_len: usize) -> Result<Tensor> {
        let name = &self.name;
        let kind = TensorType::from_number(self.kind).ok_or_else(|| {
            Error::new(format!(
                "tensor {name} has type {}, which is not supported",
                self.kind
            ))
        })?;
        let (values, bytes) = kind.block();
        let row_len = *self.dims.first().unwrap_or(&0);
        if row_len == 0 || !row_len.is_multiple_of(values as u64) {
            return Err(Error::new(format!(
                "tensor {name} has rows of {row_len} values, expected a multiple of {values}"
            )));
        }
        let count = self
            .dims
            .iter()
            .try_fold(1_u64, |all, dim| all.checked_mul(*dim))
            .ok_or_else(too_large)?;
        let len = (count / values as u64)
            .checked_mul(bytes as u64)
            .ok_or_else(too_large)?;
        if !self.offset.is_multiple_of(alignment) {
            return Err(Error::new(format!(
                "tensor {name} begins at {}, expected a multiple of {alignment}",
                self.offset
            )));
        }
        let offset = start.checked_add(self.offset).ok_or_else(too_large)?;
        let end = offset.checked_add(len).ok_or_else(too_large)?;
        if count == 0 || end > file_len as u64 {
            return Err(Error::new(format!(
                "tensor {name} ends at byte {end} of a file of {file_len}"
            )));
        }
        let dims = self.dims.iter().map(|dim| *dim as usize).collect();
        Ok(Tensor {
            dims,
            kind,
            offset: offset as usize,
            len: len as usize,
        })
    }
}
