//! What the model itself thinks of tokens: natural logarithms of probabilities of the raw logits, before any adjustment.

use super::best;
use crate::error::Result;
use crate::kernels::Kernels;

/// Most alternatives of one sample.
pub const MAX_TOP: usize = 20;

/// The logarithm of Σ exp(logit) as (largest logit, logarithm of the rest), so that little is lost.
/// `copy` holds the logits and is overwritten.
pub fn normaliser(kernels: &Kernels, copy: &mut [f32]) -> Result<(f32, f64)> {
    let (_, max) = best(kernels, copy)?;
    // SAFETY: `kernels` comes from `Kernels::detect`, which only offers what this processor has.
    let total = unsafe { (kernels.exp_scaled)(copy, max, 1.0) };
    Ok((max, f64::from(total).ln()))
}

/// The logprob of a token with this logit.
pub fn logprob(logit: f32, (max, log_total): (f32, f64)) -> f32 {
    (f64::from(logit) - f64::from(max) - log_total) as f32
}

/// The ids of the `count` largest logits, best first.
pub fn top(logits: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    if count == 0 {
        return Vec::new();
    }
    for (id, logit) in logits.iter().enumerate() {
        if best.len() == count && *logit <= best[count - 1].1 {
            continue;
        }
        let at = best.partition_point(|(_, other)| *other >= *logit);
        best.insert(at, (id as u32, *logit));
        best.truncate(count);
    }
    best.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Arithmetic;
    use crate::test_model::Random;

    #[test]
    fn the_largest_come_first_and_ties_by_id() {
        assert_eq!(top(&[1.0, 5.0, 3.0, 5.0, 4.0], 3), [1, 3, 4]);
        assert!(top(&[1.0, 5.0], 0).is_empty());
        assert_eq!(top(&[1.0, 5.0], 20), [1, 0]);
        let logits: Vec<f32> = Random(1).floats(5000);
        let mut all: Vec<u32> = (0..5000).collect();
        all.sort_by(|one, other| logits[*other as usize].total_cmp(&logits[*one as usize]));
        assert_eq!(top(&logits, MAX_TOP), all[..MAX_TOP]);
    }

    #[test]
    fn probabilities_sum_to_one_and_are_those_of_a_slow_softmax_in_every_set() {
        let logits: Vec<f32> = Random(2).floats(1003).iter().map(|x| x * 12.0).collect();
        let slow: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        let mut first = None;
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let found = normaliser(&kernels, &mut logits.clone()).unwrap();
            assert_eq!(*first.get_or_insert(found), found, "{}", kernels.name);
            for logit in &logits {
                let expected = f64::from(*logit) - slow.ln();
                assert!((f64::from(logprob(*logit, found)) - expected).abs() < 1e-5);
            }
        }
    }
}
