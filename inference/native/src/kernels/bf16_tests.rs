use half::bf16;

use super::bf16::{Bf16Kernels, PASS, SCALAR, TOKENS, TileBlock, narrow};
use super::*;
use crate::gguf::{Gguf, TensorType};
use crate::matrix::{Layout, Matrix};
use crate::test_model::{GgufBuilder, Random, weights};

fn sets() -> Vec<(&'static str, Bf16Kernels)> {
    let sets = Kernels::with_bf16().into_iter();
    sets.filter_map(|set| Some((set.name, set.bf16?))).collect()
}

fn matrix(kind: TensorType, rows: usize, columns: usize) -> (Matrix, Vec<f32>) {
    let (bytes, values) = weights(&mut Random(11), kind, rows * columns);
    let mut file = GgufBuilder::new();
    file.tensor("m", &[columns, rows], kind, &bytes);
    let gguf = Gguf::from_bytes(&file.build()).unwrap();
    (Matrix::load(&gguf, "m", rows, columns).unwrap(), values)
}

/// Blocks of tile registers, of as many tokens as there are.
fn registers(tokens: &[Vec<f32>]) -> Vec<TileBlock> {
    let num_blocks = tokens[0].len() / BLOCK;
    let mut blocks = vec![TileBlock::ZERO; tokens.len().div_ceil(TOKENS) * num_blocks];
    for (token, values) in tokens.iter().enumerate() {
        for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            let to = &mut blocks[token / TOKENS * num_blocks + block];
            narrow(values, &mut to.0[token % TOKENS]);
        }
    }
    blocks
}

fn bits(rows: &[[f32; TILE]]) -> Vec<u32> {
    rows.iter().flatten().map(|value| value.to_bits()).collect()
}

/// [token, 16 rows] of the matrix's last tile.
fn multiply(set: &Bf16Kernels, matrix: &Matrix, tokens: &[TileBlock], count: usize) -> Vec<u32> {
    let Layout::Quant(layout) = matrix.layout else {
        panic!("a quantised matrix");
    };
    let tile = matrix.tile(matrix.num_tiles() - 1);
    let mut expanded = vec![TileBlock::ZERO; matrix.num_columns / BLOCK];
    let mut out = [[f32::NAN; TILE]; PASS];
    // SAFETY: the set is one of this processor.
    unsafe {
        (set.begin)(TOKENS);
        (set.expand)(layout)(tile, &mut expanded);
        (set.multiply)(&expanded, tokens, &mut out);
        (set.end)();
    }
    bits(&out[..count])
}

fn multiply_few(
    set: &Bf16Kernels,
    matrix: &Matrix,
    tokens: &[TileBlock],
    count: usize,
) -> Vec<u32> {
    let Layout::Quant(layout) = matrix.layout else {
        panic!("a quantised matrix");
    };
    let mut out = [[f32::NAN; TILE]; TOKENS];
    // SAFETY: the set is one of this processor.
    unsafe {
        (set.begin)(count);
        (set.multiply_few)(layout)(matrix.tile(matrix.num_tiles() - 1), tokens, &mut out);
        (set.end)();
    }
    bits(&out[..count])
}

#[test]
fn tile_registers_multiply_to_the_bits_of_plain_loops_for_every_number_of_tokens() {
    for kind in TensorType::ALL
        .into_iter()
        .filter(|kind| kind.block().0 > 1)
    {
        for (rows, width) in [(1, 32), (16, 64), (40, 576)] {
            let width = usize::next_multiple_of(width, kind.block().0);
            let (matrix, _) = matrix(kind, rows, width);
            let mut random = Random(rows as u64);
            let tokens: Vec<_> = (0..PASS).map(|_| random.floats(width)).collect();
            let expected = multiply(&SCALAR, &matrix, &registers(&tokens), PASS);
            for (name, set) in sets() {
                for count in [1, 2, 7, 8, 15, 16, 17, 32, 40, 63, 64] {
                    let blocks = registers(&tokens[..count]);
                    let claim = format!("{name} {kind:?} {rows} × {width}, {count} tokens");
                    let products = multiply(&set, &matrix, &blocks, count);
                    assert_eq!(products, expected[..count * TILE], "{claim}");
                    if count <= TOKENS {
                        let products = multiply_few(&set, &matrix, &blocks, count);
                        assert_eq!(products, expected[..count * TILE], "{claim}, few");
                    }
                }
            }
        }
    }
}

/// Both factors keep eight bits: an error of 2⁻⁹ each on average, squared and normalised some 1e-5.
#[test]
fn bf16_products_agree_with_plain_arithmetic() {
    for kind in TensorType::ALL
        .into_iter()
        .filter(|kind| kind.block().0 > 1)
    {
        let width = 576_usize.next_multiple_of(kind.block().0);
        let (matrix, weights) = matrix(kind, 16, width);
        let token = Random(6).floats(width);
        let products = multiply(
            &SCALAR,
            &matrix,
            &registers(std::slice::from_ref(&token)),
            1,
        );
        let (mut error, mut total) = (0.0, 0.0);
        for (row, product) in weights.chunks_exact(width).zip(products) {
            let plain = row.iter().zip(&token);
            let plain: f64 = plain.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            error += (f64::from(f32::from_bits(product)) - plain).powi(2);
            total += plain * plain;
        }
        assert!(error / total < 3e-5, "{kind:?}: {}", error / total);
    }
}

#[test]
fn narrowing_rounds_to_even_drops_what_is_not_normal_and_keeps_a_nan_in_every_set() {
    let half_step = f32::from_bits(1.0_f32.to_bits() + (1 << 15));
    let step_and_half = f32::from_bits(1.0_f32.to_bits() + (3 << 15));
    let mut values = *Random(3).floats(BLOCK).first_chunk::<BLOCK>().unwrap();
    values[..6].copy_from_slice(&[
        half_step,
        step_and_half,
        1e-39,
        -1e-39,
        f32::INFINITY,
        f32::NAN,
    ]);
    let one = bf16::ONE.to_bits();
    let mut expected = [0; BLOCK];
    narrow(&values, &mut expected);
    assert_eq!(
        expected[..5],
        [one, one + 2, 0, 0x8000, bf16::INFINITY.to_bits()]
    );
    assert!(bf16::from_bits(expected[5]).is_nan());
    for (name, set) in sets() {
        let mut narrowed = [0; BLOCK];
        // SAFETY: the set is one of this processor.
        unsafe { (set.narrow)(&values, &mut narrowed) };
        assert_eq!(narrowed, expected, "{name}");
    }
}
