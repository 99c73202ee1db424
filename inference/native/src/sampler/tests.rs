use super::reference::{logits, places};
use super::*;
use crate::matrix::Arithmetic;
use crate::test_model::Random;

fn draw(logits: &[f32], sampling: Sampling) -> u32 {
    sample(
        &Kernels::available(Arithmetic::Blocks)[0],
        &mut logits.to_vec(),
        sampling,
    )
    .unwrap()
}

const PLAIN: Sampling = Sampling {
    temperature: 1.0,
    min_p: 0.0,
    top_k: 0,
    top_p: 1.0,
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
fn a_temperature_whose_inverse_overflows_takes_the_best() {
    for temperature in [1e-45, f32::MIN_POSITIVE, 1e-6] {
        let cold = Sampling {
            temperature,
            top_p: 0.5,
            ..PLAIN
        };
        assert_eq!(draw(&[1.0, 3.0, 2.0], cold), 1);
    }
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

/// Shares of 21,000 draws over 1 : 2 : 4 : 0.02, by id.
fn counts(sampling: Sampling) -> [u32; 4] {
    let logits = [0.0, 2.0_f32.ln(), 4.0_f32.ln(), 0.02_f32.ln()];
    let mut counts = [0; 4];
    for position in 0..21_000 {
        counts[draw(
            &logits,
            Sampling {
                position,
                ..sampling
            },
        ) as usize] += 1;
    }
    counts
}

/// Pearson's χ² against the probabilities of weights; a count where the weight is 0 makes it infinite.
fn chi_squared(counts: [u32; 4], weights: [f64; 4]) -> f64 {
    let total: f64 = weights.iter().sum();
    counts
        .iter()
        .zip(weights)
        .filter(|(count, weight)| **count > 0 || *weight > 0.0)
        .map(|(count, weight)| {
            let expected = 21_000.0 * weight / total;
            (f64::from(*count) - expected).powi(2) / expected
        })
        .sum()
}

#[test]
fn frequencies_follow_the_probabilities_that_each_limit_leaves() {
    let cases = [
        (PLAIN, [1.0, 2.0, 4.0, 0.02]),
        (
            Sampling {
                temperature: 0.5,
                ..PLAIN
            },
            [1.0, 4.0, 16.0, 4e-4],
        ),
        (
            Sampling {
                min_p: 0.2,
                ..PLAIN
            },
            [1.0, 2.0, 4.0, 0.0],
        ),
        (
            Sampling {
                min_p: 0.4,
                ..PLAIN
            },
            [0.0, 2.0, 4.0, 0.0],
        ),
        (Sampling { top_k: 2, ..PLAIN }, [0.0, 2.0, 4.0, 0.0]),
        (
            Sampling {
                top_p: 0.9,
                ..PLAIN
            },
            [1.0, 2.0, 4.0, 0.0],
        ),
        (
            Sampling {
                top_p: 0.85,
                ..PLAIN
            },
            [0.0, 2.0, 4.0, 0.0],
        ),
        // Of the best two's mass a share of 0.6 is less than the best one's.
        (
            Sampling {
                top_k: 2,
                top_p: 0.6,
                ..PLAIN
            },
            [0.0, 0.0, 4.0, 0.0],
        ),
        (
            Sampling {
                min_p: 0.2,
                top_k: 3,
                top_p: 0.7,
                ..PLAIN
            },
            [0.0, 2.0, 4.0, 0.0],
        ),
    ];
    for (sampling, weights) in cases {
        let counts = counts(sampling);
        // Exceeded by chance once in 100,000 times with three degrees of freedom.
        let statistic = chi_squared(counts, weights);
        assert!(statistic < 25.9, "{sampling:?}: {counts:?}, {statistic}");
    }
}

#[test]
fn every_draw_is_the_token_that_the_definition_puts_there_in_every_set() {
    let mut random = Random(11);
    let near = 1e-4;
    for case in 0..3000 {
        let len = 1 + random.below(700);
        let logits = logits(&mut random, len);
        let sampling = Sampling {
            temperature: [0.3, 0.7, 1.0, 2.5][random.below(4)],
            min_p: [0.0, 0.0, 0.03, 0.3, 1.0][random.below(5)],
            top_k: [0, 0, 2, 17, 300, 5000][random.below(6)],
            top_p: [1.0, 1.0, 0.95, 0.5, 0.01][random.below(5)],
            seed: random.next() as u32,
            position: random.below(5000) as u32,
        };
        let id = draw(&logits, sampling);
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let other = sample(&kernels, &mut logits.clone(), sampling).unwrap();
            assert_eq!(other, id, "case {case}, {}", kernels.name);
        }
        if sampling.is_greedy() {
            continue;
        }
        // Rounding may move the ends of a place, and let in or out a token at the edge of a limit.
        let at = uniform(sampling.seed, sampling.position);
        let is_there = |places: super::reference::Places| {
            places
                .iter()
                .any(|(each, from, to)| *each == id && *from - near <= at && at <= *to + near)
        };
        let slightly = [1.0, 1.0 - 1e-5, 1.0 + 1e-5];
        let is_right = slightly.iter().any(|factor| {
            let top_p = (sampling.top_p * factor).min(1.0);
            let min_p = sampling.min_p * factor;
            let moved = Sampling {
                min_p,
                top_p,
                ..sampling
            };
            is_there(places(&logits, &moved))
        });
        assert!(is_right, "case {case}: {sampling:?} drew {id} at {at}");
    }
}

#[test]
fn refuses_logits_that_are_not_numbers() {
    assert!(
        sample(
            &Kernels::available(Arithmetic::Blocks)[0],
            &mut [0.0, f32::NAN],
            PLAIN
        )
        .is_err()
    );
}
