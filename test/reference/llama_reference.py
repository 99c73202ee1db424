"""An independent llama in float32 over a GGUF file's own tensors: the yardstick for the engine's logits.

Run: python3 llama_reference.py MODEL.gguf IDS.json NUM_TOKENS > ../fixtures/model/reference.json; IDS.json maps a name
to prompt ids. Per prompt: the greedy ids, at each step the eight best with their logits, and the logits of the last prompt
position at every 97th id. Needs numpy. Nothing here is shared with the engine.
"""
import json
import struct
import sys

import numpy as np


class Gguf:
    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.at = 4
        _version, num_tensors, num_values = self.take("<IQQ")
        self.meta = {}
        for _ in range(num_values):
            key = self.text()
            self.meta[key] = self.value(self.take("<I")[0])
        headers = []
        for _ in range(num_tensors):
            name = self.text()
            dims = self.take("<" + "Q" * self.take("<I")[0])
            kind, offset = self.take("<IQ")
            headers.append((name, dims, kind, offset))
        start = (self.at + 31) // 32 * 32
        self.headers = {name: (dims, kind, start + offset) for name, dims, kind, offset in headers}

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        (length,) = self.take("<Q")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.take("<IQ")
            return [self.value(inner) for _ in range(count)]
        return self.take("<" + {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}[kind])[0]

    def tensor(self, name):
        """A float32 matrix of rows, or a vector."""
        dims, kind, at = self.headers[name]
        count = int(np.prod(dims))
        shape = tuple(reversed(dims))
        if kind == 0:
            return np.frombuffer(self.data, "<f4", count, at).reshape(shape)
        if kind == 3:  # Q4_1: scale, minimum, 16 bytes of nibbles
            blocks = np.frombuffer(self.data, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]), count // 32, at)
            quants = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype(np.float32)
            return (quants * blocks["d"].astype(np.float32)[:, None] + blocks["m"].astype(np.float32)[:, None]).reshape(shape)
        if kind == 8:  # Q8_0: scale, 32 signed bytes
            blocks = np.frombuffer(self.data, np.dtype([("d", "<f2"), ("q", "i1", 32)]), count // 32, at)
            return (blocks["q"].astype(np.float32) * blocks["d"].astype(np.float32)[:, None]).reshape(shape)
        raise ValueError(f"tensor kind {kind}")


def norm(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def rope(x, base):
    """x: [tokens, heads, dim]; pairs are neighbours."""
    tokens, _heads, dim = x.shape
    angles = np.arange(tokens)[:, None] * base ** (-np.arange(0, dim, 2) / dim)
    cos, sin = np.cos(angles)[:, None, :].astype(np.float32), np.sin(angles)[:, None, :].astype(np.float32)
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2], out[..., 1::2] = even * cos - odd * sin, even * sin + odd * cos
    return out


def logits(model, weights, ids):
    get = lambda key: model.meta["llama." + key]
    heads, kv_heads, epsilon = get("attention.head_count"), get("attention.head_count_kv"), get("attention.layer_norm_rms_epsilon")
    x = weights["token_embd.weight"][ids]
    tokens, width = x.shape
    dim = width // heads
    mask = np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)
    for layer in range(get("block_count")):
        w = lambda name: weights[f"blk.{layer}.{name}.weight"]
        h = norm(x, w("attn_norm"), epsilon)
        q = rope((h @ w("attn_q").T).reshape(tokens, heads, dim), get("rope.freq_base"))
        k = rope((h @ w("attn_k").T).reshape(tokens, kv_heads, dim), get("rope.freq_base"))
        v = (h @ w("attn_v").T).reshape(tokens, kv_heads, dim)
        k, v = np.repeat(k, heads // kv_heads, 1), np.repeat(v, heads // kv_heads, 1)
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(dim) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        x = x + np.einsum("hts,shd->thd", scores, v).reshape(tokens, width) @ w("attn_output").T
        h = norm(x, w("ffn_norm"), epsilon)
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    return norm(x[-1], weights["output_norm.weight"], epsilon) @ weights["token_embd.weight"].T


def best(values, count=8):
    ids = np.argsort(-values, kind="stable")[:count]
    return {"ids": [int(each) for each in ids], "logits": [round(float(values[each]), 3) for each in ids]}


def main():
    model = Gguf(sys.argv[1])
    with open(sys.argv[2]) as file:
        prompts = json.load(file)
    weights = {name: model.tensor(name) for name in model.headers}
    cases = []
    for name, ids in prompts.items():
        first, candidates = None, []
        for _ in range(int(sys.argv[3])):
            out = logits(model, weights, np.array(ids + [step["ids"][0] for step in candidates]))
            first = out if first is None else first
            candidates.append(best(out))
        cases.append(
            {
                "name": name,
                "prompt": ids,
                "greedy": [step["ids"][0] for step in candidates],
                "candidates": candidates,
                "logits": [round(float(each), 4) for each in first[::97]],
            }
        )
    print(json.dumps({"stride": 97, "cases": cases}))


if __name__ == "__main__":
    main()
