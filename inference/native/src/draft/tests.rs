use super::propose;
use crate::batch::Batch;
use crate::cpu::CpuExecutor;
use crate::executor::Executor;
use crate::gguf::Gguf;
use crate::gguf::TensorType;
use crate::kernels::Kernels;
use crate::kv_pool::{KvFormat, KvPool};
use crate::matrix::Arithmetic;
use crate::model::Model;
use crate::test_model::tiny_llama;

const BLOCK_SIZE: usize = 4;
const MAX_BLOCKS: usize = 8;

fn executor() -> CpuExecutor {
    let gguf = Gguf::from_bytes(&tiny_llama(3, TensorType::Q4_1).build()).unwrap();
    let model = Model::load(&gguf, Arithmetic::Blocks).unwrap();
    let layout = model.shape.block_layout(BLOCK_SIZE, KvFormat::F16);
    let bytes = layout.bytes_per_token() * BLOCK_SIZE * MAX_BLOCKS * 3;
    let pool = KvPool::new(bytes, 0, layout).unwrap();
    CpuExecutor::new(
        model,
        pool,
        Kernels::detect(Arithmetic::Blocks, None).unwrap(),
        2,
    )
}

/// All of each sequence; every one whose entry in `samples` is true has its last row sampled, seeded.
fn batch(sequences: &[Vec<u32>], samples: &[bool]) -> Batch {
    let mut batch = Batch {
        query_starts: vec![0],
        max_blocks: MAX_BLOCKS,
        ..Batch::default()
    };
    for (index, ids) in sequences.iter().enumerate() {
        let first = index * MAX_BLOCKS * BLOCK_SIZE;
        batch.token_ids.extend(ids.iter().map(|id| *id as i32));
        batch.positions.extend(0..ids.len() as i32);
        batch
            .slots
            .extend((first..first + ids.len()).map(|slot| slot as i32));
        batch.query_starts.push(batch.token_ids.len() as i32);
        batch.context_lens.push(ids.len() as i32);
        let blocks = index * MAX_BLOCKS..(index + 1) * MAX_BLOCKS;
        batch.block_tables.extend(blocks.map(|block| block as i32));
        if samples[index] {
            batch.sample_rows.push(batch.token_ids.len() as i32 - 1);
            batch.temperatures.push(index as f32);
            batch.top_ps.push(1.0);
            batch.top_ks.push(0);
            batch.seeds.push(7 + index as u32);
            batch.min_ps.push(0.01);
        }
    }
    batch
}

/// What plain decoding makes of a sequence, computed from its beginning for every token.
fn decoded(sequences: &[Vec<u32>], index: usize, count: u32) -> Vec<u32> {
    let mut sequences = sequences.to_vec();
    let start = sequences[index].len();
    for _ in 0..count {
        let samples: Vec<bool> = (0..sequences.len()).map(|each| each == index).collect();
        let step = batch(&sequences, &samples);
        let output = executor().forward(&step, false).unwrap();
        sequences[index].push(output.sampled_ids[0]);
    }
    sequences[index].split_off(start)
}

#[test]
fn guesses_are_what_decoding_the_model_gives_greedy_and_sampled() {
    let sequences = vec![vec![1, 2, 3], vec![9, 8, 7, 6, 5], vec![4; 6]];
    let counts = [2, 7, 0];
    let batch = batch(&sequences, &[true, true, false]);
    let guesses = propose(&mut executor(), batch, &counts, BLOCK_SIZE).unwrap();
    let expected: Vec<u32> = (0..2)
        .flat_map(|index| decoded(&sequences, index, counts[index]))
        .collect();
    assert_eq!(guesses, expected);
}

#[test]
fn guesses_without_room_counts_or_rows_are_refused() {
    let sequences = vec![vec![1; 30], vec![2; 3]];
    let refused = |samples: &[bool], counts: &[u32]| {
        let batch = batch(&sequences, samples);
        let outcome = propose(&mut executor(), batch, counts, BLOCK_SIZE);
        outcome.err().map(|error| error.to_string())
    };
    // 32 slots: two more tokens can be run, a third can still be guessed.
    assert_eq!(refused(&[true, false], &[3, 0]), None);
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(
        refused(&[true, false], &[4, 0]),
        told("blockTables has no room for the guesses")
    );
    assert_eq!(
        refused(&[true, false], &[1]),
        told("counts is not one for each sequence")
    );
    for (samples, counts) in [([true, false], [1, 1]), ([true, true], [0, 1])] {
        assert_eq!(
            refused(&samples, &counts),
            told("sampleRows are not the rows that guess")
        );
    }
}
