//! From logits to a token id, in the order of vLLM's sampler (v1): logit bias, repetition, frequency and presence
//! penalties (`batch::Adjustments`) → temperature → min-p → top-k → top-p → draw. Greedy takes the best after the penalties.
//! Random numbers are a function of (seed, position) only, so a resumed sequence draws the same ones. Ties go to the lower id.

mod candidates;
pub mod logprobs;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use self::candidates::{Limits, candidates};
use crate::error::{Error, Result};
use crate::kernels::Kernels;

/// How one row is sampled; see `SamplingParams` on the other side.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// 0 (or nearly so) = greedy.
    pub temperature: f32,
    /// Least probability of a candidate as a share of the best one's; 0 = off.
    pub min_p: f32,
    /// Candidates kept; 0 = all.
    pub top_k: usize,
    /// Nucleus mass; 1 = off.
    pub top_p: f32,
    pub seed: u32,
    /// Position of the token being made.
    pub position: u32,
}

/// Below this the best token is taken, as vLLM does: its probability is 1 within rounding, and the inverse might overflow.
const LEAST_TEMPERATURE: f32 = 1e-5;

impl Sampling {
    /// The best token is taken, whatever the draw.
    pub fn is_greedy(&self) -> bool {
        self.temperature < LEAST_TEMPERATURE || self.top_k == 1
    }
}

/// The most likely token and its logit. Fails when one is a NaN: the weights or the step are broken.
pub fn best(kernels: &Kernels, logits: &[f32]) -> Result<(u32, f32)> {
    // SAFETY: `kernels` comes from `Kernels::detect`, which only offers what this processor has.
    let found = unsafe { (kernels.argmax)(logits) };
    let (id, logit) = found.ok_or_else(|| Error::new("the logits are not numbers"))?;
    Ok((id as u32, logit))
}

/// Picks a token. `logits`, adjusted already, are overwritten. Fails as `best` does.
pub fn sample(kernels: &Kernels, logits: &mut [f32], sampling: Sampling) -> Result<u32> {
    let (best, max) = best(kernels, logits)?;
    if sampling.is_greedy() {
        return Ok(best);
    }
    // SAFETY: `kernels` comes from `Kernels::detect`, which only offers what this processor has.
    let total = unsafe { (kernels.exp_scaled)(logits, max, 1.0 / sampling.temperature) };
    let draw = uniform(sampling.seed, sampling.position);
    let limits = Limits {
        min_p: sampling.min_p,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
    };
    if limits.keep_all() {
        let all = logits.iter().enumerate();
        return Ok(walk(
            all.map(|(id, weight)| (id as u32, *weight)),
            draw * f64::from(total),
            best,
        ));
    }
    let kept = candidates(logits, total, limits);
    let mass: f64 = kept.iter().map(|(_, weight)| f64::from(*weight)).sum();
    Ok(walk(kept.into_iter(), draw * mass, best))
}

/// The candidate in which the cumulated weight passes `target`; rounding at the end falls back to the best.
fn walk(candidates: impl Iterator<Item = (u32, f32)>, target: f64, best: u32) -> u32 {
    let mut sum = 0.0;
    for (id, weight) in candidates {
        sum += f64::from(weight);
        if weight > 0.0 && sum > target {
            return id;
        }
    }
    best
}

/// A number in [0, 1) from a counter-based generator. Source: the finaliser of `SplitMix64` (Steele et al., 2014).
fn uniform(seed: u32, position: u32) -> f64 {
    let mut state =
        (u64::from(seed) << 32 | u64::from(position)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9_u64), (27, 0x94d0_49bb_1331_11eb)] {
        state = (state ^ (state >> shift)).wrapping_mul(factor);
    }
    ((state ^ (state >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
