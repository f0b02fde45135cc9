"""Loads mutants of small models in one process that may take little memory and time.

Run as a script by tests/engine/test_model_mutations.py: `model_mutants.py FIRST COUNT FOLDER`.
Prints the number of each outcome as JSON, or ends with a traceback.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from gguf_craft import F16, FLOAT32, INT32, Q8_0, UINT32, UINT64, Craft, Tensor, number, tiny_llama
from gguf_mutate import EXTREMES, mutant
from numpy.typing import NDArray
from timing import cpu_s

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import PyllamaRtError

ADDRESS_SPACE = 2 << 30
MAX_CPU_S = 0.5  # of one file; the slowest takes a tenth of it
CONFIG = LoadConfig(n_threads=1)
PROMPT = [1, 4, 2]


def small_blocks() -> Craft:
    """The tiny model with a matrix in blocks and others in half precision."""
    craft = tiny_llama(n_vocab=6)
    for index, tensor in enumerate(craft.tensors):
        if len(tensor.dims) == 2 and index % 2:
            values = np.frombuffer(tensor.data, "<f4").astype("<f2")
            craft.tensors[index] = Tensor(tensor.name, tensor.dims, values.tobytes(), F16)
    gate = craft.tensor("blk.0.ffn_gate.weight")
    blocks = np.random.default_rng(2).integers(0, 256, (gate.dims[1], 34), np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(0.002).tobytes(), np.uint8)
    gate.type, gate.data = Q8_0, blocks.tobytes()
    return craft


def other_numbers(craft: Craft, rng: random.Random) -> bytes:
    """The model with one to three of its numbers replaced, the file around them intact."""
    keys = dict(craft.keys)
    names = [key for key in keys if str(key).startswith(("llama.", "tokenizer.ggml.bos"))]
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.choice((UINT32, UINT32, INT32, UINT64, FLOAT32))
        value: float = rng.choice((*EXTREMES, *range(40)))
        if kind == FLOAT32:
            value = rng.choice((0.0, 1e-45, -1.0, 1e38, float("nan"), float("inf"), 0.5))
        bits = {UINT32: 32, INT32: 31, UINT64: 64}.get(kind)
        keys[rng.choice(names)] = number(kind, value if bits is None else int(value) % (1 << bits))
    return Craft(keys, craft.tensors).build()


def other_tensors(craft: Craft, rng: random.Random) -> bytes:
    """The model with one tensor of another shape, type, name or content."""
    tensors = list(craft.tensors)
    index = rng.randrange(len(tensors))
    old = tensors[index]
    dims, data, type_id, name = list(old.dims), old.data, old.type, old.name
    kind = rng.randrange(5)
    if kind == 0:
        dims = [max(1, dim + rng.choice((-1, 0, 1, 32, dim))) for dim in dims]
        data = rng.randbytes(4 * int(np.prod(dims)))
    elif kind == 1:
        dims.append(1)
    elif kind == 2:
        type_id = rng.choice((0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 24, 26, 30))
        data = rng.randbytes(4 * int(np.prod(dims)))
    elif kind == 3:
        name = rng.choice(tensors).name
    else:
        data = rng.randbytes(len(data))
    tensors[index] = Tensor(name, dims, data, type_id)
    return Craft(craft.keys, tensors).build()


def mutant_model(crafts: list[Craft], seed: int) -> bytes:
    """One damaged model; the same for the same seed."""
    rng = random.Random(seed)
    craft = crafts[seed % len(crafts)]
    kind = seed // len(crafts) % 3
    if kind == 0:
        return mutant(craft, seed)
    return other_numbers(craft, rng) if kind == 1 else other_tensors(craft, rng)


def evaluate(path: Path) -> NDArray[np.float32]:
    """Logits of three tokens."""
    with load_model(path, CONFIG) as model, Session(model) as session:
        return session.eval([token % model.n_vocab for token in PROMPT])


def outcome(path: Path) -> str:
    """ "ran", or the class of the typed error; any other exception passes through."""
    try:
        logits = evaluate(path)
    except PyllamaRtError as error:
        message, result = str(error), type(error).__name__
    else:
        assert np.isfinite(logits).all()
        return "ran"
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    return result


def main(first: int, count: int, folder: Path) -> None:
    """All mutants of these seeds, between two looks at the whole model."""
    import resource  # there is none on Windows

    good, path = folder / "good.gguf", folder / "m.gguf"
    crafts = [small_blocks(), tiny_llama(n_vocab=24)]
    good.write_bytes(crafts[0].build())
    before = evaluate(good)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + count):
        path.unlink(missing_ok=True)
        path.write_bytes(mutant_model(crafts, seed))
        start = time.process_time()
        outcomes[outcome(path)] += 1
        if time.process_time() - start >= MAX_CPU_S:  # the file, or somebody else?
            assert cpu_s(partial(outcome, path)) < MAX_CPU_S, f"seed {seed} takes long"
    assert evaluate(good).tobytes() == before.tobytes(), "the good model changed"
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
