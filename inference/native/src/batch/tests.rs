use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::kv_pool::KvFormat;
use crate::matrix::Arithmetic;
use crate::model::Model;
use crate::test_model::tiny_llama;

/// Two sequences over 4-token blocks: one decodes its 6th token, the other prefills three.
fn sound() -> Batch {
    Batch {
        token_ids: vec![1, 2, 3, 4],
        positions: vec![5, 0, 1, 2],
        slots: vec![5, 8, 9, 10],
        query_starts: vec![0, 1, 4],
        context_lens: vec![6, 3],
        block_tables: vec![0, 1, 2, -1],
        max_blocks: 2,
        sample_rows: vec![0, 3],
        temperatures: vec![0.0, 1.0],
        top_ps: vec![1.0, 0.9],
        top_ks: vec![0, 40],
        seeds: vec![1, 2],
        min_ps: vec![0.0, 0.1],
        adjustments: Adjustments {
            starts: vec![0, 0, 2],
            ids: vec![39, 0],
            biases: vec![-100.0, 0.0],
            scales: vec![1.0, 1.2],
            penalties: vec![0.0, 3.5],
        },
        num_logprobs: vec![-1, 20],
        copies: Copies {
            sources: vec![63, 0],
            targets: vec![64, 63],
        },
    }
}

fn outcome(change: impl Fn(&mut Batch)) -> Result<()> {
    let gguf = Gguf::from_bytes(&tiny_llama(1, TensorType::Q8_0).build()).unwrap();
    let shape = Model::load(&gguf, Arithmetic::Blocks).unwrap().shape;
    let pool = KvPool::new(1 << 16, 1 << 12, shape.block_layout(4, KvFormat::F16)).unwrap();
    let mut batch = sound();
    change(&mut batch);
    batch.check(&shape, &pool)
}

#[test]
fn a_sound_batch_passes_with_and_without_samples() {
    assert_eq!(outcome(|_| ()), Ok(()));
    assert_eq!(
        outcome(|batch| {
            batch.sample_rows.clear();
            batch.temperatures.clear();
            batch.top_ps.clear();
            batch.top_ks.clear();
            batch.seeds.clear();
            batch.min_ps.clear();
            batch.adjustments = Adjustments::default();
            batch.num_logprobs.clear();
        }),
        Ok(())
    );
}

#[test]
fn a_sound_batch_passes_without_what_no_sample_uses() {
    assert_eq!(
        outcome(|batch| {
            batch.min_ps.clear();
            batch.adjustments = Adjustments::default();
            batch.num_logprobs.clear();
        }),
        Ok(())
    );
}

type Change = fn(&mut Batch);

