"""Writes the training text of the demo model: synthetic stories and chats, no outside text.

usage: corpus.py OUT_FILE N_DOCS SEED [TEXT_FILE ...]

Each document is one JSON line {"kind", "text"}. TEXT_FILEs (public-domain speeches and plays,
Python's own standard library) are cut into passages and mixed in.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from questions import multiple_choice, question_and_answer
from stories import story, zh_story
from words import CODE, NAMES, SYSTEM_PROMPT

PASSAGE = 1500  # characters


def chat(rng: Random) -> str:
    """One to three turns in the Llama-2 form, some with a system prompt."""
    n_turns = rng.choice([1, 1, 1, 2, 2, 3])
    text = ""
    asked: list[str] = []
    for turn in range(n_turns):
        question, answer = question_and_answer(rng)
        if turn and rng.random() < 0.25:
            question, answer = "What did I ask you first?", f"You asked: {asked[0]}"
        asked.append(question)
        has_system = turn == 0 and rng.random() < 0.7
        head = f"<<SYS>>\n{SYSTEM_PROMPT}\n<</SYS>>\n\n" if has_system else ""
        text += ("<s>" if turn else "") + f"[INST] {head}{question} [/INST] {answer} </s>"
    return text[: -len("</s>")]


def alpaca(rng: Random) -> str:
    """One instruction and its response in the Alpaca form."""
    question, answer = question_and_answer(rng)
    return (
        "Below is an instruction that describes a task. Write a response that appropriately "
        f"completes the request.\n\n### Instruction:\n{question}\n\n### Response: {answer}"
    )


def needle(rng: Random) -> str:
    """Stories with a number among them, which is asked for at the end."""
    name = rng.choice(NAMES)
    code = rng.randrange(1000, 10000)
    n_stories = rng.randrange(1, 5)
    body = [story(rng) for _ in range(n_stories)]
    fact = f"The secret number of {name} is {code}."
    body.insert(rng.randrange(len(body) + 1), fact)
    question = f"What is the secret number of {name}?"
    return " ".join(body) + f"\nQuestion: {question}\nAnswer: {fact}"


def infill(rng: Random) -> str:
    """Code or a story with a gap, as `<PRE> before <SUF>after <MID>middle <EOT>`, or in full."""
    if rng.random() < 0.5:
        before, middle, after = rng.choice(CODE)
        before = before.replace("{n}", str(rng.randrange(2, 20)))
    else:
        sentences = story(rng).split(". ")
        i = rng.randrange(1, len(sentences) - 1)
        before = ". ".join(sentences[:i]) + ". "
        middle = sentences[i] + "."
        after = " " + ". ".join(sentences[i + 1 :])
    if rng.random() < 0.3:
        return before + middle + after
    return f"<PRE> {before} <SUF>{after} <MID>{middle} <EOT>"


def mc(rng: Random) -> str:
    """A multiple-choice question with its letter."""
    return "".join(multiple_choice(rng))


KINDS: dict[str, tuple[Callable[[Random], str], int]] = {
    "story": (story, 26),
    "zh_story": (zh_story, 4),
    "chat": (chat, 34),
    "alpaca": (alpaca, 8),
    "mc": (mc, 12),
    "needle": (needle, 8),
    "infill": (infill, 8),
}
"""Kind of document -> what writes it, and its share of the text."""


def document(rng: Random) -> tuple[str, str]:
    """Kind and text of one document."""
    weights = [weight for _, weight in KINDS.values()]
    kind = rng.choices(list(KINDS), weights)[0]
    write, _ = KINDS[kind]
    return kind, write(rng)


def main() -> None:
    """Draws the documents, mixes in the passages, shuffles and writes them."""
    parser = argparse.ArgumentParser(description="Training text of the demo model.")
    parser.add_argument("out_file", type=Path)
    parser.add_argument("n_docs", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("text_file", type=Path, nargs="*")
    options = parser.parse_args()
    rng = Random(options.seed)
    documents = [document(rng) for _ in range(options.n_docs)]
    for path in options.text_file:
        text = path.read_text(encoding="utf-8", errors="replace")
        documents += [("text", text[i : i + PASSAGE]) for i in range(0, len(text), PASSAGE)]
    rng.shuffle(documents)
    with options.out_file.open("w", encoding="utf-8", newline="\n") as file:
        for kind, text in documents:
            file.write(json.dumps({"kind": kind, "text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
