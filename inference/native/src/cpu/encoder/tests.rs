use super::*;
use crate::gguf::Gguf;
use crate::matrix::{Arithmetic, load_vector};
use crate::test_model::fixture;

fn encoder(gguf: &Gguf, kernels: Kernels, num_threads: usize) -> CpuEncoder {
    CpuEncoder::new(EncoderModel::load(gguf).unwrap(), kernels, num_threads)
}

fn integers(gguf: &Gguf, name: &str) -> Vec<i32> {
    let len = gguf.tensor(name).unwrap().row_len();
    let values = load_vector(gguf, name, len).unwrap();
    values.iter().map(|value| *value as i32).collect()
}

fn widest() -> Kernels {
    Kernels::available(Arithmetic::Blocks)[0]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn vectors_agree_with_the_reference() {
    let gguf = fixture("bert");
    let (ids, starts) = (
        integers(&gguf, "reference.ids"),
        integers(&gguf, "reference.starts"),
    );
    let vectors = encoder(&gguf, widest(), 2).embed(&ids, &starts).unwrap();
    let expected = gguf.bytes(gguf.tensor("reference.vectors").unwrap());
    let expected = expected.as_chunks::<4>().0;
    assert_eq!(vectors.len(), expected.len());
    for (index, vector) in vectors.chunks_exact(64).enumerate() {
        let expected = &expected[index * 64..][..64];
        let errors = vector.iter().zip(expected);
        let error: f64 = errors
            .map(|(value, expected)| f64::from(value - f32::from_le_bytes(*expected)).powi(2))
            .sum();
        // The expected vector has length 1; what is left is the rounding of keys and values to f16.
        assert!(error < 1e-6, "text {index}: {error}");
    }
}

#[test]
fn a_text_has_the_same_bits_alone_in_a_batch_and_for_every_set_and_number_of_threads() {
    let gguf = fixture("bert");
    let (ids, starts) = (
        integers(&gguf, "reference.ids"),
        integers(&gguf, "reference.starts"),
    );
    let scalar = Kernels::detect(Arithmetic::Blocks, Some("scalar")).unwrap();
    let expected = bits(&encoder(&gguf, scalar, 1).embed(&ids, &starts).unwrap());
    for kernels in Kernels::available(Arithmetic::Blocks) {
        for num_threads in 1..=3 {
            let mut encoder = encoder(&gguf, kernels, num_threads);
            let all = bits(&encoder.embed(&ids, &starts).unwrap());
            assert!(all == expected, "{} × {num_threads}", kernels.name);
            for (text, ends) in starts.windows(2).enumerate() {
                let ids = &ids[ends[0] as usize..ends[1] as usize];
                let alone = encoder.embed(ids, &[0, ids.len() as i32]).unwrap();
                assert_eq!(bits(&alone), expected[text * 64..][..64], "text {text}");
            }
        }
    }
}

#[test]
fn bad_input_is_refused_and_leaves_the_encoder_as_it_was() {
    let gguf = fixture("bert");
    let mut encoder = encoder(&gguf, widest(), 2);
    let expected = encoder.embed(&[2, 7, 3], &[0, 3]).unwrap();
    let vocab = encoder.model.shape.vocab_size as i32;
    let long = vec![5; 97];
    for (ids, starts, field) in [
        (&[2, -1, 3][..], &[0, 3][..], "tokenIds"),
        (&[2, vocab, 3], &[0, 3], "tokenIds"),
        (&[2, 7, 3], &[0, 2], "starts"),
        (&[2, 7, 3], &[1, 3], "starts"),
        (&[2, 7, 3], &[0, 3, 3], "starts"),
        (&[2, 7, 3], &[0, 4, 3], "starts"),
        (&[2, 7, 3], &[0, i32::MIN, 3], "starts"),
        (&[], &[0], "starts"),
        (&[], &[], "starts"),
        (&long, &[0, 97], "starts"),
    ] {
        let error = encoder.embed(ids, starts).unwrap_err().to_string();
        assert!(error.starts_with(field), "{starts:?}: {error}");
    }
    assert_eq!(
        bits(&encoder.embed(&[2, 7, 3], &[0, 3]).unwrap()),
        bits(&expected)
    );
}

#[test]
fn a_decoder_is_no_encoder() {
    let error = EncoderModel::load(&fixture("qwen2")).err().unwrap();
    assert!(error.to_string().contains("qwen2 makes no embeddings"));
}
