//! What the tests share: seeded random numbers, GGUF files built in memory, and a tiny llama made of them.

use std::path::PathBuf;

use half::f16;

use crate::gguf::{Gguf, TensorType};

/// Every storage type that can be loaded.
pub const KINDS: [TensorType; 5] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q8_0,
];

/// `SplitMix64`: the same numbers for the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Uniform in −1 … 1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

/// Random weights of a kind: the file's bytes, and the values they stand for by the format's definition.
pub fn weights(random: &mut Random, kind: TensorType, count: usize) -> (Vec<u8>, Vec<f32>) {
    let (values_per_block, _) = kind.block();
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..count / values_per_block {
        let scale = f16::from_f32(random.float() * 0.05);
        let minimum = f16::from_f32(random.float() * 0.3);
        let quants: Vec<u8> = (0..32).map(|_| random.next() as u8).collect();
        let nibble = |at: usize| {
            f32::from(if at < 16 {
                quants[at] & 15
            } else {
                quants[at - 16] >> 4
            })
        };
        match kind {
            TensorType::F32 => {
                values.push(random.float() * 0.3);
                bytes.extend(values[values.len() - 1].to_le_bytes());
            }
            TensorType::F16 => {
                values.push(minimum.to_f32());
                bytes.extend(minimum.to_le_bytes());
            }
            TensorType::Q4_0 => {
                bytes.extend(scale.to_le_bytes());
                bytes.extend(&quants[..16]);
                values.extend((0..32).map(|at| scale.to_f32() * (nibble(at) - 8.0)));
            }
            TensorType::Q4_1 => {
                bytes.extend(scale.to_le_bytes());
                bytes.extend(minimum.to_le_bytes());
                bytes.extend(&quants[..16]);
                values.extend((0..32).map(|at| scale.to_f32() * nibble(at) + minimum.to_f32()));
            }
            TensorType::Q8_0 => {
                bytes.extend(scale.to_le_bytes());
                bytes.extend(&quants);
                values.extend(
                    quants
                        .iter()
                        .map(|quant| scale.to_f32() * f32::from(*quant as i8)),
                );
            }
        }
    }
    (bytes, values)
}

pub fn type_number(kind: TensorType) -> u32 {
    match kind {
        TensorType::F32 => 0,
        TensorType::F16 => 1,
        TensorType::Q4_0 => 2,
        TensorType::Q4_1 => 3,
        TensorType::Q8_0 => 8,
    }
}

/// Builds a GGUF file. Fields are public so that a test can lie in them.
#[derive(Clone)]
pub struct GgufBuilder {
    pub magic: [u8; 4],
    pub version: u32,
    /// None: as many as there are.
    pub num_tensors: Option<u64>,
    pub num_values: Option<u64>,
    /// key, kind, bytes of the value
    pub values: Vec<(String, u32, Vec<u8>)>,
    pub tensors: Vec<TensorEntry>,
    pub data: Vec<u8>,
}

#[derive(Clone)]
pub struct TensorEntry {
    pub name: String,
    pub dims: Vec<u64>,
    pub kind: u32,
    pub offset: u64,
}

