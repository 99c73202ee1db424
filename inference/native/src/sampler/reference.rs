//! The sampler as its definition says, in f64, with a full sort: slow, and written without looking at the fast one.

use super::Sampling;
use crate::test_model::Random;

/// A token's place on the line that the draw points into: (id, from, to), of a line of length 1.
pub type Places = Vec<(u32, f64, f64)>;

pub fn places(logits: &[f32], sampling: &Sampling) -> Places {
    let logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let temperature = f64::from(sampling.temperature);
    let mut tokens: Vec<(u32, f64)> = logits
        .iter()
        .enumerate()
        .map(|(id, logit)| (id as u32, ((logit - max) / temperature).exp()))
        .collect();
    if sampling.min_p > 0.0 {
        tokens.retain(|(_, weight)| *weight >= f64::from(sampling.min_p));
    }
    if sampling.top_k > 0 || sampling.top_p < 1.0 {
        tokens.sort_by(|one, other| other.1.total_cmp(&one.1));
    }
    if sampling.top_k > 0 {
        tokens.truncate(sampling.top_k);
    }
    if sampling.top_p < 1.0 {
        let total: f64 = tokens.iter().map(|(_, weight)| weight).sum();
        let mut before = 0.0;
        tokens.retain(|(_, weight)| {
            let is_kept = before < total * f64::from(sampling.top_p);
            before += weight;
            is_kept
        });
    }
    let total: f64 = tokens.iter().map(|(_, weight)| weight).sum();
    let mut from = 0.0;
    tokens
        .into_iter()
        .map(|(id, weight)| {
            let place = (id, from / total, (from + weight) / total);
            from += weight;
            place
        })
        .collect()
}

/// Logits of any shape: flat, steep, with a few far above the rest.
pub fn logits(random: &mut Random, len: usize) -> Vec<f32> {
    let spread = [0.1, 3.0, 12.0][random.below(3)];
    let mut logits: Vec<f32> = random.floats(len).iter().map(|x| x * spread).collect();
    for _ in 0..random.below(4) {
        let at = random.below(len);
        logits[at] += 8.0;
    }
    logits
}
