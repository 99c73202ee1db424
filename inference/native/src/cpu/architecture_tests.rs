//! Each architecture on a tiny model with random weights: against transformers in float64
//! (see `test_model::fixture`), and against itself, bit by bit.

use super::tests::{Sequence, executor_with, step};
use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::kv_pool::KvFormat;
use crate::matrix::{Arithmetic, load_vector};
use crate::test_model::{GgufBuilder, fixture, tiny_llama};

const NAMES: [&str; 4] = ["llama3", "qwen2", "qwen3", "gemma3"];
const FORMATS: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8];

fn every_case() -> impl Iterator<Item = (&'static str, KvFormat)> {
    let names = NAMES.into_iter();
    names.flat_map(|name| FORMATS.map(|format| (name, format)))
}

/// The sequence of a fixture, in blocks of its own.
fn sequence(gguf: &Gguf, first_block: i32) -> Sequence {
    let ids = load_vector(gguf, "reference.ids", 40).unwrap();
    Sequence {
        ids: ids.iter().map(|id| *id as i32).collect(),
        blocks: (first_block..first_block + 10).collect(),
        computed: 0,
    }
}

/// Logits of the whole sequence in one step, on one thread of the scalar set.
fn alone(gguf: &Gguf, format: KvFormat) -> Vec<Vec<u32>> {
    let scalar = Kernels::detect(Arithmetic::Blocks, Some("scalar")).unwrap();
    let mut sequence = sequence(gguf, 0);
    step(
        &mut executor_with(format, gguf, scalar, 1),
        &mut [(&mut sequence, 40)],
    )
}

#[test]
fn every_architecture_agrees_with_its_reference() {
    for name in NAMES {
        let gguf = fixture(name);
        let logits = alone(&gguf, KvFormat::F16);
        let rows = load_vector(&gguf, "reference.rows", 8).unwrap();
        let expected = gguf.tensor("reference.logits").unwrap();
        let expected = gguf.bytes(expected).as_chunks::<4>().0;
        for (row, expected) in rows.iter().zip(expected.chunks_exact(logits[0].len())) {
            let (mut error, mut size) = (0.0, 0.0);
            for (logit, expected) in logits[*row as usize].iter().zip(expected) {
                let expected = f64::from(f32::from_le_bytes(*expected));
                error += (f64::from(f32::from_bits(*logit)) - expected).powi(2);
                size += expected.powi(2);
            }
            // What is left is the rounding of keys and values to f16.
            assert!(error / size < 1e-6, "{name} row {row}: {}", error / size);
        }
    }
}

#[test]
fn every_architecture_has_the_same_bits_for_every_set_and_number_of_threads() {
    for (name, format) in every_case() {
        let gguf = fixture(name);
        let expected = alone(&gguf, format);
        for kernels in Kernels::available(Arithmetic::Blocks) {
            for num_threads in 1..=3 {
                let mut sequence = sequence(&gguf, 0);
                let mut executor = executor_with(format, &gguf, kernels, num_threads);
                let logits = step(&mut executor, &mut [(&mut sequence, 40)]);
                assert!(logits == expected, "{name} {format:?} {}", kernels.name);
            }
        }
    }
}

#[test]
fn no_architecture_depends_on_chunks_or_neighbours() {
    for (name, format) in every_case() {
        let gguf = fixture(name);
        let expected = alone(&gguf, format);
        for chunk in [1, 3, 8, 17, 40] {
            let mut executor =
                executor_with(format, &gguf, Kernels::available(Arithmetic::Blocks)[0], 2);
            let mut one = sequence(&gguf, 50);
            let mut neighbours = [Sequence::new(2, 48, 0..12), Sequence::new(3, 48, 30..42)];
            let mut logits = Vec::new();
            while one.computed < 40 {
                let count = chunk.min(40 - one.computed);
                let [before, after] = &mut neighbours;
                let few = usize::from(before.computed < 48);
                let parts = &mut [(before, few), (&mut one, count), (after, few)];
                let parts = &mut parts[1 - few..2 + few];
                let rows = step(&mut executor, parts);
                logits.extend_from_slice(&rows[few..few + count]);
            }
            assert!(logits == expected, "{name} {format:?} in chunks of {chunk}");
        }
    }
}

