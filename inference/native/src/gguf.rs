//! Reads a GGUF file: header, metadata, tensor table. Owns the mapping; knows no architecture.
//! Every length and offset comes from the file and is checked before it is used.
//! Source: the GGUF specification of the ggml project, version 3.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
/// More than any model has; a bound that keeps a hostile header from asking for memory.
const MAX_ENTRIES: u64 = 1 << 20;
const MAX_DIMS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. Integers of all widths are one kind, as are the two float widths.
#[derive(Debug, Clone)]
pub enum Value {
    Int(i128),
    Float(f64),
    Text(String),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    /// Arrays of kinds that nothing here reads.
    Other,
}

/// Storage types that can be loaded, by their GGUF number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q8_0,
}

impl TensorType {
    fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Q4_0),
            3 => Some(Self::Q4_1),
            8 => Some(Self::Q8_0),
            _ => None,
        }
    }

    /// (values, bytes) of one block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q8_0 => (32, 34),
        }
    }
}

/// One tensor: `dims[0]` is the length of a row, `dims[1]` the number of rows.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub kind: TensorType,
    offset: usize,
    len: usize,
}

impl Tensor {
    pub fn row_len(&self) -> usize {
        self.dims.first().copied().unwrap_or(0)
    }

    pub fn num_rows(&self) -> usize {
        self.dims.iter().skip(1).product()
    }
}

pub struct Gguf {
    map: Mmap,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Tensor>,
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
        Self::parse(map)
    }

    fn parse(map: Mmap) -> Result<Self> {
        let mut reader = Reader { bytes: &map, at: 0 };
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
            headers.push(reader.tensor_header()?);
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
        let start = (reader.at as u64)
            .checked_next_multiple_of(alignment)
            .ok_or_else(too_large)?;
        let mut tensors = HashMap::new();
        for header in headers {
            let tensor = header.place(start, map.len())?;
            tensors.insert(header.name, tensor);
        }
        Ok(Self {
            map,
            metadata,
            tensors,
        })
    }

    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::new(format!("the model has no tensor {name}")))
    }

    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor's bytes, exactly as many as its shape and type ask for.
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        &self.map[tensor.offset..tensor.offset + tensor.len]
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::new(format!("the model has no text {key}"))),
        }
    }

    pub fn texts(&self, key: &str) -> Result<&[String]> {
        match self.metadata.get(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => Err(Error::new(format!("the model has no list of texts {key}"))),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&self, key: &str, range: std::ops::RangeInclusive<i128>) -> Result<usize> {
        match self.metadata.get(key) {
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
        match self.metadata.get(key) {
            Some(Value::Float(value)) if value.is_finite() => Ok(*value as f32),
            _ => Err(Error::new(format!("the model has no finite number {key}"))),
        }
    }
}

struct TensorHeader {
    name: String,
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl TensorHeader {
    fn place(&self, start: u64, file_len: usize) -> Result<Tensor> {
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

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
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

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn count(&mut self, what: &str) -> Result<u64> {
        let count = self.u64()?;
        if count > MAX_ENTRIES {
            return Err(Error::new(format!(
                "the header announces {count} {what}, at most {MAX_ENTRIES} are read"
            )));
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String> {
        let len = usize::try_from(self.u64()?).map_err(|_| truncated())?;
        String::from_utf8(self.take(len)?.to_vec())
            .map_err(|_| Error::new("a text in the header is not UTF-8"))
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
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
        if kind == 9 {
            return Err(Error::new("metadata lists of lists are not supported"));
        }
        let (mut texts, mut ints, mut others) = (Vec::new(), Vec::new(), false);
        for _ in 0..len {
            match self.value(kind)? {
                Value::Text(text) => texts.push(text),
                Value::Int(value) => ints.push(i64::try_from(value).map_err(|_| too_large())?),
                _ => others = true,
            }
        }
        Ok(if others {
            Value::Other
        } else if kind == 8 {
            Value::Texts(texts)
        } else {
            Value::Ints(ints)
        })
    }

    fn tensor_header(&mut self) -> Result<TensorHeader> {
        let name = self.text()?;
        let num_dims = self.u32()?;
        if num_dims == 0 || num_dims > MAX_DIMS {
            return Err(Error::new(format!(
                "tensor {name} has {num_dims} dimensions, expected 1 to {MAX_DIMS}"
            )));
        }
        let dims = (0..num_dims)
            .map(|_| self.u64())
            .collect::<Result<Vec<_>>>()?;
        Ok(TensorHeader {
            name,
            dims,
            kind: self.u32()?,
            offset: self.u64()?,
        })
    }
}

fn truncated() -> Error {
    Error::new("the model file ends in the middle of its header")
}

fn too_large() -> Error {
    Error::new("a size in the model file is too large")
}
