use half::f16;

use super::portable_attention::{LEAST_EXPONENT, exp2};
use super::tests::{bits, normalised_error};
use super::*;
use crate::kv_pool::{BlockLayout, KvFormat};
use crate::matrix::Arithmetic;
use crate::test_model::Random;

/// Keys and values of one sequence in scattered blocks, with two KV heads. Slots that hold nothing of it hold NaNs.
struct Attention {
    group: usize,
    head_dim: usize,
    block_size: usize,
    format: KvFormat,
    window: Option<usize>,
    positions: Vec<i32>,
    /// [token, KV head, query head of it, `head_dim`] as they are, not scaled
    queries: Vec<f32>,
    block_table: Vec<i32>,
    /// [KV head][position][dimension]
    keys: [Vec<Vec<f32>>; 2],
    values: [Vec<Vec<f32>>; 2],
    pool: Vec<u16>,
}

impl Attention {
    fn new(group: usize, head_dim: usize, block_size: usize, positions: &[i32]) -> Self {
        Self::kept_as(KvFormat::F16, group, head_dim, block_size, positions)
    }

    fn kept_as(
        format: KvFormat,
        group: usize,
        head_dim: usize,
        block_size: usize,
        positions: &[i32],
    ) -> Self {
        let latest = *positions.iter().max().unwrap() as usize;
        let mut random = Random((group * 1000 + latest) as u64);
        let blocks = (latest + 1).div_ceil(block_size);
        let mut rows = |scale: f32| -> Vec<Vec<f32>> {
            let mut half = || f16::from_f32(random.float() * scale).to_f32();
            let mut row = || (0..head_dim).map(|_| half()).collect();
            (0..=latest).map(|_| row()).collect()
        };
        let keys = [rows(3.0), rows(3.0)];
        let values = [rows(1.0), rows(1.0)];
        let mut attention = Self {
            group,
            head_dim,
            block_size,
            format,
            window: None,
            positions: positions.to_vec(),
            queries: random.floats(positions.len() * 2 * group * head_dim),
            // Every second block, backwards.
            block_table: (0..blocks as i32).rev().map(|block| block * 2).collect(),
            keys,
            values,
            pool: Vec::new(),
        };
        attention.pool = vec![f16::NAN.to_bits(); 2 * blocks * attention.layout().len()];
        match format {
            KvFormat::F16 => attention.fill_pool(),
            KvFormat::Q8 => attention.fill_quants(),
        }
        attention
    }

    fn layout(&self) -> BlockLayout {
        BlockLayout {
            format: self.format,
            block_size: self.block_size,
            num_layers: 1,
            num_kv_heads: 2,
            head_dim: self.head_dim,
        }
    }

    /// As `fill_pool`; and keys and values become what is kept of them.
    fn fill_quants(&mut self) {
        let layout = self.layout();
        let scales_at = self.head_dim / 2 * self.block_size;
        let mut bytes: Vec<[u8; 2]> = self.pool.iter().map(|half| half.to_le_bytes()).collect();
        for part in 0..4 {
            let rows = match part {
                0 | 1 => &mut self.keys[part],
                _ => &mut self.values[part - 2],
            };
            for (position, row) in rows.iter_mut().enumerate() {
                let block = self.block_table[position / self.block_size] as usize;
                let start = block * layout.len() + part * layout.head_len();
                let slot = position % self.block_size;
                let mut quants = vec![0; self.head_dim];
                let scale = quant_head(row, &mut quants);
                bytes[start + scales_at + slot] = scale.to_le_bytes();
                for (dim, quant) in quants.iter().enumerate() {
                    row[dim] = f16::from_bits(scale).to_f32() * f32::from(*quant);
                    let at = if part < 2 {
                        dim * self.block_size + slot
                    } else {
                        slot * self.head_dim + dim
                    };
                    bytes.as_flattened_mut()[2 * start + at] = quant.to_le_bytes()[0];
                }
            }
        }
        self.pool = bytes.into_iter().map(u16::from_le_bytes).collect();
    }

