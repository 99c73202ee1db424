//! A draft model's turn: a small model guesses the next tokens of sequences, one after the other. The rows of all sequences
//! go through it together, and nothing crosses to JS between the guesses.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::executor::Executor;

#[cfg(test)]
mod tests;

/// Runs `batch`, then its own samples, until sequence i has `counts[i]` guesses; with 0 it only catches up. Samples are the
/// last rows of the sequences that guess, in order, and their block tables have room for all guesses but the last. Every
/// guess is drawn as the target draws at that position, with the adjustments of the first.
///
/// Returns the guesses, sequence after sequence. On an error some keys and values may have been written.
pub fn propose(
    executor: &mut dyn Executor,
    batch: Batch,
    counts: &[u32],
    block_size: usize,
) -> Result<Vec<u32>> {
    let guessing: Vec<usize> = (0..counts.len()).filter(|seq| counts[*seq] > 0).collect();
    if counts.len() != batch.num_seqs() || batch.query_starts.len() != counts.len() + 1 {
        return Err(Error::new("counts is not one for each sequence"));
    }
    let last_rows = guessing.iter().map(|seq| batch.query_starts[seq + 1] - 1);
    if !last_rows.eq(batch.sample_rows.iter().copied()) {
        return Err(Error::new("sampleRows are not the rows that guess"));
    }
    let mut guesses: Vec<Vec<u32>> = vec![Vec::new(); counts.len()];
    let mut step = batch;
    // The sequences of the samples of `step`.
    let mut sampled = guessing;
    loop {
        let ids = executor.forward(&step, false)?.sampled_ids;
        for (seq, id) in sampled.iter().zip(&ids) {
            guesses[*seq].push(*id);
        }
        let going: Vec<usize> = (0..sampled.len())
            .filter(|sample| guesses[sampled[*sample]].len() < counts[sampled[*sample]] as usize)
            .collect();
        if going.is_empty() {
            return Ok(guesses.into_iter().flatten().collect());
        }
        step = next_step(&step, &going, &ids, block_size)?;
        sampled = going.iter().map(|sample| sampled[*sample]).collect();
    }
}

/// One row for each of these samples of `step`: the token it gave.
fn next_step(step: &Batch, samples: &[usize], ids: &[u32], block_size: usize) -> Result<Batch> {
    let mut next = Batch {
        query_starts: (0..=samples.len() as i32).collect(),
        max_blocks: step.max_blocks,
        sample_rows: (0..samples.len() as i32).collect(),
        adjustments: step.adjustments.select(samples),
        ..Batch::default()
    };
    for sample in samples.iter().copied() {
        let row = step.sample_rows[sample];
        // The sequence that the row is of; `Batch::check` has seen both.
        let seq = step.query_starts.partition_point(|start| *start <= row) - 1;
        let table = &step.block_tables[seq * step.max_blocks..][..step.max_blocks];
        let position = step.positions[row as usize] + 1;
        let (block, offset) = (
            position as usize / block_size,
            position as usize % block_size,
        );
        let block = table
            .get(block)
            .filter(|block| **block >= 0)
            .ok_or_else(|| Error::new("blockTables has no room for the guesses"))?;
        next.token_ids.push(ids[sample] as i32);
        next.positions.push(position);
        next.slots.push(block * block_size as i32 + offset as i32);
        next.context_lens.push(position + 1);
        next.block_tables.extend(table);
        next.temperatures.push(step.temperatures[sample]);
        next.top_ps.push(step.top_ps[sample]);
        next.top_ks.push(step.top_ks[sample]);
        next.seeds.push(step.seeds[sample]);
        next.min_ps.extend(step.min_ps.get(sample));
    }
    Ok(next)
}