#[test]
fn keys_and_values_in_bytes_move_logits_a_little_and_take_half_the_memory() {
    for name in NAMES {
        let gguf = fixture(name);
        let [exact, rounded] = FORMATS.map(|format| alone(&gguf, format));
        let (mut error, mut size) = (0.0, 0.0);
        for (exact, rounded) in exact.iter().flatten().zip(rounded.iter().flatten()) {
            let (exact, rounded) = (f32::from_bits(*exact), f32::from_bits(*rounded));
            error += f64::from(exact - rounded).powi(2);
            size += f64::from(exact).powi(2);
        }
        assert!(
            error > 0.0 && error / size < 1e-3,
            "{name}: {}",
            error / size
        );
        let shape = Model::load(&gguf, Arithmetic::Blocks).unwrap().shape;
        let [full, half] = FORMATS.map(|format| shape.block_layout(16, format).bytes_per_token());
        // Behind each head's bytes are the two of its scale.
        let scales = 4 * shape.num_layers * shape.num_kv_heads;
        assert_eq!(half, full / 2 + scales, "{name}");
    }
}

/// Renames every occurrence, which leaves all lengths as they are.
fn rename(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, window)| (window == from.as_bytes()).then_some(at))
        .collect();
    assert!(!places.is_empty(), "no {from}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
}

#[test]
fn what_is_missing_or_not_supported_is_named() {
    let refusal = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(crate::test_model::fixture_path(name)).unwrap();
        change(&mut bytes);
        let loaded =
            Gguf::from_bytes(&bytes).and_then(|gguf| Model::load(&gguf, Arithmetic::Blocks));
        loaded.err().expect("it was loaded").to_string()
    };
    for (name, from, to, expected) in [
        ("qwen2", "attn_k.bias", "attn_k.boas", "blk.0.attn_k.bias"),
        (
            "qwen3",
            "attn_q_norm",
            "attn_q_narm",
            "blk.0.attn_q_norm.weight",
        ),
        (
            "gemma3",
            "post_ffw_norm",
            "post_ffw_narm",
            "blk.0.post_ffw_norm.weight",
        ),
        (
            "gemma3",
            "attention.sliding_window",
            "attention.sliding_widows",
            "gemma3.attention.sliding_window",
        ),
        ("gemma3", "linear", "longer", "longer"),
        (
            "qwen2",
            "qwen2",
            "qwem2",
            "architecture qwem2 is not supported",
        ),
    ] {
        let message = refusal(name, &|bytes| rename(bytes, from, to));
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn relatives_that_would_answer_wrongly_are_refused() {
    let refusal = |change: &dyn Fn(&mut GgufBuilder)| {
        let mut file = tiny_llama(1, TensorType::F32);
        change(&mut file);
        let gguf = Gguf::from_bytes(&file.build()).unwrap();
        Model::load(&gguf, Arithmetic::Blocks)
            .err()
            .map(|error| error.to_string())
    };
    let key = "llama.final_logit_softcapping";
    let refused = refusal(&|file| file.float(key, 30.0)).unwrap();
    assert!(refused.contains(key), "{refused}");
    let key = "llama.attention.value_length";
    let refused = refusal(&|file| file.number(key, 32)).unwrap();
    assert!(refused.contains(key), "{refused}");
    let refused = refusal(&|file| file.number("llama.expert_count", 8)).unwrap();
    assert!(refused.contains("expert_count"), "{refused}");
    assert_eq!(refusal(&|file| file.number("llama.expert_count", 0)), None);
}