    /// A block: keys of both heads, then their values.
    fn fill_pool(&mut self) {
        let head_len = self.head_dim * self.block_size;
        for head in 0..2 {
            for (position, (key, value)) in
                self.keys[head].iter().zip(&self.values[head]).enumerate()
            {
                let block = self.block_table[position / self.block_size] as usize * 4 * head_len;
                let slot = position % self.block_size;
                for dim in 0..self.head_dim {
                    let key_at = block + head * head_len + dim * self.block_size + slot;
                    let value_at = block + (2 + head) * head_len + slot * self.head_dim + dim;
                    self.pool[key_at] = f16::from_f32(key[dim]).to_bits();
                    self.pool[value_at] = f16::from_f32(value[dim]).to_bits();
                }
            }
        }
    }

    /// [row, `head_dim`]
    fn run(&self, kernels: &Kernels, kv_head: usize) -> Vec<f32> {
        let (head_dim, num_rows) = (self.head_dim, self.positions.len() * self.group);
        let score_stride = (self.block_table.len() * self.block_size).next_multiple_of(16);
        let mut output = vec![f32::NAN; num_rows * head_dim];
        let mut scores = vec![f32::NAN; num_rows * score_stride];
        let scale = query_scale(head_dim);
        let queries: Vec<f32> = self.queries.iter().map(|query| query * scale).collect();
        let layout = self.layout();
        let mut task = HeadTask {
            queries: &queries[kv_head * self.group * head_dim..],
            query_stride: 2 * self.group * head_dim,
            group: self.group,
            head_dim,
            positions: &self.positions,
            window: self.window,
            block_table: &self.block_table,
            block_size: self.block_size,
            format: self.format,
            pool: &self.pool,
            block_stride: layout.len(),
            keys_at: layout.keys_at(0, kv_head),
            values_at: layout.values_at(0, kv_head),
            output: &mut output,
            scores: &mut scores,
            score_stride,
            scratch: &mut vec![f32::NAN; scratch_len(head_dim)],
        };
        // SAFETY: the set is one of this processor.
        unsafe { (kernels.attend)(&mut task) };
        output
    }

    /// The definition, in f64.
    fn plain(&self, kv_head: usize) -> Vec<f64> {
        let mut output = Vec::new();
        let (keys, values) = (&self.keys[kv_head], &self.values[kv_head]);
        for (row, query) in self.queries.chunks_exact(self.head_dim).enumerate() {
            let (token, head) = (row / (2 * self.group), row % (2 * self.group));
            if head / self.group != kv_head {
                continue;
            }
            let end = self.positions[token] as usize + 1;
            let own = end - self.window.unwrap_or(end).min(end)..end;
            let dot = |key: &Vec<f32>| -> f64 {
                let products = query.iter().zip(key);
                products
                    .map(|(query, key)| f64::from(*query) * f64::from(*key))
                    .sum()
            };
            let weights: Vec<f64> = keys[own.clone()]
                .iter()
                .map(|key| (dot(key) / (self.head_dim as f64).sqrt()).exp())
                .collect();
            let total: f64 = weights.iter().sum();
            output.extend((0..self.head_dim).map(|dim| {
                let weighed = weights.iter().zip(&values[own.clone()]);
                weighed
                    .map(|(weight, value)| weight / total * f64::from(value[dim]))
                    .sum::<f64>()
            }));
        }
        output
    }

    /// Every set against the definition and against the scalar one.
    fn check(&self) {
        for kv_head in 0..2 {
            let expected = self.run(&scalar::KERNELS, kv_head);
            let error = normalised_error(&expected, &self.plain(kv_head));
            let case = format!(
                "{} × {}, blocks of {}, window {:?}, at {:?}",
                self.group, self.head_dim, self.block_size, self.window, self.positions
            );
            assert!(error < 1e-11, "{case}: {error}");
            for kernels in Kernels::available(Arithmetic::Blocks) {
                let output = self.run(&kernels, kv_head);
                assert!(bits(&output) == bits(&expected), "{} {case}", kernels.name);
            }
        }
    }
}