impl GgufBuilder {
    pub fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            num_tensors: None,
            num_values: None,
            values: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
        }
    }

    pub fn value(&mut self, key: &str, kind: u32, bytes: &[u8]) {
        self.values.push((key.to_owned(), kind, bytes.to_vec()));
    }

    pub fn number(&mut self, key: &str, number: u32) {
        self.value(key, 4, &number.to_le_bytes());
    }

    pub fn float(&mut self, key: &str, number: f32) {
        self.value(key, 6, &number.to_le_bytes());
    }

    pub fn text(&mut self, key: &str, text: &str) {
        self.value(key, 8, &text_bytes(text));
    }

    pub fn texts(&mut self, key: &str, texts: &[String]) {
        let mut bytes = 8_u32.to_le_bytes().to_vec();
        bytes.extend((texts.len() as u64).to_le_bytes());
        bytes.extend(texts.iter().flat_map(|text| text_bytes(text)));
        self.value(key, 9, &bytes);
    }

    pub fn integers(&mut self, key: &str, numbers: &[i32]) {
        let mut bytes = 5_u32.to_le_bytes().to_vec();
        bytes.extend((numbers.len() as u64).to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.value(key, 9, &bytes);
    }

    pub fn floats(&mut self, key: &str, numbers: &[f32]) {
        let mut bytes = 6_u32.to_le_bytes().to_vec();
        bytes.extend((numbers.len() as u64).to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.value(key, 9, &bytes);
    }

    pub fn tensor(&mut self, name: &str, dims: &[usize], kind: TensorType, bytes: &[u8]) {
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensors.push(TensorEntry {
            name: name.to_owned(),
            dims: dims.iter().map(|dim| *dim as u64).collect(),
            kind: type_number(kind),
            offset: self.data.len() as u64,
        });
        self.data.extend(bytes);
    }

    pub fn build(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        let count = |told: Option<u64>, real: usize| told.unwrap_or(real as u64).to_le_bytes();
        bytes.extend(count(self.num_tensors, self.tensors.len()));
        bytes.extend(count(self.num_values, self.values.len()));
        for (key, kind, value) in &self.values {
            bytes.extend(text_bytes(key));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        for tensor in &self.tensors {
            bytes.extend(text_bytes(&tensor.name));
            bytes.extend((tensor.dims.len() as u32).to_le_bytes());
            bytes.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

fn text_bytes(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A llama of two layers: width 64, 4 heads over 2 KV heads of 16, FFN of 96, 40 tokens, context of 128.
pub fn tiny_llama(seed: u64, kind: TensorType) -> GgufBuilder {
    let mut random = Random(seed);
    let mut file = GgufBuilder::new();
    file.text("general.architecture", "llama");
    file.text("general.name", "tiny");
    for (key, number) in [
        ("block_count", 2),
        ("context_length", 128),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("rope.dimension_count", 16),
    ] {
        file.number(&format!("llama.{key}"), number);
    }
    file.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    file.float("llama.rope.freq_base", 10_000.0);
    file.text("tokenizer.ggml.model", "gpt2");
    let tokens: Vec<String> = (0..40_u8)
        .map(|index| char::from(b'A' + index).to_string())
        .collect();
    file.texts("tokenizer.ggml.tokens", &tokens);
    file.texts("tokenizer.ggml.merges", &[]);
    file.integers("tokenizer.ggml.token_type", &[1; 40]);
    file.number("tokenizer.ggml.eos_token_id", 1);
    let mut matrix = |file: &mut GgufBuilder, name: &str, rows: usize, columns: usize| {
        let (bytes, _) = weights(&mut random, kind, rows * columns);
        file.tensor(name, &[columns, rows], kind, &bytes);
    };
    matrix(&mut file, "token_embd.weight", 40, 64);
    for layer in 0..2 {
        for (name, rows, columns) in [
            ("attn_q", 64, 64),
            ("attn_k", 32, 64),
            ("attn_v", 32, 64),
            ("attn_output", 64, 64),
            ("ffn_gate", 96, 64),
            ("ffn_up", 96, 64),
            ("ffn_down", 64, 96),
        ] {
            let name = format!("blk.{layer}.{name}.weight");
            matrix(&mut file, &name, rows, columns);
        }
    }
    for name in [
        "blk.0.attn_norm",
        "blk.0.ffn_norm",
        "blk.1.attn_norm",
        "blk.1.ffn_norm",
        "output_norm",
    ] {
        let (bytes, _) = weights(&mut random, TensorType::F32, 64);
        file.tensor(&format!("{name}.weight"), &[64], TensorType::F32, &bytes);
    }
    file
}

/// Where a model of test/fixtures/architectures is; test/reference/tiny_models.py writes them.
pub fn fixture_path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(format!("test/fixtures/architectures/{name}.gguf"))
}

pub fn fixture(name: &str) -> Gguf {
    Gguf::open(&fixture_path(name)).unwrap()
}
