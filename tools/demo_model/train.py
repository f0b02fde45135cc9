"""Trains the demo model on corpus.py's text and writes it as a Hugging Face LLaMA checkpoint.

usage: train.py WORK_FOLDER SECONDS

WORK_FOLDER holds train.jsonl and valid.jsonl. The learning rate follows the processor time used,
so that SECONDS (of two cores) are one whole schedule. Needs torch, transformers and sentencepiece.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sentencepiece
import torch
from transformers import LlamaConfig, LlamaForCausalLM

N_CTX = 512
BATCH = 16
N_CORES = 2
PEAK_RATE = 2e-3
WARM_UP_STEPS = 100
BOS, EOS = 1, 2

Ids = npt.NDArray[np.uint16]


def texts(work: Path, name: str) -> Iterator[str]:
    """The documents of one part of the corpus."""
    with (work / f"{name}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def tokenizer(work: Path) -> Any:
    """The SentencePiece processor, trained on the first 60,000 documents where there is none."""
    model = work / "tokenizer.model"
    if not model.exists():
        source = work / "spm.txt"
        with source.open("w", encoding="utf-8", newline="\n") as file:
            for text, _ in zip(texts(work, "train"), range(60000), strict=False):
                file.write(re.sub(r"</?s>", "", text) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=str(source),
            model_prefix=str(model.with_suffix("")),
            vocab_size=4096,
            model_type="bpe",
            byte_fallback=True,
            normalization_rule_name="identity",
            split_digits=True,
            add_dummy_prefix=True,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            character_coverage=0.9999,
            unk_id=0,
            bos_id=BOS,
            eos_id=EOS,
            pad_id=-1,
            user_defined_symbols=["<PRE>", "<SUF>", "<MID>", "<EOT>"],
            num_threads=N_CORES,
            input_sentence_size=400000,
            max_sentencepiece_length=10,
            minloglevel=2,
            shuffle_input_sentence=True,
            max_sentence_length=8192,
        )
    return sentencepiece.SentencePieceProcessor(str(model))


def encode(pieces: Any, text: str) -> list[int]:
    """Ids of a document between BOS and EOS; `<s>` and `</s>` in the text stand for these ids."""
    ids = [BOS]
    for part in re.split(r"(</?s>)", text):
        if part == "<s>":
            ids.append(BOS)
        elif part == "</s>":
            ids.append(EOS)
        elif part:
            ids += pieces.encode(part)
    return [*ids, EOS]


def packed(work: Path, pieces: Any, name: str) -> Ids:
    """All ids of one part in a row, kept in a file between runs."""
    path = work / f"{name}.npy"
    if not path.exists():
        ids: list[int] = []
        for text in texts(work, name):
            ids += encode(pieces, text)
        np.save(path, np.array(ids, np.uint16))
    stored: Ids = np.load(path)
    return stored


def new_model(vocab_size: int) -> Any:
    """The untrained network."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=N_CTX,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    print("params", sum(p.numel() for p in model.parameters()), flush=True)
    return model


def new_optimizer(model: Any) -> Any:
    """AdamW; only matrices decay."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))


def batch(data: Ids, starts: npt.ArrayLike) -> Any:
    """(len(starts), N_CTX + 1) ids as a tensor."""
    rows = [data[start : start + N_CTX + 1] for start in np.asarray(starts)]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def loss_of(model: Any, rows: Any) -> Any:
    """Mean cross entropy of the next token, the network in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(rows[:, :-1]).logits
    flat = logits.float().reshape(-1, logits.shape[-1])
    return torch.nn.functional.cross_entropy(flat, rows[:, 1:].reshape(-1))


def learning_rate(step: int, share: float) -> float:
    """Warm-up over steps, then a cosine over the share of the time used, down to 5 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1, share)))
    return PEAK_RATE * min(1, (step + 1) / WARM_UP_STEPS) * (0.05 + 0.95 * cosine)


def validate(model: Any, valid: Ids) -> None:
    """Prints the loss over about forty evenly spaced rows."""
    model.eval()
    last = len(valid) - N_CTX - 1
    with torch.no_grad():
        losses = [loss_of(model, batch(valid, [s])).item() for s in range(0, last, last // 40)]
    model.train()
    mean = float(np.mean(losses))
    print(f"  valid loss {mean:.4f} ppl {math.exp(mean):.3f}", flush=True)


def train(work: Path, model: Any, data: Ids, valid: Ids, budget: float) -> None:
    """Steps until `budget` seconds are used; a checkpoint every 400 steps and at the end."""
    optimizer = new_optimizer(model)
    rng = np.random.default_rng(0)
    used, step, seen = 0.0, 0, 0
    while used < budget:
        started = time.process_time() / N_CORES
        rate = learning_rate(step, used / budget)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, batch(data, rng.integers(0, len(data) - N_CTX - 1, BATCH)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        used += time.process_time() / N_CORES - started
        step += 1
        seen += BATCH * N_CTX
        if step % 50 == 0:
            speed = f"lr {rate:.2e} used {used:.0f}s ({seen / used:.0f} tok/s)"
            print(f"step {step} tokens {seen} loss {loss.item():.3f} {speed}", flush=True)
        if step % 400 == 0 or used >= budget:
            validate(model, valid)
            model.to(torch.float32).save_pretrained(work / "ckpt")


def main() -> None:
    """Tokenizer, packed ids, training, and the result in float16 as WORK_FOLDER/demo."""
    parser = argparse.ArgumentParser(description="Trains the demo model.")
    parser.add_argument("work", type=Path)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(N_CORES)
    pieces = tokenizer(options.work)
    data, valid = (packed(options.work, pieces, name) for name in ("train", "valid"))
    n_pieces = pieces.vocab_size()
    print("vocab", n_pieces, "train tokens", len(data), "valid", len(valid), flush=True)
    model = new_model(n_pieces)
    train(options.work, model, data, valid, options.seconds)
    model.half().save_pretrained(options.work / "demo")


if __name__ == "__main__":
    main()
