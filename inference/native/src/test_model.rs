//! What the tests share: seeded random numbers, GGUF files built in memory, and a tiny llama made of them.

use std::path::PathBuf;

use half::{bf16, f16};

use crate::gguf::{Gguf, TensorType};

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
    let (values_per_block, bytes_per_block) = kind.block();
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..count / values_per_block {
        let mut block: Vec<u8> = (0..bytes_per_block).map(|_| random.next() as u8).collect();
        let mut half = |at: usize, most: f32| {
            let value = f16::from_f32(random.float() * most);
            block[at..at + 2].copy_from_slice(&value.to_le_bytes());
        };
        match kind {
            TensorType::F32 => block = (random.float() * 0.3).to_le_bytes().to_vec(),
            TensorType::F16 => half(0, 0.3),
            TensorType::Bf16 => block = bf16::from_f32(random.float()).to_le_bytes().to_vec(),
            TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 => half(0, 0.05),
            TensorType::Q4_1 | TensorType::Q5_1 => {
                half(0, 0.05);
                half(2, 0.3);
            }
            TensorType::Q4_K | TensorType::Q5_K => {
                half(0, 0.002);
                half(2, 0.005);
            }
            TensorType::Q6_K => half(208, 0.0005),
        }
        values.extend((0..values_per_block).map(|at| value_of(kind, &block, at)));
        bytes.extend(block);
    }
    (bytes, values)
}

/// Value `at` of a block, from its definition: one value at a time, where the loader takes 32.
fn value_of(kind: TensorType, block: &[u8], at: usize) -> f32 {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    let bit = |start: usize, index: usize| block[start + index / 8] >> (index % 8) & 1;
    // Old formats: 16 bytes of nibbles from `start` on. `_K`: 32 bytes for each 64 values.
    let nibble = |start: usize| f32::from(block[start + at % 16] >> (at / 16 * 4) & 15);
    let nibble_k = |start: usize| block[start + at / 64 * 32 + at % 32] >> (at / 32 % 2 * 4) & 15;
    match kind {
        TensorType::F32 => f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
        TensorType::F16 => half(0),
        TensorType::Bf16 => bf16::from_le_bytes([block[0], block[1]]).to_f32(),
        TensorType::Q4_0 => half(0) * (nibble(2) - 8.0),
        TensorType::Q4_1 => half(0) * nibble(4) + half(2),
        TensorType::Q5_0 => half(0) * (nibble(6) + f32::from(bit(2, at) * 16) - 16.0),
        TensorType::Q5_1 => half(0) * (nibble(8) + f32::from(bit(4, at) * 16)) + half(2),
        TensorType::Q8_0 => half(0) * f32::from(block[2 + at] as i8),
        TensorType::Q4_K | TensorType::Q5_K => {
            // 12 bytes: four low parts of scales, four of minima, then the upper four of both with their top bits before.
            let (part, packed) = (at / 32, &block[4..16]);
            let six = |low: usize, shift: usize| {
                f32::from(if part < 4 {
                    packed[low] & 63
                } else {
                    (packed[part + 4] >> shift & 15) + (packed[low - 4] >> 6) * 16
                })
            };
            let (scale, minimum) = (six(part, 0), six(part + 4, 4));
            let code = if kind == TensorType::Q4_K {
                nibble_k(16)
            } else {
                nibble_k(48) + (block[16 + at % 32] >> part & 1) * 16
            };
            half(0) * scale * f32::from(code) - half(2) * minimum
        }
        TensorType::Q6_K => {
            let (upper, within) = (at / 128, at % 128);
            let low = block[upper * 64 + within % 64] >> (within / 64 * 4) & 15;
            let high = block[128 + upper * 32 + within % 32] >> (within / 32 * 2) & 3;
            let scale = f32::from(block[192 + at / 16] as i8);
            half(208) * scale * (f32::from(low + high * 16) - 32.0)
        }
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
            kind: kind.number(),
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

/// A llama of two layers: width 64, 4 heads over 2 KV heads of 16, FFN of 96, 40 tokens, context of 128. `_K` formats have
/// blocks of 256, so their width is 256, their heads are of 64, and their FFN is of 512.
pub fn tiny_llama(seed: u64, kind: TensorType) -> GgufBuilder {
    let mut random = Random(seed);
    let mut file = GgufBuilder::new();
    let (width, ffn) = if kind.block().0 == 256 {
        (256, 512)
    } else {
        (64, 96)
    };
    file.text("general.architecture", "llama");
    file.text("general.name", "tiny");
    for (key, number) in [
        ("block_count", 2),
        ("context_length", 128),
        ("embedding_length", width),
        ("feed_forward_length", ffn),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("rope.dimension_count", width / 4),
    ] {
        file.number(&format!("llama.{key}"), number as u32);
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
    matrix(&mut file, "token_embd.weight", 40, width);
    for layer in 0..2 {
        for (name, rows, columns) in [
            ("attn_q", width, width),
            ("attn_k", width / 2, width),
            ("attn_v", width / 2, width),
            ("attn_output", width, width),
            ("ffn_gate", ffn, width),
            ("ffn_up", ffn, width),
            ("ffn_down", width, ffn),
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
        let (bytes, _) = weights(&mut random, TensorType::F32, width);
        file.tensor(&format!("{name}.weight"), &[width], TensorType::F32, &bytes);
    }
    file
}

/// Where a model of test/fixtures/architectures is; `test/reference/tiny_models.py` writes them.
pub fn fixture_path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(format!("test/fixtures/architectures/{name}.gguf"))
}

pub fn fixture(name: &str) -> Gguf {
    Gguf::open(&fixture_path(name)).unwrap()
}
