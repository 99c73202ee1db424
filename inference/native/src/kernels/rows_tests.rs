use half::f16;

use super::rows::{Digits, PASS, SCALAR, TileBlock, TokenScale, WIDE, row_scales, token_scale};
use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::matrix::{BLOCK, Layout, Matrix};
use crate::test_model::{GgufBuilder, Random, weights};

/// Tokens' activations, split by the scalar set.
struct Tokens {
    tiles: Vec<TileBlock>,
    scales: Vec<TokenScale>,
    width: usize,
}

impl Tokens {
    fn new(tokens: &[Vec<f32>]) -> Self {
        let width = tokens[0].len();
        let len = width.div_ceil(WIDE);
        // What is beyond the tokens must not matter.
        let stale = TileBlock([[0x55; WIDE]; 16]);
        let mut tiles = vec![stale; tokens.len().div_ceil(PANEL) * len];
        let mut scales = vec![TokenScale::default(); tokens.len()];
        for (token, values) in tokens.iter().enumerate() {
            let (scale, inverse) = token_scale(rows::largest(values));
            scales[token].scale = scale;
            let panel = &mut tiles[token / PANEL * len..][..len];
            // SAFETY: as many registers as there are values.
            let [upper_sum, lower_sum] =
                unsafe { (SCALAR.split)(values, inverse, panel.as_mut_ptr(), token % PANEL * 2) };
            (scales[token].upper_sum, scales[token].lower_sum) = (upper_sum, lower_sum);
        }
        Self {
            tiles,
            scales,
            width,
        }
    }

    /// `count` of them from `first` on, the first of a panel.
    fn some(&self, first: usize, count: usize) -> Digits<'_> {
        let len = self.width.div_ceil(WIDE);
        Digits {
            tiles: &self.tiles[first / PANEL * len..][..count.div_ceil(PANEL) * len],
            scales: &self.scales[first..][..count],
        }
    }
}

fn matrix_of(bytes: &[u8], kind: TensorType, rows: usize, columns: usize) -> Matrix {
    let mut file = GgufBuilder::new();
    file.tensor("m", &[columns, rows], kind, bytes);
    let gguf = Gguf::from_bytes(&file.build()).unwrap();
    Matrix::load(&gguf, Arithmetic::Rows, "m", rows, columns).unwrap()
}

fn quantised_types() -> impl Iterator<Item = TensorType> {
    let all = TensorType::ALL.into_iter();
    all.filter(|kind| kind.block().0 > 1)
}

fn bits(rows: &[[f32; TILE]]) -> Vec<u32> {
    rows.iter().flatten().map(|value| value.to_bits()).collect()
}

/// [token, 16 rows] of a tile, with weights that are expanded first, and as `multiply` makes them where tokens are few.
fn multiply(set: &RowsKernels, matrix: &Matrix, tile: usize, digits: &Digits<'_>) -> [Vec<u32>; 2] {
    let Layout::Rows(layout) = matrix.layout else {
        panic!("a quantised matrix");
    };
    let (tile, count) = (matrix.tile(tile), digits.scales.len());
    let mut expanded = vec![TileBlock([[0x55; WIDE]; 16]); matrix.num_columns.div_ceil(WIDE)];
    let mut out = [vec![[f32::NAN; TILE]; count], vec![[f32::NAN; TILE]; count]];
    // SAFETY: the set is one of this processor.
    unsafe {
        (set.begin)(count.min(PANEL));
        (set.expand)(layout)(tile, &mut expanded);
        (set.multiply_expanded)(&row_scales(tile), &expanded, digits, &mut out[0]);
        if count <= set.few {
            (set.multiply)(layout)(tile, digits, &mut out[1]);
        } else {
            out[1] = out[0].clone();
        }
        (set.end)();
    }
    out.map(|rows| bits(&rows))
}

