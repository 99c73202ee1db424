use super::*;
use crate::test_model::{GgufBuilder, Random, weights};

#[test]
fn a_packed_row_reads_back_as_the_format_defines_it() {
    for kind in TensorType::ALL {
        for (rows, columns) in [(1, 32), (15, 64), (16, 96), (17, 32), (50, 160)] {
            let columns = usize::next_multiple_of(columns, kind.block().0);
            let (bytes, values) = weights(&mut Random(rows as u64), kind, rows * columns);
            let mut file = GgufBuilder::new();
            file.tensor("m", &[columns, rows], kind, &bytes);
            let gguf = Gguf::from_bytes(&file.build()).unwrap();
            let matrix = Matrix::load(&gguf, Arithmetic::Blocks, "m", rows, columns).unwrap();
            let mut row = vec![f32::NAN; columns];
            for (index, expected) in values.chunks_exact(columns).enumerate() {
                matrix.dequantize_row(index, &mut row);
                assert_eq!(row, expected, "{kind:?} {rows} × {columns}, row {index}");
            }
        }
    }
}

#[test]
fn tiles_are_aligned_and_rows_beyond_the_last_are_zero() {
    let (bytes, _) = weights(&mut Random(1), TensorType::Q4_1, 17 * 32);
    let mut file = GgufBuilder::new();
    file.tensor("m", &[32, 17], TensorType::Q4_1, &bytes);
    let gguf = Gguf::from_bytes(&file.build()).unwrap();
    let matrix = Matrix::load(&gguf, Arithmetic::Blocks, "m", 17, 32).unwrap();
    assert_eq!(matrix.num_tiles(), 2);
    let last = matrix.tile(1);
    assert_eq!(last.as_ptr() as usize % 64, 0);
    let (scales, minima) = (&last[2..32], &last[34..64]);
    assert!(scales.iter().chain(minima).all(|byte| *byte == 0));
}

#[test]
fn another_shape_or_a_quantised_vector_is_an_error() {
    let (bytes, _) = weights(&mut Random(1), TensorType::Q8_0, 2 * 32);
    let mut file = GgufBuilder::new();
    file.tensor("m", &[32, 2], TensorType::Q8_0, &bytes);
    file.tensor("v", &[32], TensorType::Q8_0, &bytes[..34]);
    let gguf = Gguf::from_bytes(&file.build()).unwrap();
    assert!(Matrix::load(&gguf, Arithmetic::Blocks, "m", 32, 2).is_err());
    assert!(Matrix::load(&gguf, Arithmetic::Blocks, "other", 2, 32).is_err());
    assert!(load_vector(&gguf, "v", 32).is_err());
    assert!(load_vector(&gguf, "m", 64).is_err());
}

#[test]
fn vectors_are_read_from_every_float_type() {
    for kind in [TensorType::F32, TensorType::F16, TensorType::Bf16] {
        let (bytes, values) = weights(&mut Random(3), kind, 48);
        let mut file = GgufBuilder::new();
        file.tensor("v", &[48], kind, &bytes);
        let gguf = Gguf::from_bytes(&file.build()).unwrap();
        assert_eq!(load_vector(&gguf, "v", 48).unwrap(), values);
    }
}

/// test/fixtures/quants/make.py: blocks and what another implementation says they stand for, bit for bit.
#[test]
fn every_format_is_dequantised_as_by_its_authors() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../test/fixtures/quants/quants.gguf"
    );
    let gguf = Gguf::open(std::path::Path::new(path)).unwrap();
    for kind in TensorType::ALL {
        let name = format!("{kind:?}").to_lowercase();
        let matrix = Matrix::load(&gguf, Arithmetic::Blocks, &name, 3, 512).unwrap();
        let values =
            Matrix::load(&gguf, Arithmetic::Blocks, &format!("{name}.values"), 3, 512).unwrap();
        let (mut actual, mut expected) = (vec![f32::NAN; 512], vec![0.0; 512]);
        for row in 0..3 {
            matrix.dequantize_row(row, &mut actual);
            values.dequantize_row(row, &mut expected);
            assert_eq!(actual, expected, "{kind:?}, row {row}");
        }
    }
}

#[test]
fn a_packed_matrix_is_at_most_a_third_larger_than_its_file() {
    for kind in TensorType::ALL {
        let (bytes, _) = weights(&mut Random(2), kind, 16 * 256);
        let mut file = GgufBuilder::new();
        file.tensor("m", &[256, 16], kind, &bytes);
        let gguf = Gguf::from_bytes(&file.build()).unwrap();
        let packed = Matrix::load(&gguf, Arithmetic::Blocks, "m", 16, 256)
            .unwrap()
            .bytes_len();
        assert!(packed * 3 <= bytes.len() * 4, "{kind:?}: {packed}");
    }
}
