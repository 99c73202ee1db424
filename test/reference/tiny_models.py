"""Tiny models with random weights, one for each architecture, and what the definitions of others make of them.

Run: python3 tiny_models.py FOLDER. Needs torch, transformers, tokenizers, sentencepiece and gguf. Per architecture it
writes NAME.gguf, whose tensors `reference.…` hold token ids, rows and the logits of those rows by transformers in
float64, and NAME.json: texts with the ids that the tokenizer's own library gives. Nothing here is shared with the engine.
"""
import json
import math
import os
import sys

import gguf
import numpy as np
import torch
import transformers

from tiny_tokenizers import byte_level, sentence_piece, word_piece

WIDTH, FFN, HEADS, KV_HEADS, CONTEXT, NUM_IDS = 32, 64, 4, 2, 256, 40
ROWS = [0, 1, 7, 8, 9, 23, 38, 39]


def randomise(model, seed):
    """Weights that matter: products of about unit size, norms and biases that are not 1 and 0; exact in f16."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            is_norm = "norm" in name.lower() and name.endswith("weight")
            # Gemma's norms multiply by 1 + weight.
            centre = 1.0 if is_norm and model.config.model_type != "gemma3_text" else 0.0
            noise = centre + 0.3 * noise
        else:
            noise = noise * (1.0 if "embed" in name else 1.2 / math.sqrt(parameter.shape[1]))
        parameter.data = noise.half().float()
    return model.double().eval()


class Writer:
    def __init__(self, folder, name, architecture):
        self.folder, self.name = folder, name
        self.file = gguf.GGUFWriter(os.path.join(folder, name + ".gguf"), architecture)
        self.file.add_name("tiny " + name)
        self.prefix = architecture + "."

    def numbers(self, **values):
        for key, value in values.items():
            key = self.prefix + key.replace("__", ".")
            (self.file.add_float32 if isinstance(value, float) else self.file.add_uint32)(key, value)

    def tensor(self, name, values):
        values = values.detach().float().numpy() if torch.is_tensor(values) else np.asarray(values, np.float32)
        self.file.add_tensor(name, np.ascontiguousarray(values.astype(np.float16 if values.ndim > 1 and "reference" not in name else np.float32)))

    def tokenizer(self, tokenizer):
        for key, value in tokenizer.values.items():
            key = "tokenizer.ggml." + key
            if isinstance(value, list):
                self.file.add_array(key, value)
            elif isinstance(value, bool):
                self.file.add_bool(key, value)
            elif isinstance(value, int):
                self.file.add_uint32(key, value)
            else:
                self.file.add_string(key, value)
        with open(os.path.join(self.folder, self.name + ".json"), "w") as out:
            json.dump({"encodings": tokenizer.encodings}, out, ensure_ascii=False, indent=1)
            out.write("\n")

    def close(self):
        self.file.write_header_to_file()
        self.file.write_kv_data_to_file()
        self.file.write_tensors_to_file()
        self.file.close()


NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def interleaved(values, heads):
    """Llama's pairs side by side, as its conversion stores them."""
    return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def decoder(folder, name, architecture, model, tokenizer, **numbers):
    config, is_gemma = model.config, architecture == "gemma3"
    writer = Writer(folder, name, architecture)
    writer.numbers(
        block_count=config.num_hidden_layers,
        context_length=CONTEXT,
        embedding_length=WIDTH,
        feed_forward_length=FFN,
        attention__head_count=HEADS,
        attention__head_count_kv=KV_HEADS,
        attention__layer_norm_rms_epsilon=float(config.rms_norm_eps),
        **numbers,
    )
    if "rope__scaling__factor" in numbers:
        writer.file.add_string(architecture + ".rope.scaling.type", "linear")
    names = dict(NAMES, post_attention_layernorm="post_attention_norm" if is_gemma else "ffn_norm")
    if is_gemma:
        names.update(pre_feedforward_layernorm="ffn_norm", post_feedforward_layernorm="post_ffw_norm")
    for key, values in model.state_dict().items():
        if is_gemma and "norm" in key:
            values = values + 1
        parts = key.split(".")
        if parts[:2] == ["model", "layers"]:
            tensor = names[".".join(parts[3:-1])]
            if architecture == "llama" and tensor in ("attn_q", "attn_k"):
                values = interleaved(values, HEADS if tensor == "attn_q" else KV_HEADS)
            writer.tensor(f"blk.{parts[2]}.{tensor}.{parts[-1]}", values)
        elif key != "lm_head.weight" or not config.tie_word_embeddings:
            tops = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
            writer.tensor(tops[key] + ".weight", values)
    if architecture == "llama":
        writer.tensor("rope_freqs.weight", llama3_factors(config))
    ids = np.random.default_rng(7).integers(0, config.vocab_size, NUM_IDS)
    with torch.no_grad():
        logits = model(torch.tensor(ids)[None]).logits[0].numpy()
    writer.tensor("reference.ids", ids)
    writer.tensor("reference.rows", ROWS)
    writer.tensor("reference.logits", logits[ROWS])
    writer.tokenizer(tokenizer)
    writer.close()


