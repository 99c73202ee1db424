//! Reads a GGUF file: header, metadata, tensor table. Owns the mapping; knows no architecture.
//! Every length and offset comes from the file and is checked before it is used.
//! Source: the GGUF specification of the ggml project, version 3.

mod reader;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use self::reader::{Reader, too_large};
use crate::error::{Error, Result};
use crate::huge_pages::{Arena, Buffer, Plain};

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

/// Storage types that can be loaded, by their GGUF number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl TensorType {
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// As files name it.
    pub fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4_K => 12,
            Self::Q5_K => 13,
            Self::Q6_K => 14,
            Self::Bf16 => 30,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// (values, bytes) of one block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4_K => (256, 144),
            Self::Q5_K => (256, 176),
            Self::Q6_K => (256, 210),
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
    header: Header,
    /// Where weights are put that are made of the file's: side by side, so that small matrices share huge pages.
    room: RefCell<Arena>,
}

/// What a file says of itself, checked against its length.
struct Header {
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

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self> {
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