/// The tiny model has 40 tokens, 128 positions, and a pool of 64 blocks of 4 slots, with 4 blocks to swap to.
#[test]
fn each_field_out_of_range_is_refused_by_its_name() {
    let cases: &[(&str, Change)] = &[
        ("tokenIds", |batch| batch.token_ids[0] = -1),
        ("tokenIds", |batch| batch.token_ids[3] = 40),
        ("tokenIds", |batch| *batch = Batch::default()),
        ("positions", |batch| batch.positions[0] = -1),
        ("positions", |batch| batch.positions[0] = 128),
        ("positions", |batch| batch.positions[0] = 6), // Beyond its own context.
        ("positions", |batch| batch.positions.truncate(3)),
        ("slots", |batch| batch.slots[0] = -1),
        ("slots", |batch| batch.slots[0] = 256),
        ("slots", |batch| batch.slots[0] = i32::MAX),
        ("slots", |batch| batch.slots[1] = batch.slots[3]),
        ("slots", |batch| batch.slots.push(11)),
        ("queryStarts", |batch| batch.query_starts[0] = 1),
        ("queryStarts", |batch| batch.query_starts[1] = 0),
        ("queryStarts", |batch| batch.query_starts[1] = 4),
        ("queryStarts", |batch| batch.query_starts[1] = -1),
        ("queryStarts", |batch| batch.query_starts[2] = 5),
        ("queryStarts", |batch| batch.query_starts[2] = -4),
        ("queryStarts", |batch| batch.query_starts.truncate(2)),
        ("queryStarts", |batch| batch.query_starts.clear()),
        ("contextLens", |batch| batch.context_lens[0] = 0),
        ("contextLens", |batch| batch.context_lens[0] = -1),
        ("contextLens", |batch| batch.context_lens[0] = 9),
        ("contextLens", |batch| batch.max_blocks = usize::MAX),
        ("blockTables", |batch| batch.block_tables[1] = -1),
        ("blockTables", |batch| batch.block_tables[2] = 64),
        ("blockTables", |batch| batch.block_tables.truncate(3)),
        ("blockTables", |batch| batch.max_blocks = 3),
        ("sampleRows", |batch| batch.sample_rows[1] = 4),
        ("sampleRows", |batch| batch.sample_rows[0] = -1),
        ("temperatures", |batch| batch.temperatures[0] = -0.1),
        ("temperatures", |batch| batch.temperatures[0] = f32::NAN),
        ("temperatures", |batch| {
            batch.temperatures[1] = f32::INFINITY;
        }),
        ("temperatures", |batch| batch.temperatures.truncate(1)),
        ("topPs", |batch| batch.top_ps[0] = 0.0),
        ("topPs", |batch| batch.top_ps[0] = 1.1),
        ("topPs", |batch| batch.top_ps[0] = f32::NAN),
        ("topPs", |batch| batch.top_ps.push(1.0)),
        ("topKs", |batch| batch.top_ks[1] = -1),
        ("topKs", |batch| batch.top_ks.clear()),
        ("seeds", |batch| batch.seeds.truncate(1)),
        ("minPs", |batch| batch.min_ps[0] = -0.1),
        ("minPs", |batch| batch.min_ps[1] = 1.1),
        ("minPs", |batch| batch.min_ps[1] = f32::NAN),
        ("minPs", |batch| batch.min_ps.truncate(1)),
        ("adjustments", |batch| batch.adjustments.starts.clear()),
        ("adjustments", |batch| batch.adjustments.starts.truncate(2)),
        ("adjustments", |batch| batch.adjustments.starts[0] = 1),
        ("adjustments", |batch| batch.adjustments.starts[1] = -1),
        ("adjustments", |batch| batch.adjustments.starts[1] = 3),
        ("adjustments", |batch| batch.adjustments.starts[2] = 1),
        ("adjustments", |batch| batch.adjustments.starts[2] = -2),
        ("adjustments", |batch| batch.adjustments.ids[0] = 40),
        ("adjustments", |batch| batch.adjustments.ids[1] = -1),
        ("adjustments", |batch| batch.adjustments.ids.truncate(1)),
        ("adjustments", |batch| {
            batch.adjustments.biases[0] = f32::NEG_INFINITY;
        }),
        ("adjustments", |batch| batch.adjustments.biases.truncate(1)),
        ("adjustments", |batch| batch.adjustments.scales[1] = 0.0),
        ("adjustments", |batch| batch.adjustments.scales[1] = -1.0),
        ("adjustments", |batch| batch.adjustments.scales.push(1.0)),
        ("adjustments", |batch| {
            batch.adjustments.penalties[0] = f32::NAN;
        }),
        ("adjustments", |batch| batch.adjustments.penalties.clear()),
        ("numLogprobs", |batch| batch.num_logprobs[0] = -2),
        ("numLogprobs", |batch| batch.num_logprobs[1] = 21),
        ("numLogprobs", |batch| batch.num_logprobs.truncate(1)),
        ("copies.sources", |batch| batch.copies.sources[0] = -1),
        ("copies.sources", |batch| batch.copies.sources[1] = 68),
        ("copies.targets", |batch| batch.copies.targets[0] = 68),
        ("copies.targets", |batch| batch.copies.targets[1] = i32::MIN),
        ("copies.targets", |batch| batch.copies.targets.truncate(1)),
    ];
    for (index, (field, change)) in cases.iter().enumerate() {
        let message = outcome(change).expect_err(field).to_string();
        assert!(
            message.starts_with(field),
            "case {index}: {message}, expected {field}"
        );
    }
}

#[test]
fn the_position_of_a_draw_is_that_of_the_token_being_made() {
    assert_eq!(sound().sampling(0).position, 6);
    assert_eq!(sound().sampling(1).position, 3);
}
