use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::kv_pool::KvFormat;
use crate::matrix::Arithmetic;
use crate::test_model::{Random, tiny_llama};

const BLOCK_SIZE: usize = 4;
const NUM_BLOCKS: usize = 64;

fn executor(kind: TensorType, kernels: Kernels, num_threads: usize) -> CpuExecutor {
    let gguf = Gguf::from_bytes(&tiny_llama(3, kind).build()).unwrap();
    executor_of(&gguf, kernels, num_threads)
}

pub fn executor_of(gguf: &Gguf, kernels: Kernels, num_threads: usize) -> CpuExecutor {
    executor_with(KvFormat::F16, gguf, kernels, num_threads)
}

pub fn executor_with(
    format: KvFormat,
    gguf: &Gguf,
    kernels: Kernels,
    num_threads: usize,
) -> CpuExecutor {
    let model = Model::load(gguf, kernels.arithmetic).unwrap();
    let layout = model.shape.block_layout(BLOCK_SIZE, format);
    let bytes = layout.bytes_per_token() * BLOCK_SIZE * NUM_BLOCKS;
    let pool = KvPool::new(bytes, bytes, layout).unwrap();
    CpuExecutor::new(model, pool, kernels, num_threads)
}

/// A sequence under test: its tokens, the blocks it owns, and how far it has been computed.
pub struct Sequence {
    pub ids: Vec<i32>,
    pub blocks: Vec<i32>,
    pub computed: usize,
}

impl Sequence {
    pub fn new(seed: u64, len: usize, blocks: std::ops::Range<i32>) -> Self {
        let mut random = Random(seed);
        Self {
            ids: (0..len).map(|_| random.below(40) as i32).collect(),
            blocks: blocks.collect(),
            computed: 0,
        }
    }
}

/// One step of `counts[i]` tokens of each sequence, every row sampled greedily; [token][vocabulary] logits.
pub fn step(executor: &mut CpuExecutor, parts: &mut [(&mut Sequence, usize)]) -> Vec<Vec<u32>> {
    let mut batch = Batch {
        query_starts: vec![0],
        max_blocks: 32,
        ..Batch::default()
    };
    for (sequence, count) in parts {
        for position in sequence.computed..sequence.computed + *count {
            batch.token_ids.push(sequence.ids[position]);
            batch.positions.push(position as i32);
            let block = sequence.blocks[position / BLOCK_SIZE] as usize;
            batch
                .slots
                .push((block * BLOCK_SIZE + position % BLOCK_SIZE) as i32);
        }
        sequence.computed += *count;
        batch.query_starts.push(batch.token_ids.len() as i32);
        batch.context_lens.push(sequence.computed as i32);
        let mut table = sequence.blocks.clone();
        table.resize(32, -1);
        batch.block_tables.extend(table);
    }
    let rows = batch.num_tokens();
    batch.sample_rows = (0..rows as i32).collect();
    batch.temperatures = vec![0.0; rows];
    batch.top_ps = vec![1.0; rows];
    batch.top_ks = vec![0; rows];
    batch.seeds = vec![0; rows];
    let logits = executor.forward(&batch, true).unwrap().logits.unwrap();
    logits
        .chunks_exact(executor.model.shape.vocab_size)
        .map(|row| row.iter().map(|logit| logit.to_bits()).collect())
        .collect()
}

const ARITHMETICS: [Arithmetic; 2] = [Arithmetic::Blocks, Arithmetic::Rows];

fn widest(arithmetic: Arithmetic) -> Kernels {
    Kernels::available(arithmetic)[0]
}

/// Logits of a sequence computed alone, in one step, by the scalar set on one thread.
fn reference(arithmetic: Arithmetic, kind: TensorType, len: usize) -> Vec<Vec<u32>> {
    let scalar = Kernels::detect(arithmetic, Some("scalar")).unwrap();
    let mut sequence = Sequence::new(1, len, 0..20);
    step(&mut executor(kind, scalar, 1), &mut [(&mut sequence, len)])
}

