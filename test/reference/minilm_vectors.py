"""Vectors of a sentence encoder by transformers in float32: the yardstick for the engine's embeddings.

Run: python3 minilm_vectors.py FOLDER > ../fixtures/model/minilm.json; FOLDER holds the published model. Needs torch and
transformers. The sentences are our own.
"""
import json
import sys

import torch
import transformers

TEXTS = [
    "The ferry leaves the harbour at seven in the morning.",
    "At 7 a.m. the boat departs from the port.",
    "How do I reset my password?",
    "I forgot my login and need a new one, please help!",
    "Bread needs flour, water, salt and patience.",
    "Der Hund schläft unter dem Tisch.",
    "東京 is the capital of Japan; naïve café, déjà vu.",
    "x",
    "A long remark about rivers. " * 30,
]


def main(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    cases = []
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
        with torch.no_grad():
            mean = model(**encoded).last_hidden_state[0].mean(0)
        vector = (mean / mean.norm()).tolist()
        cases.append({"text": text, "ids": encoded["input_ids"][0].tolist(), "vector": [round(each, 5) for each in vector]})
    json.dump({"cases": cases}, sys.stdout, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