def llama3_factors(config):
    rope, dim = config.rope_parameters, WIDTH // HEADS
    if config.head_dim:
        dim = config.head_dim
    old, low, high, factor = (rope[key] for key in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "factor"))
    factors = []
    for pair in range(dim // 2):
        length = 2 * math.pi * rope["rope_theta"] ** (2 * pair / dim)
        smooth = min(1.0, max(0.0, (old / length - low) / (high - low)))
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def common(layers, tokenizer, **more):
    return dict(
        vocab_size=len(tokenizer.values["tokens"]),
        hidden_size=WIDTH,
        intermediate_size=FFN,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=CONTEXT,
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **more,
    )


def decoders(folder):
    tokenizer = byte_level("llama-bpe", ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    scaling = {"rope_type": "llama3", "rope_theta": 5000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    config = transformers.LlamaConfig(**common(2, tokenizer, head_dim=16, rope_parameters=scaling, tie_word_embeddings=False))
    model = randomise(transformers.LlamaForCausalLM(config), 1)
    decoder(folder, "llama3", "llama", model, tokenizer, rope__freq_base=5000.0, rope__dimension_count=16, attention__key_length=16, attention__value_length=16)

    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_level("qwen2", control)
    rope = {"rope_type": "default", "rope_theta": 20000.0}
    # Heads of 32 / 4 values would be narrower than a tile; the file says so and names its own.
    config = transformers.Qwen2Config(**common(2, tokenizer, rope_parameters=rope, tie_word_embeddings=True))
    config.head_dim = 16
    model = randomise(transformers.Qwen2ForCausalLM(config), 2)
    decoder(folder, "qwen2", "qwen2", model, tokenizer, rope__freq_base=20000.0, attention__key_length=16)

    tokenizer = byte_level("qwen2", control, user_defined=["<think>", "</think>"])
    config = transformers.Qwen3Config(**common(2, tokenizer, head_dim=32, rope_parameters=rope, tie_word_embeddings=False))
    model = randomise(transformers.Qwen3ForCausalLM(config), 3)
    decoder(folder, "qwen3", "qwen3", model, tokenizer, rope__freq_base=20000.0, attention__key_length=32, attention__value_length=32)

    tokenizer = sentence_piece()
    ropes = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 50000.0, "factor": 8.0},
    }
    config = transformers.Gemma3TextConfig(**common(7, tokenizer, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, rope_parameters=ropes))
    model = randomise(transformers.Gemma3ForCausalLM(config), 4)
    decoder(
        folder, "gemma3", "gemma3", model, tokenizer,
        rope__freq_base=50000.0, rope__scaling__factor=8.0, attention__key_length=16, attention__value_length=16, attention__sliding_window=8,
    )


BERT_NAMES = {
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


def encoder(folder):
    tokenizer = word_piece()
    config = transformers.BertConfig(
        vocab_size=len(tokenizer.values["tokens"]), hidden_size=2 * WIDTH, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=FFN, max_position_embeddings=96, hidden_act="gelu", attn_implementation="eager",
    )
    model = randomise(transformers.BertModel(config, add_pooling_layer=False), 5)
    writer = Writer(folder, "bert", "bert")
    writer.numbers(
        block_count=2, context_length=96, embedding_length=2 * WIDTH, feed_forward_length=FFN, attention__head_count=2,
        attention__layer_norm_epsilon=float(config.layer_norm_eps), pooling_type=1,
    )
    writer.file.add_bool("bert.attention.causal", False)
    for key, values in model.state_dict().items():
        *parts, kind = key.split(".")
        if parts[0] == "encoder":
            writer.tensor(f"blk.{parts[2]}.{BERT_NAMES['.'.join(parts[3:])]}.{kind}", values)
        elif parts != ["embeddings", "position_ids"]:
            tensor = BERT_NAMES[".".join(parts)]
            writer.tensor(f"{tensor}.{kind}", values)
    encodings = [case["ids"] for case in tokenizer.encodings]
    vectors = []
    for ids in encodings:
        with torch.no_grad():
            mean = model(torch.tensor(ids)[None]).last_hidden_state[0].mean(0)
        vectors.append((mean / mean.norm()).numpy())
    writer.tensor("reference.ids", np.concatenate(encodings))
    writer.tensor("reference.starts", np.cumsum([0] + [len(ids) for ids in encodings]))
    writer.tensor("reference.vectors", np.stack(vectors))
    writer.tokenizer(tokenizer)
    writer.close()


if __name__ == "__main__":
    decoders(sys.argv[1])
    encoder(sys.argv[1])
