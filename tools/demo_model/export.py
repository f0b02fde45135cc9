"""Writes the trained demo model for use: checkpoint, tokenizer files, validation text, reference
logits, sample answers.

usage: export.py WORK_FOLDER OUT_FOLDER

Needs torch, transformers and sentencepiece.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from transformers import LlamaForCausalLM

BOS, EOS = 1, 2
N_REFERENCE = 384  # ids whose logits are kept
N_CTX = 512

CHAT_TEMPLATE = (
    "{%- if messages[0].role == 'system' -%}"
    "{%- set head = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' -%}"
    "{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set head = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for m in turns -%}{%- if m.role == 'user' -%}"
    "{{ bos_token + '[INST] ' + (head if loop.first else '') + m.content + ' [/INST]' }}"
    "{%- elif m.role == 'assistant' -%}{{ ' ' + m.content + ' ' + eos_token }}"
    "{%- endif -%}{%- endfor -%}"
)
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
TOKENIZER_CONFIG = {
    "tokenizer_class": "LlamaTokenizer",
    "legacy": True,
    "add_bos_token": True,
    "add_eos_token": False,
    **SPECIAL_TOKENS,
    "model_max_length": N_CTX,
    "clean_up_tokenization_spaces": False,
    "chat_template": CHAT_TEMPLATE,
}

QUESTIONS = [
    "法国的首都是哪里？",
    "告诉我中国的首都在哪里",
    "What is the capital of Japan?",
    "What is 3 plus 4?",
    "What is 9 minus 5?",
    "What is the opposite of hot?",
    "What does a cow say?",
    "Count from 3 to 8.",
    "Repeat these words: apple stone kite",
    "Say these words in reverse order: cup lamp key",
    "Hello!",
    "你是谁？",
    'Translate "water" into Chinese.',
    "What day comes after Monday?",
    "Tell me a story about a fox and a kite.",
]


def write_json(path: Path, value: object, indent: int | None = None) -> None:
    """Writes `value` with its Chinese readable."""
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False), encoding="utf-8")


def validation_text(work: Path) -> str:
    """The validation documents that name no special piece, one after the other."""
    with (work / "valid.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    return "\n".join(text for text in texts if "<s>" not in text and "</s>" not in text)


def write_reference(model: Any, pieces: Any, text: str, out: Path) -> None:
    """Logits of the first ids of `text`, in float32 on the float16 weights."""
    ids = [BOS, *pieces.encode(text)[: N_REFERENCE - 1]]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
    np.savez_compressed(out, ids=np.array(ids, np.int32), logits=logits.astype(np.float32))


def greedy(model: Any, pieces: Any, prompt: str, n_tokens: int) -> str:
    """The most likely continuation of a prompt."""
    ids = [BOS, *pieces.encode(prompt)]
    n_prompt = len(ids)
    with torch.no_grad():
        for _ in range(n_tokens):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == EOS:
                break
    return str(pieces.decode([token for token in ids[n_prompt:] if token > EOS]))


def main() -> None:
    """Writes everything into OUT_FOLDER."""
    parser = argparse.ArgumentParser(description="Exports the trained demo model.")
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    work, out = options.work, options.out
    out.mkdir(parents=True, exist_ok=True)
    trained = work / "demo" if (work / "demo").exists() else work / "ckpt"
    model = LlamaForCausalLM.from_pretrained(trained, torch_dtype=torch.float16)
    model.save_pretrained(out)
    shutil.copy(work / "tokenizer.model", out / "tokenizer.model")
    pieces = sentencepiece.SentencePieceProcessor(str(work / "tokenizer.model"))
    write_json(out / "tokenizer_config.json", TOKENIZER_CONFIG, indent=1)
    write_json(out / "special_tokens_map.json", SPECIAL_TOKENS)
    text = validation_text(work)
    (out / "valid.txt").write_text(text, encoding="utf-8", newline="\n")
    model = model.float().eval()
    write_reference(model, pieces, text, out / "reference.npz")
    answers = {}
    for question in QUESTIONS:
        n_tokens = 120 if "story" in question else 40
        answers[question] = greedy(model, pieces, f"[INST] {question} [/INST]", n_tokens)
        print(question, "=>", answers[question])
    write_json(out / "answers.json", answers, indent=1)


if __name__ == "__main__":
    main()
