use half::f16;

use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::matrix::{BLOCK, Layout, Matrix};
use crate::test_model::{GgufBuilder, Random, weights};

/// Activations of the tokens of one panel or more, quantised by the scalar set.
struct Panels {
    tokens: Vec<Vec<f32>>,
    blocks: Vec<QuantBlock>,
}

impl Panels {
    fn new(tokens: Vec<Vec<f32>>) -> Self {
        let num_blocks = tokens[0].len() / BLOCK;
        let num_panels = tokens.len().div_ceil(PANEL);
        let mut blocks = vec![QuantBlock::default(); num_panels * num_blocks * PANEL];
        for (token, values) in tokens.iter().enumerate() {
            let panel = token / PANEL * num_blocks;
            for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
                let at = (panel + block) * PANEL + token % PANEL;
                portable::quantize(values, &mut blocks[at]);
            }
        }
        Self { tokens, blocks }
    }

    fn one(values: Vec<f32>) -> Self {
        Self::new(vec![values])
    }

    /// What the quantised values of token 0 stand for.
    fn meant(&self) -> Vec<f64> {
        self.blocks
            .iter()
            .step_by(PANEL)
            .flat_map(|block| {
                block
                    .quants
                    .map(|quant| f64::from(quant) * f64::from(block.scale))
            })
            .collect()
    }
}

fn matrix(kind: TensorType, rows: usize, columns: usize, seed: u64) -> (Matrix, Vec<f32>) {
    let (bytes, values) = weights(&mut Random(seed), kind, rows * columns);
    let mut file = GgufBuilder::new();
    file.tensor("m", &[columns, rows], kind, &bytes);
    let gguf = Gguf::from_bytes(&file.build()).unwrap();
    (
        Matrix::load(&gguf, Arithmetic::Blocks, "m", rows, columns).unwrap(),
        values,
    )
}

