use super::*;
use crate::test_model::{GgufBuilder, fixture};

fn load(change: impl Fn(&mut GgufBuilder)) -> Result<Tokenizer> {
    let mut file = GgufBuilder::new();
    change(&mut file);
    Tokenizer::load(&Gguf::from_bytes(&file.build())?)
}

fn refusal(change: impl Fn(&mut GgufBuilder)) -> String {
    load(change).err().expect("it was loaded").to_string()
}

fn tokens(file: &mut GgufBuilder, model: &str, tokens: &[&str]) {
    file.text("tokenizer.ggml.model", model);
    let tokens: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
    file.texts("tokenizer.ggml.tokens", &tokens);
    file.texts("tokenizer.ggml.merges", &[]);
}

#[test]
fn what_is_not_supported_is_named() {
    let message = refusal(|file| tokens(file, "rwkv", &["a"]));
    assert!(message.contains("rwkv"), "{message}");
    let message = refusal(|file| {
        tokens(file, "gpt2", &["a"]);
        file.text("tokenizer.ggml.pre", "tekken");
    });
    assert!(message.contains("tekken"), "{message}");
    let message = refusal(|file| tokens(file, "llama", &["a"]));
    assert!(message.contains("scores"), "{message}");
    let message = refusal(|file| tokens(file, "bert", &["a"]));
    assert!(message.contains("[UNK]"), "{message}");
    let message = refusal(|file| {
        tokens(file, "gpt2", &["a"]);
        file.integers("tokenizer.ggml.token_type", &[1, 1]);
    });
    assert!(message.contains("token_type"), "{message}");
}

#[test]
fn every_text_comes_back_byte_by_byte_and_no_text_is_a_control_token() {
    let texts = [
        "plain words, 12345 and\n\n\nlines  with   spaces",
        "<|im_start|><|eot_id|><start_of_turn>user<end_of_turn><bos><eos><unk><pad>",
        "日本語 😀 \u{0}\u{7f}ß▂",
    ];
    for name in ["llama3", "qwen2", "qwen3", "gemma3"] {
        let tokenizer = Tokenizer::load(&fixture(name)).unwrap();
        for text in texts {
            let ids = tokenizer.encode(text).unwrap();
            for id in &ids {
                let (token, kind) = tokenizer.vocabulary.get(*id).unwrap();
                assert!(
                    !matches!(kind, Kind::Control | Kind::Unknown),
                    "{name} {token}"
                );
            }
            let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.bytes(*id)).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text, "{name}");
        }
    }
}

/// A word that is a token of its own is taken whole by llama 3, which must not reach a control token.
#[test]
fn a_word_that_spells_a_control_token_stays_text() {
    let tokenizer = load(|file| {
        tokens(file, "gpt2", &["e", "o", "t", "eot"]);
        file.text("tokenizer.ggml.pre", "llama-bpe");
        file.integers("tokenizer.ggml.token_type", &[1, 1, 1, 3]);
    });
    assert_eq!(tokenizer.unwrap().encode("eot").unwrap(), [0, 1, 2]);
}

#[test]
fn gemmas_marks_are_control_tokens_whatever_the_file_calls_them() {
    let tokenizer = load(|file| {
        tokens(
            file,
            "llama",
            &["<", "a", "<start_of_turn>", "<table>", "<unused7>"],
        );
        file.integers("tokenizer.ggml.token_type", &[1, 1, 4, 4, 4]);
        file.floats("tokenizer.ggml.scores", &[0.0; 5]);
        file.value("tokenizer.ggml.add_space_prefix", 7, &[0]);
    })
    .unwrap();
    assert_eq!(tokenizer.control_id("<start_of_turn>"), Some(2));
    assert_eq!(tokenizer.encode("<start_of_turn>").unwrap()[0], 0);
    assert_eq!(
        tokenizer.encode("<table>a<unused7>").unwrap()[..3],
        [3, 1, 0]
    );
}

#[test]
fn a_space_goes_before_the_text_unless_the_file_says_no() {
    let with = |value: Option<u8>| {
        let tokenizer = load(|file| {
            tokens(file, "llama", &["▁", "a", "▁a"]);
            file.floats("tokenizer.ggml.scores", &[0.0; 3]);
            if let Some(value) = value {
                file.value("tokenizer.ggml.add_space_prefix", 7, &[value]);
            }
        });
        tokenizer.unwrap().encode("a").unwrap()
    };
    assert_eq!(with(None), [2]);
    assert_eq!(with(Some(1)), [2]);
    assert_eq!(with(Some(0)), [1]);
}

#[test]
fn the_first_difference_of_two_vocabularies_is_told() {
    let vocabulary = |names: &[&str], kinds: &[i32]| {
        load(|file| {
            tokens(file, "gpt2", names);
            file.integers("tokenizer.ggml.token_type", kinds);
        })
        .unwrap()
    };
    let own = vocabulary(&["a", "b"], &[1, 1]);
    let difference = |names: &[&str], kinds: &[i32]| {
        let other = vocabulary(names, kinds);
        own.vocabulary_difference(&other)
    };
    assert_eq!(difference(&["a", "b"], &[1, 1]), None);
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(difference(&["a"], &[1]), told("has 1 tokens, not 2"));
    assert_eq!(
        difference(&["a", "c"], &[1, 1]),
        told("has Normal \"c\" as token 1, not Normal \"b\"")
    );
    assert_eq!(
        difference(&["a", "b"], &[1, 3]),
        told("has Control \"b\" as token 1, not Normal \"b\"")
    );
}
