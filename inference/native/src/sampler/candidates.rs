//! Which tokens a draw may give: min-p, then top-k, then top-p, each over what the one before it left.

/// See `Sampling`.
#[derive(Clone, Copy)]
pub struct Limits {
    pub min_p: f32,
    pub top_k: usize,
    pub top_p: f32,
}

/// Weights looked at first, as shares of the best one's: few tokens are above it, and they nearly always suffice.
const FIRST_FLOOR: f32 = 1.0 / 256.0;
/// Weights that are passed over together where none of them counts, which is nearly everywhere.
const CHUNK: usize = 64;
/// How much lower the next look goes, and below what it takes in everything.
const FLOOR_STEP: f32 = 1.0 / 256.0;
const LOWEST_FLOOR: f32 = 1e-12;
/// Candidates sorted at first when a nucleus is asked for; grown until the mass is reached.
const FIRST_SORTED: usize = 256;

impl Limits {
    pub fn keep_all(&self) -> bool {
        self.min_p <= 0.0 && self.top_k == 0 && self.top_p >= 1.0
    }
}

/// The tokens left, with their weights: best first, but in the order of ids where only min-p is asked for.
/// `weights` are probabilities times a factor that makes the best one 1; `total` is their sum.
/// Sources: min-p, arXiv 2407.01082; top-k, arXiv 1805.04833; top-p, arXiv 1904.09751.
pub fn candidates(weights: &[f32], total: f32, limits: Limits) -> Vec<(u32, f32)> {
    if limits.top_k == 0 && limits.top_p >= 1.0 {
        return at_least(weights, limits.min_p);
    }
    let total = if limits.min_p > 0.0 {
        sum(&at_least(weights, limits.min_p))
    } else {
        f64::from(total)
    };
    // Whatever is above a floor is the beginning of the sorted order, so what is found there is what a full sort finds.
    let mut floor = FIRST_FLOOR;
    loop {
        let is_all = floor <= limits.min_p || floor < LOWEST_FLOOR;
        let above = at_least(weights, if is_all { limits.min_p } else { floor });
        let kept = if limits.top_k > 0 {
            most_likely(above, limits, is_all)
        } else {
            nucleus(above, total * f64::from(limits.top_p), is_all)
        };
        if let Some(kept) = kept {
            return kept;
        }
        floor *= FLOOR_STEP;
    }
}

fn at_least(weights: &[f32], floor: f32) -> Vec<(u32, f32)> {
    let mut found = Vec::new();
    for (index, chunk) in weights.chunks(CHUNK).enumerate() {
        // Counted without a branch, so that a compiler compares several at once.
        let count: u32 = chunk.iter().map(|weight| u32::from(*weight >= floor)).sum();
        if count > 0 {
            let all = (index * CHUNK..).zip(chunk);
            found.extend(
                all.filter(|(_, weight)| **weight >= floor)
                    .map(|(id, weight)| (id as u32, *weight)),
            );
        }
    }
    found
}

fn sum(tokens: &[(u32, f32)]) -> f64 {
    tokens.iter().map(|(_, weight)| f64::from(*weight)).sum()
}

/// The best `count` of `tokens`, sorted.
fn sorted(tokens: &mut [(u32, f32)], count: usize) -> &[(u32, f32)] {
    let best_first =
        |one: &(u32, f32), other: &(u32, f32)| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0));
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count, best_first);
    }
    let best = &mut tokens[..count];
    best.sort_unstable_by(best_first);
    best
}

/// Top-k, and top-p of the mass it leaves. None when `tokens` are too few and not `is_all`.
fn most_likely(
    mut tokens: Vec<(u32, f32)>,
    limits: Limits,
    is_all: bool,
) -> Option<Vec<(u32, f32)>> {
    if tokens.len() < limits.top_k && !is_all {
        return None;
    }
    let count = limits.top_k.min(tokens.len());
    let mut kept = sorted(&mut tokens, count).to_vec();
    if limits.top_p < 1.0 {
        let mass = sum(&kept) * f64::from(limits.top_p);
        let end = end_of_mass(&kept, mass);
        kept.truncate(end.unwrap_or(count));
    }
    Some(kept)
}

/// The fewest best tokens that weigh `mass`. None when all of `tokens` weigh less and are not `is_all`.
fn nucleus(mut tokens: Vec<(u32, f32)>, mass: f64, is_all: bool) -> Option<Vec<(u32, f32)>> {
    let mut size = FIRST_SORTED;
    loop {
        let count = size.min(tokens.len());
        let best = sorted(&mut tokens, count);
        if let Some(end) = end_of_mass(best, mass) {
            return Some(best[..end].to_vec());
        }
        if count == tokens.len() {
            return is_all.then_some(tokens);
        }
        size *= 16;
    }
}

/// How many of the tokens it takes to weigh `mass`; none when all weigh less.
fn end_of_mass(tokens: &[(u32, f32)], mass: f64) -> Option<usize> {
    let mut sum = 0.0;
    let last = tokens.iter().position(|(_, weight)| {
        sum += f64::from(*weight);
        sum >= mass
    })?;
    Some(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Limits = Limits {
        min_p: 0.0,
        top_k: 0,
        top_p: 1.0,
    };

    fn ids(weights: &[f32], limits: Limits) -> Vec<u32> {
        let total = weights.iter().sum();
        let kept = candidates(weights, total, limits);
        kept.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_nucleus_wider_than_the_first_look_is_found() {
        let flat = vec![1.0_f32; 3072];
        let kept = ids(&flat, Limits { top_p: 0.75, ..OFF });
        assert!(kept.into_iter().eq(0..2304));
    }

    #[test]
    fn a_nucleus_deeper_than_the_first_floor_is_found() {
        let mut weights = vec![1e-3_f32; 2001];
        weights[1234] = 1.0;
        let kept = ids(&weights, Limits { top_p: 0.5, ..OFF });
        assert_eq!(kept[0], 1234);
        assert!((490..=520).contains(&kept.len()), "{}", kept.len());
        assert_eq!(ids(&weights, Limits { top_k: 3, ..OFF }), [1234, 0, 1]);
    }

    #[test]
    fn min_p_is_a_share_of_the_best() {
        let weights = [0.5, 1.0, 0.1, 0.099];
        assert_eq!(ids(&weights, Limits { min_p: 0.1, ..OFF }), [0, 1, 2]);
        assert_eq!(ids(&weights, Limits { min_p: 1.0, ..OFF }), [1]);
    }

    #[test]
    fn each_limit_counts_what_the_one_before_it_left() {
        let weights = [1.0, 0.5, 0.25, 0.25, 0.01];
        // Of all 2.01, 0.74 are 1.4874: two tokens. Of the best three's 1.75 it is 1.295: still two. Of the best two's 1.5
        // it is 1.11, and of the 1.5 that min-p leaves too.
        assert_eq!(ids(&weights, Limits { top_p: 0.74, ..OFF }), [0, 1]);
        let only = Limits { top_p: 0.6, ..OFF };
        assert_eq!(ids(&weights, only), [0, 1]);
        assert_eq!(ids(&weights, Limits { top_k: 2, ..only }), [0]);
        assert_eq!(ids(&weights, Limits { min_p: 0.4, ..only }), [0]);
    }

    #[test]
    fn more_than_there_are_is_all() {
        let weights = [0.5, 1.0];
        assert_eq!(ids(&weights, Limits { top_k: 9, ..OFF }), [1, 0]);
    }
}