#[test]
fn every_set_multiplies_to_the_bits_of_plain_loops_for_every_number_of_tokens() {
    for kind in quantised_types() {
        for (rows, width) in [(1, 32), (16, 64), (33, 96), (40, 576)] {
            let width = usize::next_multiple_of(width, kind.block().0);
            let (bytes, _) = weights(&mut Random(11), kind, rows * width);
            let matrix = matrix_of(&bytes, kind, rows, width);
            let mut random = Random(rows as u64);
            let tokens: Vec<_> = (0..PASS).map(|_| random.floats(width)).collect();
            let tokens = Tokens::new(&tokens);
            let tile = matrix.num_tiles() - 1;
            let [expected, _] = multiply(&SCALAR, &matrix, tile, &tokens.some(0, PASS));
            for set in Kernels::available(Arithmetic::Rows) {
                for count in 1..=PASS {
                    let products = multiply(&set.rows, &matrix, tile, &tokens.some(0, count));
                    for (index, products) in products.iter().enumerate() {
                        let name = set.name;
                        assert_eq!(
                            products[..],
                            expected[..count * TILE],
                            "{name} {kind:?} {rows} × {width}, {count} tokens, way {index}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_token_has_the_same_products_wherever_in_a_pass_it_is() {
    let (bytes, _) = weights(&mut Random(2), TensorType::Q4_1, 16 * 160);
    let matrix = matrix_of(&bytes, TensorType::Q4_1, 16, 160);
    let token = Random(3).floats(160);
    let tokens = Tokens::new(&vec![token; PASS]);
    for set in Kernels::available(Arithmetic::Rows) {
        let [products, _] = multiply(&set.rows, &matrix, 0, &tokens.some(0, PASS));
        for product in products.chunks_exact(TILE) {
            assert_eq!(product, &products[..TILE], "{}", set.name);
        }
    }
}

/// Codes and scales at their ends, and the largest sums there are: the widest row, all of one sign.
#[test]
fn extreme_weights_and_the_longest_sums_are_exact_in_every_set() {
    let mut random = Random(8);
    for kind in quantised_types() {
        let (values, bytes) = kind.block();
        let blocks = [0x00_u8, 0xff, 0x80, 0x7f].map(|quant| {
            let mut block = vec![quant; bytes];
            let scale_at = if kind == TensorType::Q6_K { 208 } else { 0 };
            let scale = f16::from_f32(-1.0 - random.float().abs());
            block[scale_at..scale_at + 2].copy_from_slice(&scale.to_le_bytes());
            block
        });
        for width in [values * 4, 1 << 17] {
            let bytes: Vec<u8> = blocks.concat().repeat(width / values / 4);
            let matrix = matrix_of(&bytes, kind, 1, width);
            for value in [1.0, -1.0] {
                let tokens = Tokens::new(&vec![vec![value; width]; 3]);
                let digits = tokens.some(0, 3);
                let expected = multiply(&SCALAR, &matrix, 0, &digits);
                assert_eq!(expected[0], expected[1], "{kind:?}");
                for set in Kernels::available(Arithmetic::Rows) {
                    let products = multiply(&set.rows, &matrix, 0, &digits);
                    assert_eq!(products, expected, "{} {kind:?} {width}", set.name);
                }
            }
        }
    }
}

/// Weights keep 8 bits of a row's largest: an error of 1 / 127 / √12 of it, while the weights of the test are, on average,
/// some 0.4 of it.
#[test]
fn products_agree_with_plain_arithmetic() {
    for kind in quantised_types() {
        let width = 576_usize.next_multiple_of(kind.block().0);
        let (bytes, weights) = weights(&mut Random(5), kind, 16 * width);
        let matrix = matrix_of(&bytes, kind, 16, width);
        let token = Random(6).floats(width);
        let tokens = Tokens::new(std::slice::from_ref(&token));
        let [products, _] = multiply(&SCALAR, &matrix, 0, &tokens.some(0, 1));
        let (mut error, mut total) = (0.0, 0.0);
        for (row, product) in weights.chunks_exact(width).zip(products) {
            let plain = row.iter().zip(&token);
            let plain: f64 = plain.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            error += (f64::from(f32::from_bits(product)) - plain).powi(2);
            total += plain * plain;
        }
        assert!(error / total < 4e-4, "{kind:?}: {}", error / total);
    }
}

#[test]
fn every_set_splits_activations_alike_to_fifteen_bits_of_the_largest() {
    let mut random = Random(4);
    let mut rows: Vec<Vec<f32>> = [32, 96, 576].map(|len| random.floats(len)).into();
    rows.push(vec![0.0; 64]);
    rows.push([1e-45, -1e-45].repeat(32));
    rows.push([f32::MAX, f32::MIN].repeat(32));
    for values in &rows {
        let (scale, inverse) = token_scale(rows::largest(values));
        for set in Kernels::available(Arithmetic::Rows) {
            // SAFETY: the set is one of this processor.
            let largest = unsafe { (set.rows.largest)(values) };
            assert_eq!(largest, rows::largest(values), "{}", set.name);
            let stale = TileBlock([[0x55; WIDE]; 16]);
            let mut expected = vec![stale; values.len().div_ceil(WIDE)];
            let mut actual = expected.clone();
            // SAFETY: as above; as many registers as there are values.
            unsafe {
                let sums = (SCALAR.split)(values, inverse, expected.as_mut_ptr(), 6);
                let own = (set.rows.split)(values, inverse, actual.as_mut_ptr(), 6);
                assert_eq!(own, sums, "{}", set.name);
            }
            assert!(actual == expected, "{}", set.name);
            assert_eq!(expected[0].0[5], [0x55; WIDE]);
            assert_eq!(expected[0].0[8], [0x55; WIDE]);
            let digits = expected.iter().flat_map(|tile| {
                let [upper, lower] = [tile.0[6], tile.0[7]];
                upper.into_iter().zip(lower)
            });
            let values = values.iter().chain(std::iter::repeat(&0.0));
            for ((upper, lower), value) in digits.zip(values) {
                let number = f64::from(upper) * 256.0 + f64::from(lower);
                let error = number * f64::from(scale) - f64::from(*value);
                assert!(error.abs() <= f64::from(scale).max(1e-38) * 0.51);
            }
        }
    }
}

#[test]
fn a_token_that_is_not_finite_makes_products_that_are_not() {
    let (bytes, _) = weights(&mut Random(2), TensorType::Q4_1, 16 * BLOCK);
    let matrix = matrix_of(&bytes, TensorType::Q4_1, 16, BLOCK);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut token = Random(3).floats(BLOCK);
        token[7] = bad;
        let tokens = Tokens::new(&[token]);
        for set in Kernels::available(Arithmetic::Rows) {
            let [products, _] = multiply(&set.rows, &matrix, 0, &tokens.some(0, 1));
            let mut products = products.iter().map(|bits| f32::from_bits(*bits));
            assert!(products.all(|product| !product.is_finite()), "{}", set.name);
        }
    }
}
