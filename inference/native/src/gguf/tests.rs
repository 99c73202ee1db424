use super::*;
use crate::test_model::GgufBuilder;

fn parse(file: &GgufBuilder) -> Result<Header> {
    Header::parse(&file.build())
}

fn message(file: &GgufBuilder) -> String {
    parse(file)
        .err()
        .expect("the file is not sound")
        .to_string()
}

/// One tensor of two rows, one value of each kind.
fn small() -> GgufBuilder {
    let mut file = GgufBuilder::new();
    file.value("u8", 0, &[200]);
    file.value("i8", 1, &[200]);
    file.value("u16", 2, &[1, 2]);
    file.value("i16", 3, &[255, 255]);
    file.number("u32", 7);
    file.value("i32", 5, &[255; 4]);
    file.float("f32", 1.5);
    file.value("bool", 7, &[1]);
    file.text("text", "é");
    file.texts("texts", &["a".to_owned(), "bc".to_owned()]);
    file.integers("integers", &[-1, 2]);
    file.value("u64", 10, &u64::MAX.to_le_bytes());
    file.value("i64", 11, &[255; 8]);
    file.value("f64", 12, &2.5_f64.to_le_bytes());
    file.tensor("t", &[32, 2], TensorType::Q8_0, &[7; 68]);
    file
}

#[test]
fn reads_values_of_every_kind_and_the_bytes_of_a_tensor() {
    let gguf = Gguf::from_bytes(&small().build()).unwrap();
    let number = |key: &str| match gguf.value(key) {
        Some(Value::Int(value)) => *value,
        other => panic!("{key} is {other:?}"),
    };
    assert_eq!(
        ["u8", "i8", "u16", "i16", "u32", "i32", "bool", "i64"].map(number),
        [200, -56, 513, -1, 7, -1, 1, -1]
    );
    assert_eq!(number("u64"), i128::from(u64::MAX));
    assert_eq!((gguf.float("f32"), gguf.float("f64")), (Ok(1.5), Ok(2.5)));
    assert_eq!(gguf.text("text"), Ok("é"));
    assert_eq!(gguf.texts("texts").unwrap(), ["a", "bc"]);
    assert_eq!(gguf.value("integers"), Some(&Value::Ints(vec![-1, 2])));
    let tensor = gguf.tensor("t").unwrap();
    assert_eq!((tensor.row_len(), tensor.num_rows()), (32, 2));
    assert_eq!(gguf.bytes(tensor), [7; 68]);
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let bytes = small().build();
    for len in 0..bytes.len() {
        assert!(Header::parse(&bytes[..len]).is_err(), "cut at {len}");
    }
    assert!(Header::parse(&bytes).is_ok());
}

type Lie = fn(&mut GgufBuilder);

#[test]
fn a_header_that_lies_is_an_error_that_says_so() {
    let cases: [(&str, Lie); 19] = [
        ("magic", |file| file.magic = *b"GGML"),
        ("version 1", |file| file.version = 1),
        ("version 4", |file| file.version = 4),
        ("tensors", |file| file.num_tensors = Some(u64::MAX)),
        ("entries", |file| file.num_values = Some(1 << 40)),
        ("middle of its header", |file| {
            file.num_values = Some(1 << 20);
        }),
        ("unknown kind", |file| file.values[0].1 = 13),
        ("lists of lists", |file| {
            file.value("nested", 9, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        }),
        ("list items", |file| {
            file.value("long", 9, &[[4, 0, 0, 0], [255; 4], [255; 4]].concat());
        }),
        ("middle of its header", |file| {
            file.value("text", 8, &u64::MAX.to_le_bytes());
        }),
        ("UTF-8", |file| {
            file.value("text", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 255]);
        }),
        ("dimensions", |file| file.tensors[0].dims = vec![1; 5]),
        ("dimensions", |file| file.tensors[0].dims = Vec::new()),
        ("too large", |file| {
            file.tensors[0].dims = vec![32, u64::MAX];
        }),
        ("too large", |file| file.tensors[0].dims = vec![1 << 62, 5]),
        ("multiple of 32", |file| file.tensors[0].dims = vec![33, 2]),
        ("type 99", |file| file.tensors[0].kind = 99),
        ("multiple of 32", |file| file.tensors[0].offset = 1),
        ("too large", |file| file.tensors[0].offset = u64::MAX - 31),
    ];
    for (expected, lie) in cases {
        let mut file = small();
        lie(&mut file);
        let message = message(&file);
        assert!(
            message.contains(expected),
            "{message:?}, expected {expected:?}"
        );
    }
}

#[test]
fn an_empty_dimension_or_a_tensor_beyond_the_end_is_an_error() {
    for dims in [vec![0, 2], vec![32, 0], vec![32, 3], vec![64, 2]] {
        let mut file = small();
        file.tensors[0].dims = dims.clone();
        assert!(parse(&file).is_err(), "{dims:?}");
    }
}

#[test]
fn only_powers_of_two_are_an_alignment() {
    for (alignment, is_sound) in [
        (32, true),
        (8, true),
        (0, false),
        (48, false),
        (1 << 21, false),
    ] {
        let mut file = small();
        file.number("general.alignment", alignment);
        assert_eq!(parse(&file).is_ok(), is_sound, "{alignment}");
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let outcome = Gguf::open(Path::new("/nonexistent/model.gguf"));
    assert!(outcome.is_err_and(|error| error.to_string().contains("cannot open")));
}