#[test]
fn attention_agrees_with_its_definition_and_is_the_same_in_every_set() {
    let heads = [
        (1, 64),
        (2, 64),
        (3, 64),
        (5, 64),
        (7, 64),
        (48, 64),
        (3, 128),
        (4, 256),
        (6, 96),
        (1, 32),
        (2, 16),
        (7, 48),
    ];
    for (group, head_dim) in heads {
        for (first, block_size) in [(0, 16), (1, 32), (14, 16), (77, 16), (18, 4)] {
            for num_tokens in [1, 2, 3, 4, 7, 16, 48] {
                // Few of the long ones: without optimisation they are slow.
                if num_tokens * group > MAX_ROWS || num_tokens > 7 && head_dim > 64 {
                    continue;
                }
                // Neighbours, and out of order, which a caller may send as well.
                let mut positions: Vec<i32> = (first..).take(num_tokens).collect();
                for format in [KvFormat::F16, KvFormat::Q8] {
                    Attention::kept_as(format, group, head_dim, block_size, &positions).check();
                    positions.reverse();
                }
                Attention::new(group, head_dim, block_size, &positions).check();
            }
        }
    }
}

#[test]
fn a_window_leaves_out_all_but_the_latest_positions_in_every_set() {
    for (group, head_dim) in [(1, 64), (2, 128), (4, 256), (2, 16)] {
        for window in [1, 5, 16, 17, 40, 100] {
            for num_tokens in [1, 5, MAX_ROWS / group] {
                let positions: Vec<i32> = (150..).take(num_tokens).collect();
                let mut attention = Attention::new(group, head_dim, 16, &positions);
                attention.window = Some(window);
                attention.check();
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others_in_every_set() {
    for window in [None, Some(20)] {
        let positions: Vec<i32> = (90..106).collect();
        let mut together = Attention::new(3, 64, 16, &positions);
        together.window = window;
        for kernels in Kernels::available(Arithmetic::Blocks) {
            let expected = together.run(&kernels, 1);
            for (token, rows) in expected.chunks_exact(3 * 64).enumerate() {
                let mut alone = Attention::new(3, 64, 16, &positions);
                alone.window = window;
                alone.positions = vec![positions[token]];
                alone.queries = alone.queries[token * 6 * 64..][..6 * 64].to_vec();
                assert_eq!(
                    bits(&alone.run(&kernels, 1)),
                    bits(rows),
                    "{}",
                    kernels.name
                );
            }
        }
    }
}

#[test]
fn powers_of_two_are_within_two_units_and_end_where_numbers_do() {
    let mut worst = 0.0_f64;
    for step in 0..=1_250_000 {
        let x = step as f32 * -1e-4;
        let exact = f64::from(x).exp2();
        let unit = f64::from(f32::from_bits((exact as f32).to_bits() + 1) - exact as f32);
        worst = worst.max((f64::from(exp2(x)) - exact).abs() / unit);
    }
    assert!(worst <= 2.0, "{worst} units");
    assert_eq!(exp2(0.0).to_bits(), 1.0_f32.to_bits());
    assert_eq!(
        exp2(f32::NEG_INFINITY).to_bits(),
        exp2(LEAST_EXPONENT).to_bits()
    );
    assert!(exp2(f32::NAN).is_nan());
}

#[test]
fn a_head_in_bytes_is_within_half_a_step_and_a_number_unless_it_was_none() {
    let mut random = Random(5);
    for head_dim in [16, 64, 256] {
        for size in [1e-6, 0.1, 3.0, 70_000.0] {
            let mut values: Vec<f32> = (0..head_dim).map(|_| random.float() * size).collect();
            values[3] = -size;
            let mut quants = vec![0; head_dim];
            let scale = f16::from_bits(quant_head(&values, &mut quants)).to_f32();
            assert!(scale.is_finite());
            for (value, quant) in values.iter().zip(&quants) {
                let value = value.clamp(-65504.0, 65504.0);
                // Half a step, and what the rounding of the scale cuts off the largest.
                let most = scale * 0.5 + value.abs() / 1024.0 + 1e-6;
                assert!((value - scale * f32::from(*quant)).abs() <= most, "{value}");
            }
        }
    }
    let mut quants = [7; 4];
    assert_eq!(quant_head(&[0.0, -0.0, 0.0, 0.0], &mut quants), 0);
    assert_eq!(quants, [0; 4]);
    let infinite = quant_head(&[f32::INFINITY, 1.0, f32::NEG_INFINITY, 0.0], &mut quants);
    assert!(f16::from_bits(infinite).is_finite());
    assert_eq!(quants, [127, 0, -127, 0]);
    let none = quant_head(&[1.0, f32::NAN, 0.0, 2.0], &mut quants);
    assert!(
        quants
            .iter()
            .all(|quant| (f16::from_bits(none).to_f32() * f32::from(*quant)).is_nan())
    );
}
