//! Damaged model files: each is refused with a sentence, or loads and survives a step. Case `n` is made of seed `n` alone.
//!
//! `cargo test --release fuzz` runs `CASES`; `FUZZ_CASES=1000000 cargo test --release fuzz -- --nocapture` runs a million and
//! prints what became of them; `FUZZ_FIRST=n` starts at case `n`, to see one again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::cpu::CpuExecutor;
use crate::error::Result;
use crate::executor::Executor;
use crate::gguf::{Gguf, TensorType};
use crate::kernels::Kernels;
use crate::kv_pool::{KvFormat, KvPool};
use crate::matrix::Arithmetic;
use crate::model::Model;
use crate::test_model::{Random, tiny_llama};
use crate::tokenizer::Tokenizer;

const CASES: u64 = if cfg!(debug_assertions) { 1000 } else { 10_000 };
/// A case of some milliseconds that takes this long hangs.
const HANGS: Duration = Duration::from_mins(1);
/// Numbers that sizes, counts and offsets are wrong at.
const EDGES: [u64; 14] = [
    0,
    1,
    31,
    32,
    255,
    256,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// A sound file and where its tensors' data begin.
struct Origin {
    bytes: Vec<u8>,
    header_len: usize,
}

impl Origin {
    fn new(kind: TensorType) -> Self {
        let file = tiny_llama(1, kind);
        let bytes = file.build();
        Self {
            header_len: bytes.len() - file.data.len(),
            bytes,
        }
    }

    fn damaged(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        // A quarter keep their header, so that many get as far as a step.
        let end = if random.below(4) == 0 {
            0
        } else {
            self.header_len
        };
        for _ in 0..=random.below(4) {
            let start = if end == 0 { self.header_len } else { 0 };
            let end = if end == 0 { bytes.len() } else { end };
            damage(&mut bytes, random, start, end);
        }
        bytes
    }
}

/// One change between `start` and `end`.
fn damage(bytes: &mut Vec<u8>, random: &mut Random, start: usize, end: usize) {
    let end = end.min(bytes.len());
    if start >= end {
        return;
    }
    let at = start + random.below(end - start);
    match random.below(9) {
        0 => bytes[at] = random.next() as u8,
        1 => bytes[at] ^= 1 << random.below(8),
        2 => {
            bytes.remove(at);
        }
        3 => bytes.insert(at, random.next() as u8),
        4 => {
            let width = if random.below(2) == 0 { 4 } else { 8 };
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let room = width.min(bytes.len() - at);
            bytes[at..at + room].copy_from_slice(&edge[..room]);
        }
        5 => bytes[at] = bytes[at].wrapping_add(if random.below(2) == 0 { 1 } else { 255 }),
        6 => {
            // A stretch is written over by another.
            let len = random.below(64).min(bytes.len() - at);
            let from = random.below(bytes.len() - len + 1);
            bytes.copy_within(from..from + len, at);
        }
        7 => {
            let room = 64.min(bytes.len() - at);
            let filler = [0, 0x7f, 0x80, 0xff][random.below(4)];
            bytes[at..at + random.below(room + 1)].fill(filler);
        }
        _ => bytes.truncate(random.below(bytes.len() + 1)),
    }
}

#[derive(Debug, Default)]
struct Report {
    refused: u64,
    /// Loaded, and its step ended in an error: the weights are not numbers any more.
    broken: u64,
    stepped: u64,
    slowest: Option<(Duration, u64)>,
}

/// Loads a file and makes one step of three tokens; false when the step says that the logits are not numbers.
fn load_and_step(bytes: &[u8], kernels: Kernels) -> Result<bool> {
    let gguf = Gguf::from_bytes(bytes)?;
    let tokenizer = Tokenizer::load(&gguf)?;
    let _ = tokenizer.encode("AB C");
    let model = Model::load(&gguf, Arithmetic::Blocks)?;
    let layout = model.shape.block_layout(16, KvFormat::F16);
    let pool = KvPool::new(layout.bytes_per_token() * 16, 0, layout)?;
    let count = model.shape.context_length.min(3);
    let last = model.shape.vocab_size as i32 - 1;
    // Fields that a batch may get beside these keep their defaults.
    #[allow(clippy::needless_update)]
    let batch = Batch {
        token_ids: vec![0, last / 2, last][..count].to_vec(),
        positions: (0..count as i32).collect(),
        slots: (0..count as i32).collect(),
        query_starts: vec![0, count as i32],
        context_lens: vec![count as i32],
        block_tables: vec![0],
        max_blocks: 1,
        sample_rows: vec![count as i32 - 1],
        temperatures: vec![0.0],
        top_ps: vec![1.0],
        top_ks: vec![0],
        seeds: vec![0],
        ..Batch::default()
    };
    let mut executor = CpuExecutor::new(model, pool, kernels, 1);
    match executor.forward(&batch, true) {
        Ok(output) => {
            assert!(output.sampled_ids[0] as i32 <= last);
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}

fn run(first: u64, count: u64, case_under_way: &AtomicU64) -> Report {
    let kernels = Kernels::available(Arithmetic::Blocks)[0];
    let origins = TensorType::ALL.map(Origin::new);
    let mut report = Report::default();
    for case in first..first + count {
        case_under_way.store(case, Ordering::Relaxed);
        let mut random = Random(case);
        // The large `_K` models are 30 times as slow: every 16th case has one.
        let origin = loop {
            let index = random.below(origins.len());
            if TensorType::ALL[index].block().0 < 256 || case.is_multiple_of(16) {
                break &origins[index];
            }
        };
        let bytes = origin.damaged(&mut random);
        let since = Instant::now();
        match load_and_step(&bytes, kernels) {
            Ok(true) => report.stepped += 1,
            Ok(false) => report.broken += 1,
            Err(_) => report.refused += 1,
        }
        report.slowest = report.slowest.max(Some((since.elapsed(), case)));
    }
    report
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn a_damaged_file_is_refused_or_survives_a_step() {
    let case = Arc::new(AtomicU64::new(0));
    let is_done = Arc::new((Mutex::new(false), Condvar::new()));
    let watch = std::thread::spawn({
        let (case, is_done) = (Arc::clone(&case), Arc::clone(&is_done));
        move || {
            let mut seen = u64::MAX;
            let mut done = is_done.0.lock().unwrap();
            while !*done {
                let (guard, waited) = is_done.1.wait_timeout(done, HANGS).unwrap();
                done = guard;
                let now = case.load(Ordering::Relaxed);
                if waited.timed_out() && now == seen && !*done {
                    eprintln!("case {now} hangs");
                    std::process::abort();
                }
                seen = now;
            }
        }
    });
    let (first, count) = (number("FUZZ_FIRST", 0), number("FUZZ_CASES", CASES));
    let report = run(first, count, &case);
    *is_done.0.lock().unwrap() = true;
    is_done.1.notify_all();
    watch.join().unwrap();
    println!("{count} damaged files from case {first} on: {report:?}");
    assert_eq!(report.refused + report.broken + report.stepped, count);
    if count >= CASES {
        let least = report.refused.min(report.stepped);
        assert!(least * 20 > count, "{report:?}");
    }
}