/// [token][row] products of a whole matrix with the first `count` tokens.
fn multiply(kernels: &Kernels, matrix: &Matrix, panels: &Panels, count: usize) -> Vec<Vec<f32>> {
    let tokens: Vec<&[f32]> = panels.tokens[..count].iter().map(Vec::as_slice).collect();
    let mut products = vec![Vec::new(); count];
    for tile in 0..matrix.num_tiles() {
        let mut out = vec![[f32::NAN; TILE]; count];
        let weights = matrix.tile(tile);
        // SAFETY: the set is one of this processor.
        unsafe {
            match matrix.layout {
                Layout::Quant(layout) => {
                    (kernels.quant_tile)(layout)(weights, &panels.blocks, &mut out);
                }
                Layout::Float(layout) => {
                    for (tokens, out) in tokens.chunks(PANEL).zip(out.chunks_mut(PANEL)) {
                        (kernels.float_tile)(layout)(weights, tokens, out);
                    }
                }
                Layout::Rows(_) => panic!("a matrix of the other arithmetic"),
            }
        }
        for (products, out) in products.iter_mut().zip(&out) {
            products.extend(&out[..TILE.min(matrix.num_rows - tile * TILE)]);
        }
    }
    products
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Σ (a − b)² / Σ b²
pub fn normalised_error(actual: &[f32], expected: &[f64]) -> f64 {
    let error: f64 = actual
        .iter()
        .zip(expected)
        .map(|(one, other)| (f64::from(*one) - other).powi(2))
        .sum();
    error / expected.iter().map(|each| each * each).sum::<f64>()
}

#[test]
fn every_set_multiplies_to_the_same_bits() {
    for kind in TensorType::ALL {
        for (rows, width) in [(1, 32), (16, 64), (33, 96), (40, 576)] {
            let width = usize::next_multiple_of(width, kind.block().0);
            let (matrix, _) = matrix(kind, rows, width, 11);
            let mut random = Random(rows as u64);
            let panels = Panels::new((0..4 * PANEL).map(|_| random.floats(width)).collect());
            for count in (1..=PANEL).chain([9, 16, 19, 25, 32]) {
                let expected = multiply(&scalar::KERNELS, &matrix, &panels, count);
                for kernels in Kernels::available(Arithmetic::Blocks) {
                    let products = multiply(&kernels, &matrix, &panels, count);
                    for (one, other) in products.iter().zip(&expected) {
                        let name = kernels.name;
                        assert_eq!(
                            bits(one),
                            bits(other),
                            "{name} {kind:?} {rows} × {width}, {count} tokens"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn extreme_quants_do_not_saturate_in_any_set() {
    for kind in TensorType::ALL {
        let (values, bytes) = kind.block();
        if values == 1 {
            continue;
        }
        let blocks = [0x00_u8, 0xff, 0x80, 0x7f].map(|quant| {
            let mut block = vec![quant; bytes];
            let scale_at = if kind == TensorType::Q6_K { 208 } else { 0 };
            block[scale_at..scale_at + 2].copy_from_slice(&f16::from_f32(1.0).to_le_bytes());
            block
        });
        let mut file = GgufBuilder::new();
        file.tensor("m", &[values * 4, 1], kind, &blocks.concat());
        let gguf = Gguf::from_bytes(&file.build()).unwrap();
        let matrix = Matrix::load(&gguf, Arithmetic::Blocks, "m", 1, values * 4).unwrap();
        for value in [1.0, -1.0] {
            let panels = Panels::one(vec![value; values * 4]);
            let expected = multiply(&scalar::KERNELS, &matrix, &panels, 1);
            for kernels in Kernels::available(Arithmetic::Blocks) {
                let products = multiply(&kernels, &matrix, &panels, 1);
                assert_eq!(bits(&products[0]), bits(&expected[0]), "{}", kernels.name);
            }
        }
    }
}

/// The rest is the rounding of a float sum: 576 terms at 2⁻²⁴ each stay far below 1e-10 when squared and normalised.
#[test]
fn the_scalar_set_agrees_with_plain_arithmetic() {
    for kind in TensorType::ALL {
        let (rows, width) = (33, 576_usize.next_multiple_of(kind.block().0));
        let (matrix, weights) = matrix(kind, rows, width, 5);
        let panels = Panels::one(Random(6).floats(width));
        let plain: Vec<f64> = match matrix.layout {
            Layout::Float(_) => panels.tokens[0]
                .iter()
                .map(|value| f64::from(*value))
                .collect(),
            _ => panels.meant(),
        };
        let expected: Vec<f64> = weights
            .chunks_exact(width)
            .map(|row| row.iter().zip(&plain).map(|(w, x)| f64::from(*w) * x).sum())
            .collect();
        let products = multiply(&scalar::KERNELS, &matrix, &panels, 1);
        let error = normalised_error(&products[0], &expected);
        assert!(error < 1e-10, "{kind:?}: {error}");
    }
}

#[test]
fn quantising_rounds_to_the_nearest_step_and_is_the_same_in_every_set() {
    let mut values = Random(9).floats(BLOCK * 40);
    values[..32].fill(0.0);
    values[32..64].fill(-3.0);
    values[64] = 1e30;
    values[96] = 1e-38;
    for values in values.as_chunks::<BLOCK>().0 {
        let mut expected = QuantBlock::default();
        portable::quantize(values, &mut expected);
        for (quant, value) in expected.quants.iter().zip(values) {
            let meant = f32::from(*quant) * expected.scale;
            assert!(
                (meant - value).abs() <= expected.scale * 0.5001,
                "{value} became {meant}"
            );
        }
        let sum: i32 = expected.quants.iter().map(|quant| i32::from(*quant)).sum();
        assert_eq!(expected.integer_sum, sum);
        if values.iter().any(|value| *value != 0.0) {
            let largest = expected
                .quants
                .iter()
                .map(|quant| quant.unsigned_abs())
                .max();
            assert_eq!(largest, Some(127), "the full range is used");
        }
        assert_eq!(
            expected.sum.to_bits(),
            (expected.scale * sum as f32).to_bits()
        );
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let mut actual = QuantBlock::default();
            // SAFETY: the set is one of this processor.
            unsafe { (kernels.quantize)(values, &mut actual) };
            assert_eq!(actual, expected, "{}", kernels.name);
        }
    }
}

/// A NaN or an infinity must not become a plausible number on its way to the sampler, which refuses it.
#[test]
fn broken_values_stay_broken_in_every_set() {
    for broken in [f32::NAN, f32::INFINITY] {
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let mut values = vec![1.0; 32];
            values[5] = broken;
            let mut out = vec![0.0; 32];
            // SAFETY: the set is one of this processor.
            unsafe { (kernels.rms_norm)(&values, &[1.0; 32], 1e-5, &mut out) };
            assert!(out[5].is_nan(), "{} of {broken}", kernels.name);
            let mut block = QuantBlock::default();
            // SAFETY: the set is one of this processor.
            unsafe { (kernels.quantize)(values.first_chunk().unwrap(), &mut block) };
            assert!(!block.scale.is_finite(), "{} of {broken}", kernels.name);
        }
    }
}

#[test]
fn norms_have_unit_mean_square_and_the_same_bits_in_every_set() {
    for width in [32, 64, 576, 100] {
        let (input, weight) = (Random(1).floats(width), Random(2).floats(width));
        let square: f64 = input.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
        let plain: Vec<f64> = input
            .iter()
            .zip(&weight)
            .map(|(x, w)| f64::from(*x) / (square + 1e-5).sqrt() * f64::from(*w))
            .collect();
        let mut expected = vec![0.0; width];
        portable::rms_norm(&input, &weight, 1e-5, &mut expected);
        assert!(normalised_error(&expected, &plain) < 1e-12);
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let mut out = vec![0.0; width];
            // SAFETY: the set is one of this processor.
            unsafe { (kernels.rms_norm)(&input, &weight, 1e-5, &mut out) };
            assert_eq!(bits(&out), bits(&expected), "{}", kernels.name);
        }
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let mut worst = 0.0_f64;
    for step in -860_000..=870_000 {
        let x = step as f32 * 1e-4;
        let exact = f64::from(x).exp();
        let unit = f64::from(f32::from_bits((exact as f32).to_bits() + 1) - exact as f32);
        worst = worst.max((f64::from(portable::exp(x)) - exact).abs() / unit);
    }
    assert!(worst <= 2.0, "{worst} units");
    assert_eq!(portable::exp(0.0).to_bits(), 1.0_f32.to_bits());
    assert!(portable::exp(f32::NEG_INFINITY) < 1e-37);
    assert!(portable::exp(f32::NAN).is_nan());
}

#[test]
fn silu_and_exp_scaled_are_the_same_in_every_set() {
    let gate: [f32; TILE] = std::array::from_fn(|at| at as f32 * 3.0 - 24.0);
    let up: [f32; TILE] = std::array::from_fn(|at| 1.0 - at as f32 * 0.3);
    let mut expected = gate;
    portable::silu_mul(&mut expected, &up);
    for at in 0..TILE {
        let plain = f64::from(gate[at]) / (1.0 + f64::from(-gate[at]).exp()) * f64::from(up[at]);
        assert!((f64::from(expected[at]) - plain).abs() <= plain.abs() * 1e-6);
    }
    let logits: Vec<f32> = Random(3).floats(1003).iter().map(|x| x * 20.0).collect();
    let mut weights = logits.clone();
    let sum = portable::exp_scaled(&mut weights, 20.0, 0.7);
    for kernels in Kernels::available(Arithmetic::Blocks) {
        let (mut out, mut scaled) = (gate, logits.clone());
        // SAFETY: the set is one of this processor.
        let total = unsafe {
            (kernels.silu_mul)(&mut out, &up);
            (kernels.exp_scaled)(&mut scaled, 20.0, 0.7)
        };
        assert_eq!(bits(&out), bits(&expected), "{}", kernels.name);
        assert_eq!(bits(&scaled), bits(&weights), "{}", kernels.name);
        assert_eq!(total.to_bits(), sum.to_bits(), "{}", kernels.name);
    }
}

#[test]
fn gelu_and_layer_norm_agree_with_their_definitions_and_are_the_same_in_every_set() {
    let x: [f32; TILE] = std::array::from_fn(|at| at as f32 * 0.9 - 7.0);
    let up: [f32; TILE] = std::array::from_fn(|at| 1.0 - at as f32 * 0.3);
    let (mut by_tanh, mut by_erf) = (x, x);
    portable::gelu_mul(&mut by_tanh, &up);
    portable::gelu(&mut by_erf);
    for at in 0..TILE {
        let x = f64::from(x[at]);
        let slope = (2.0 / std::f64::consts::PI).sqrt();
        let plain = 0.5 * x * (1.0 + (slope * (x + 0.044_715 * x * x * x)).tanh());
        let plain = plain * f64::from(up[at]);
        assert!((f64::from(by_tanh[at]) - plain).abs() <= 1e-6 * x.abs().max(1.0) * 4.0);
        let plain = x * normal_distribution(x);
        assert!((f64::from(by_erf[at]) - plain).abs() <= 4e-7 * x.abs());
    }
    for len in [1, 16, 33, 384] {
        let mut random = Random(len as u64);
        let (input, weight) = (random.floats(len), random.floats(len));
        let bias = random.floats(len);
        let mut expected = vec![0.0; len];
        portable::layer_norm(&input, &weight, &bias, 1e-5, &mut expected);
        let mean = input.iter().copied().map(f64::from).sum::<f64>() / len as f64;
        let square = |value: &f32| (f64::from(*value) - mean).powi(2);
        let deviation = (input.iter().map(square).sum::<f64>() / len as f64 + 1e-5).sqrt();
        for at in 0..len {
            let plain = (f64::from(input[at]) - mean) / deviation * f64::from(weight[at])
                + f64::from(bias[at]);
            assert!((f64::from(expected[at]) - plain).abs() < 1e-5);
        }
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let (mut one, mut other, mut out) = (x, x, vec![0.0; len]);
            // SAFETY: the set is one of this processor.
            unsafe {
                (kernels.gelu_mul)(&mut one, &up);
                (kernels.gelu)(&mut other);
                (kernels.layer_norm)(&input, &weight, &bias, 1e-5, &mut out);
            }
            assert_eq!(bits(&one), bits(&by_tanh), "{}", kernels.name);
            assert_eq!(bits(&other), bits(&by_erf), "{}", kernels.name);
            assert_eq!(bits(&out), bits(&expected), "{} {len}", kernels.name);
        }
    }
}

/// Φ(x) by its density, in steps of a ten-thousandth.
fn normal_distribution(x: f64) -> f64 {
    let step = 1e-4;
    let density = |at: f64| (-0.5 * at * at).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let steps = (x.abs() / step).round() as i64;
    let area: f64 = (0..steps)
        .map(|at| density((at as f64 + 0.5) * step) * step)
        .sum();
    0.5 + area.copysign(x)
}

#[test]
fn every_f16_is_widened_exactly() {
    for bits in 0..=u16::MAX {
        let expected = f16::from_bits(bits).to_f32();
        if expected.is_finite() {
            assert_eq!(
                portable::f16_to_f32(bits).to_bits(),
                expected.to_bits(),
                "{bits:#06x}"
            );
        }
    }
}

#[test]
fn every_f16_survives_its_way_into_the_pool() {
    let finite: Vec<u16> = (0..=u16::MAX)
        .filter(|bits| f16::from_bits(*bits).is_finite())
        .collect();
    assert_eq!(finite.len() % TILE, 0);
    let values: Vec<f32> = finite
        .iter()
        .map(|bits| f16::from_bits(*bits).to_f32())
        .collect();
    for kernels in Kernels::available(Arithmetic::Blocks) {
        let mut stored = [0; TILE];
        for (values, finite) in values
            .as_chunks()
            .0
            .iter()
            .zip(finite.as_chunks::<TILE>().0)
        {
            // SAFETY: the set is one of this processor.
            unsafe { (kernels.store_f16)(values, &mut stored) };
            assert_eq!(&stored, finite, "{}", kernels.name);
        }
    }
}

#[test]
fn the_pool_rounds_to_even_saturates_and_keeps_a_nan_in_every_set() {
    let one = f16::ONE.to_bits();
    let half_step = f32::from_bits(1.0_f32.to_bits() + (1 << 12));
    let step_and_half = f32::from_bits(1.0_f32.to_bits() + (3 << 12));
    let mut values = [0.0; TILE];
    values[..7].copy_from_slice(&[
        half_step,
        step_and_half,
        1e9,
        f32::NEG_INFINITY,
        65519.0,
        1e-9,
        f32::NAN,
    ]);
    let (max, min) = (f16::MAX.to_bits(), f16::MIN.to_bits());
    for kernels in Kernels::available(Arithmetic::Blocks) {
        let mut stored = [0; TILE];
        // SAFETY: the set is one of this processor.
        unsafe { (kernels.store_f16)(&values, &mut stored) };
        assert_eq!(
            stored[..6],
            [one, one + 2, max, min, max, 0],
            "{}",
            kernels.name
        );
        assert!(f16::from_bits(stored[6]).is_nan(), "{}", kernels.name);
    }
}

#[test]
fn rotating_is_the_same_in_every_set_and_stops_where_the_angles_do() {
    let values: [f32; TILE] = *Random(4).floats(TILE).first_chunk().unwrap();
    let angles: Vec<(f32, f32)> = (0..8).map(|at| (at as f32 * 0.7).sin_cos()).collect();
    for count in [0, 3, 8] {
        let expected: Vec<f32> = (0..TILE)
            .map(|at| match angles[..count].get(at / 2) {
                None => values[at],
                Some((cos, sin)) if at % 2 == 0 => values[at] * cos - values[at + 1] * sin,
                Some((cos, sin)) => values[at - 1] * sin + values[at] * cos,
            })
            .collect();
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let mut rotated = values;
            // SAFETY: the set is one of this processor.
            unsafe { (kernels.rotate)(&mut rotated, &angles[..count]) };
            assert_eq!(bits(&rotated), bits(&expected), "{}", kernels.name);
        }
    }
}

#[test]
fn argmax_is_the_first_of_the_largest_in_every_set() {
    for kernels in Kernels::available(Arithmetic::Blocks) {
        // SAFETY: the set is one of this processor.
        let argmax = |values: &[f32]| unsafe { (kernels.argmax)(values) };
        for len in [1, 15, 16, 17, 100, 2050] {
            for at in 0..len {
                let mut values = vec![-1.0; len];
                values[at..].fill(2.5);
                assert_eq!(argmax(&values), Some((at, 2.5)));
                values[at] = f32::NAN;
                assert_eq!(argmax(&values), None);
            }
        }
        assert_eq!(argmax(&[f32::NEG_INFINITY; 20]), None);
        assert_eq!(argmax(&[]), None);
    }
}

#[test]
fn a_set_is_found_by_its_name_or_not_at_all() {
    for arithmetic in [Arithmetic::Blocks, Arithmetic::Rows] {
        let name = |only| Kernels::detect(arithmetic, only).map(|set| set.name);
        assert_eq!(name(Some("scalar")), Some("scalar"));
        assert_eq!(name(Some("abacus")), None);
        assert_eq!(name(None), Some(Kernels::available(arithmetic)[0].name));
    }
}

/// What `scripts/test-neon.sh` tells of the processor that it emulates: there, a set that is not found is not compared either.
#[test]
fn the_widest_set_is_the_one_that_this_processor_is_known_for() {
    if let Ok(name) = std::env::var("COLLOQUY_EXPECTED_KERNELS") {
        assert_eq!(Kernels::available(Arithmetic::Blocks)[0].name, name);
    }
}
