//! From logits to a token id. Random numbers are a function of (seed, position) only, so a resumed sequence draws the
//! same ones. Ties go to the lower id.

use crate::error::{Error, Result};
use crate::kernels::Kernels;

/// How one row is sampled; see `SamplingParams` on the other side.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// 0 = greedy.
    pub temperature: f32,
    /// Nucleus mass; 1 = off.
    pub top_p: f32,
    /// Candidates kept; 0 = all.
    pub top_k: usize,
    pub seed: u32,
    /// Position of the token being made.
    pub position: u32,
}

/// Candidates sorted at first when a nucleus is asked for; grown until the mass is reached.
const FIRST_CANDIDATES: usize = 256;

impl Sampling {
    /// The best token is taken, whatever the draw.
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0 || self.top_k == 1
    }
}

/// The most likely token and its logit. Fails when one is a NaN: the weights or the step are broken.
pub fn best(kernels: &Kernels, logits: &[f32]) -> Result<(u32, f32)> {
    // SAFETY: `kernels` comes from `Kernels::detect`, which only offers what this processor has.
    let found = unsafe { (kernels.argmax)(logits) };
    let (id, logit) = found.ok_or_else(|| Error::new("the logits are not numbers"))?;
    Ok((id as u32, logit))
}

/// Picks a token. `logits` are overwritten. Fails as `best` does.
pub fn sample(kernels: &Kernels, logits: &mut [f32], sampling: Sampling) -> Result<u32> {
    let (best, max) = best(kernels, logits)?;
    if sampling.is_greedy() {
        return Ok(best);
    }
    // SAFETY: `kernels` comes from `Kernels::detect`, which only offers what this processor has.
    let total = unsafe { (kernels.exp_scaled)(logits, max, 1.0 / sampling.temperature) };
    let draw = uniform(sampling.seed, sampling.position);
    if sampling.top_p >= 1.0 && sampling.top_k == 0 {
        return Ok(walk(
            logits
                .iter()
                .enumerate()
                .map(|(id, weight)| (id as u32, *weight)),
            draw * f64::from(total),
            best,
        ));
    }
    let kept = nucleus(
        logits,
        f64::from(total) * f64::from(sampling.top_p),
        sampling.top_k,
    );
    let mass: f64 = kept.iter().map(|(_, weight)| f64::from(*weight)).sum();
    Ok(walk(kept.into_iter(), draw * mass, best))
}

/// The most likely candidates, best first, until their weights reach `mass` or `top_k` of them are taken.
fn nucleus(weights: &[f32], mass: f64, top_k: usize) -> Vec<(u32, f32)> {
    let limit = if top_k == 0 {
        weights.len()
    } else {
        top_k.min(weights.len())
    };
    let mut ids: Vec<u32> = (0..weights.len() as u32).collect();
    let order = |one: &u32, other: &u32| {
        weights[*other as usize]
            .total_cmp(&weights[*one as usize])
            .then(one.cmp(other))
    };
    let mut size = FIRST_CANDIDATES;
    loop {
        let take = size.min(limit);
        if take < ids.len() {
            ids.select_nth_unstable_by(take, order);
        }
        let mut best = ids[..take].to_vec();
        best.sort_unstable_by(order);
        let mut sum = 0.0;
        let mut kept = Vec::new();
        for id in best {
            kept.push((id, weights[id as usize]));
            sum += f64::from(weights[id as usize]);
            if sum >= mass {
                return kept;
            }
        }
        if take == limit {
            return kept;
        }
        size *= 16;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(logits: &[f32], sampling: Sampling) -> u32 {
        sample(&Kernels::available()[0], &mut logits.to_vec(), sampling).unwrap()
    }

    const PLAIN: Sampling = Sampling {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        seed: 7,
        position: 0,
    };

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let greedy = Sampling {
            temperature: 0.0,
            ..PLAIN
        };
        assert_eq!(draw(&[1.0, 3.0, 3.0, -2.0], greedy), 1);
    }

    #[test]
    fn the_same_seed_and_position_draw_the_same_token_and_others_do_not() {
        let logits: Vec<f32> = (0..500).map(|id| (id % 7) as f32 * 0.1).collect();
        let all: Vec<u32> = (0..50)
            .map(|position| draw(&logits, Sampling { position, ..PLAIN }))
            .collect();
        let again: Vec<u32> = (0..50)
            .map(|position| draw(&logits, Sampling { position, ..PLAIN }))
            .collect();
        assert_eq!(all, again);
        assert!(all.iter().collect::<std::collections::HashSet<_>>().len() > 20);
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let logits = [0.0, 2.0_f32.ln(), 4.0_f32.ln()];
        let mut counts = [0_u32; 3];
        for position in 0..7000 {
            counts[draw(&logits, Sampling { position, ..PLAIN }) as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([1000.0_f64, 2000.0, 4000.0]) {
            assert!((f64::from(*count) - expected).abs() < 150.0, "{counts:?}");
        }
    }

    #[test]
    fn top_k_and_top_p_keep_only_the_best() {
        let logits: Vec<f32> = (0..5000).map(|id| id as f32 * 0.01).collect();
        for position in 0..200 {
            assert!(
                draw(
                    &logits,
                    Sampling {
                        top_k: 3,
                        position,
                        ..PLAIN
                    }
                ) >= 4997
            );
            assert_eq!(
                draw(
                    &logits,
                    Sampling {
                        top_p: 0.001,
                        position,
                        ..PLAIN
                    }
                ),
                4999
            );
        }
    }

    #[test]
    fn a_nucleus_wider_than_the_first_candidates_is_found() {
        let weights = vec![1.0_f32; 3000];
        assert_eq!(nucleus(&weights, 2000.0, 0).len(), 2000);
    }

    #[test]
    fn refuses_logits_that_are_not_numbers() {
        assert!(sample(&Kernels::available()[0], &mut [0.0, f32::NAN], PLAIN).is_err());
    }
}
