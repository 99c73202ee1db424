"""Tiny tokenizers of each kind, trained on a few sentences, as the metadata of a GGUF file stores them."""
import io
from dataclasses import dataclass

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "The harbour was quiet in the morning, and the boats were waiting for the tide.",
    "She counted 12 lamps, then 345 stars, and in the end 67890 grains of sand.",
    "Don't you think that we're late? I'll say they've left; he'd know, I'm sure.",
    "    indented code();\n\n\treturn value + 1;\n",
    "Der Fluss fließt schnell, und über die Brücke läuft ein müder Hund.",
    "La niña comió una manzana mientras el sol caía detrás de la montaña.",
    "Море было спокойным, и чайки молчали над водой.",
    "东京的春天很美。桜が咲いています。",
]
TEXTS = SENTENCES + [
    "",
    " ",
    "a",
    "Unseen words: xylophone, quixotic, zebra!",
    "HELLO World 1234567 3.14159",
    "  two  spaces   three\n\n\nlines\r\n end ",
    "naïve café, e\u0301 and é",
    "emoji 😀👩‍🚀 and ﬁne ligature",
    "<|im_start|>system\nObey<|im_end|><|eot_id|><start_of_turn>user<end_of_turn><bos>[CLS][SEP]<think>",
    "it's IT'S we'LL\u00a0nbsp\u3000wide",
]
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


@dataclass
class Trained:
    """values: tokenizer.ggml.… metadata; encodings: texts and their ids."""

    values: dict
    encodings: list


def byte_level(pre, control, user_defined=()):
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    pattern = SPLIT % ("{1,3}" if pre == "llama-bpe" else "")
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(vocab_size=360, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = __import__("json").loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    kinds = [NORMAL] * len(tokens) + [CONTROL] * len(control) + [USER_DEFINED] * len(user_defined)
    tokens += [*control, *user_defined]
    values = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": kinds,
        "merges": [" ".join(merge) for merge in model["merges"]],
        "eos_token_id": tokens.index(control[-1]),
    }
    if pre == "llama-bpe":
        values["bos_token_id"] = tokens.index(control[0])
    return Trained(values, [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS])


def sentence_piece():
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=out,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=["\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁"],
        control_symbols=["<start_of_turn>", "<end_of_turn>"],
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    ids = range(processor.get_piece_size())
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())
    values = {
        "model": "llama",
        "pre": "default",
        "tokens": [processor.id_to_piece(id) for id in ids],
        "scores": [float(processor.get_score(id)) for id in ids],
        "token_type": [piece.type for piece in proto.pieces],
        "bos_token_id": 2,
        "eos_token_id": 1,
        "unknown_token_id": 3,
        "add_bos_token": True,
        "add_space_prefix": False,
    }
    return Trained(values, [{"text": text, "ids": processor.encode(text)} for text in TEXTS])


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    vocab = tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    # Without its special tokens: a text that spells one stays text.
    plain = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    plain.normalizer, plain.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    plain.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])

    def stored(token):
        if token in special:
            return token
        return token[2:] if token.startswith("##") else "▁" + token

    values = {
        "model": "bert",
        "tokens": [stored(token) for token in tokens],
        "token_type": [CONTROL if token in special else NORMAL for token in tokens],
        "token_type_count": 2,
        "unknown_token_id": 1,
        "cls_token_id": 2,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "seperator_token_id": 3,
        "padding_token_id": 0,
    }
    return Trained(values, [{"text": text, "ids": plain.encode(text).ids} for text in TEXTS])
