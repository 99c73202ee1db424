"""Makes a GGUF file of a BERT-like sentence encoder: python3 bert-to-gguf.py FOLDER OUT.gguf [f16|f32|q8_0]

FOLDER holds config.json, vocab.txt and model.safetensors, and says by 1_Pooling/config.json how a text's vector is made.
Matrices get the asked-for type (f16 when left out; q8_0 is a third of the memory and costs a thousandth of the cosine),
vectors and positions stay f32. Needs Python alone.
Formats: safetensors is a length, a JSON header and the raw values; GGUF is the ggml project's, version 3.
"""
import array
import json
import os
import struct
import sys

F32, F16, Q8_0 = 0, 1, 8
ALIGNMENT = 32
NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_safetensors(path):
    """Yields (name, shape, float values)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name == "__metadata__" or tensor["dtype"] == "I64":
                continue
            if tensor["dtype"] != "F32":
                raise SystemExit(f"tensor {name} is {tensor['dtype']}, expected F32")
            start, end = tensor["data_offsets"]
            file.seek(8 + length + start)
            values = array.array("f")
            values.frombytes(file.read(end - start))
            yield name, tensor["shape"], values


def gguf_name(name):
    """None for what an encoder has no use for, such as BERT's own pooler."""
    *parts, kind = name.removeprefix("bert.").split(".")
    if parts[:2] == ["encoder", "layer"]:
        return f"blk.{parts[2]}.{NAMES['.'.join(parts[3:])]}.{kind}"
    tensor = NAMES.get(".".join(parts))
    return None if tensor is None else f"{tensor}.{kind}"


def encoded(values, kind):
    if kind == F32:
        return values.tobytes()
    if kind == F16:
        return struct.pack(f"<{len(values)}e", *values)
    blocks = []
    for at in range(0, len(values), 32):
        block = values[at : at + 32]
        # The scale as it is stored decides the quants.
        (scale,) = struct.unpack("<e", struct.pack("<e", max(max(block), -min(block)) / 127))
        inverse = 1 / scale if scale > 0 else 0.0
        quants = [max(-127, min(127, round(value * inverse))) for value in block]
        blocks.append(struct.pack("<e32b", scale, *quants))
    return b"".join(blocks)


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def value(content):
    if isinstance(content, str):
        return struct.pack("<I", 8) + text(content)
    if isinstance(content, bool):
        return struct.pack("<I?", 7, content)
    if isinstance(content, float):
        return struct.pack("<If", 6, content)
    if isinstance(content, int):
        return struct.pack("<II", 4, content)
    kind = 8 if isinstance(content[0], str) else 5
    items = [text(each) if kind == 8 else struct.pack("<i", each) for each in content]
    return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)


def stored_token(token):
    """The file marks the beginnings of words instead of what continues them."""
    if token in SPECIAL:
        return token
    return token[2:] if token.startswith("##") else "▁" + token


def metadata(folder, name):
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
        raise SystemExit("only encoders of the bert architecture with gelu can be converted")
    with open(os.path.join(folder, "1_Pooling", "config.json")) as file:
        pooling = json.load(file)
    with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as file:
        tokens = file.read().splitlines()
    return {
        "general.architecture": "bert",
        "general.name": name,
        "bert.block_count": config["num_hidden_layers"],
        "bert.context_length": config["max_position_embeddings"],
        "bert.embedding_length": config["hidden_size"],
        "bert.feed_forward_length": config["intermediate_size"],
        "bert.attention.head_count": config["num_attention_heads"],
        "bert.attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "bert.attention.causal": False,
        "bert.pooling_type": 1 if pooling["pooling_mode_mean_tokens"] else 2,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [stored_token(token) for token in tokens],
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in tokens],
        "tokenizer.ggml.token_type_count": config["type_vocab_size"],
        "tokenizer.ggml.padding_token_id": tokens.index("[PAD]"),
        "tokenizer.ggml.unknown_token_id": tokens.index("[UNK]"),
        "tokenizer.ggml.cls_token_id": tokens.index("[CLS]"),
        "tokenizer.ggml.seperator_token_id": tokens.index("[SEP]"),
    }


def main(folder, out, kind="f16"):
    matrix_kind = {"q8_0": Q8_0, "f16": F16, "f32": F32}[kind]
    name = os.path.basename(out).split(".")[0]
    values = metadata(folder, name)
    headers, data = [], bytearray()
    for source, shape, content in read_safetensors(os.path.join(folder, "model.safetensors")):
        tensor = gguf_name(source)
        if tensor is None:
            continue
        is_matrix = len(shape) == 2 and tensor not in ("position_embd.weight", "token_types.weight")
        chosen = matrix_kind if is_matrix else F32
        data.extend(bytes(-len(data) % ALIGNMENT))
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        headers.append(text(tensor) + dims + struct.pack("<IQ", chosen, len(data)))
        data.extend(encoded(content, chosen))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(headers), len(values))
    head += b"".join(text(key) + value(content) for key, content in values.items()) + b"".join(headers)
    draft = f"{out}.{os.getpid()}.tmp"
    with open(draft, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT) + data)
    os.replace(draft, out)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