#[test]
fn logits_are_the_same_bits_for_every_set_and_number_of_threads() {
    for (kind, arithmetic) in TensorType::ALL
        .into_iter()
        .flat_map(|kind| ARITHMETICS.map(|arithmetic| (kind, arithmetic)))
    {
        let expected = reference(arithmetic, kind, 23);
        for kernels in Kernels::available(arithmetic) {
            // How work is shared out does not depend on the format: one is enough for every number of threads.
            let most = if kind == TensorType::Q4_1 { 4 } else { 2 };
            for num_threads in 1..=most {
                let mut sequence = Sequence::new(1, 23, 0..6);
                let logits = step(
                    &mut executor(kind, kernels, num_threads),
                    &mut [(&mut sequence, 23)],
                );
                assert!(
                    logits == expected,
                    "{arithmetic:?} {kind:?} {} × {num_threads}",
                    kernels.name
                );
            }
        }
    }
}

/// Steps of up to 63 tokens: more than one pass of the products.
#[test]
fn logits_do_not_depend_on_chunks_blocks_or_neighbours() {
    for (arithmetic, len, chunks) in [
        (Arithmetic::Blocks, 23, [1, 2, 5, 8, 16, 23].as_slice()),
        (Arithmetic::Rows, 23, &[1, 2, 3, 5, 6, 8, 16, 23]),
        (Arithmetic::Rows, 60, &[22, 45, 46, 60]),
    ] {
        let expected = reference(arithmetic, TensorType::Q4_1, len);
        for chunk in chunks {
            let mut executor = executor(TensorType::Q4_1, widest(arithmetic), 2);
            let mut sequence = Sequence::new(1, len, 0..0);
            sequence.blocks = vec![40, 2, 63, 7, 9, 11, 5, 1, 0, 8, 42, 41, 30, 33, 31];
            let mut neighbours = [Sequence::new(2, 60, 12..28), Sequence::new(3, 60, 44..60)];
            let mut logits = Vec::new();
            while sequence.computed < len {
                let count = *chunk.min(&(len - sequence.computed));
                let [before, after] = &mut neighbours;
                let rows = step(
                    &mut executor,
                    &mut [(before, 1), (&mut sequence, count), (after, 2)],
                );
                logits.extend_from_slice(&rows[1..=count]);
            }
            assert!(logits == expected, "{arithmetic:?}, chunks of {chunk}");
        }
    }
}

#[test]
fn a_sequence_that_was_swapped_out_and_in_goes_on_with_the_same_bits() {
    let expected = reference(Arithmetic::Blocks, TensorType::Q4_1, 23);
    let mut executor = executor(TensorType::Q4_1, widest(Arithmetic::Blocks), 2);
    let mut sequence = Sequence::new(1, 23, 0..6);
    let mut logits = step(&mut executor, &mut [(&mut sequence, 14)]);
    let swap = NUM_BLOCKS;
    executor
        .pool
        .copy_blocks((0..4).map(|block| (block, swap + block)));
    let mut other = Sequence::new(2, 24, 0..6);
    step(&mut executor, &mut [(&mut other, 24)]);
    sequence.blocks = vec![40, 8, 63, 7, 9, 11];
    let home = sequence.blocks.clone();
    executor
        .pool
        .copy_blocks((0..4).map(|block| (swap + block, home[block] as usize)));
    logits.extend(step(&mut executor, &mut [(&mut sequence, 9)]));
    assert!(logits == expected);
}

#[test]
fn a_refused_batch_leaves_the_executor_as_it_was() {
    let mut executor = executor(TensorType::Q8_0, widest(Arithmetic::Blocks), 2);
    assert!(executor.forward(&Batch::default(), false).is_err());
    let mut sequence = Sequence::new(1, 23, 0..6);
    let logits = step(&mut executor, &mut [(&mut sequence, 23)]);
    assert!(logits == reference(Arithmetic::Blocks, TensorType::Q8_0, 23));
}
