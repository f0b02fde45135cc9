"""Memory while files are written, measured in a process of its own."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from adapters import PREFIX, Peft
from checkpoints import HuggingFace, config
from command_line import FOLDER
from meta_checkpoints import half, meta_name, params_of
from torch_files import write_sparse_torch

# Names the anonymous memory before and at its highest, in KiB.
MEASURE = """
import sys, threading
from pyllama_rt.convert import (
    convert_checkpoint, edit_file, merge_adapters, merge_file, quantize_file, split_file,
)
from pyllama_rt.quant import quantize
import numpy as np

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

def watch():  # all the time: the highest point lies inside a chunk
    while not done.wait(0.001):
        seen.append(anonymous())

quantize(np.ones((4, 256), np.float32), "q8_0")
seen, done = [anonymous()], threading.Event()
threading.Thread(target=watch, daemon=True).start()
what, source, out, *rest = sys.argv[1:]
if what == "convert":
    convert_checkpoint(source, out, outtype=rest[0])
elif what == "quantize":
    quantize_file(source, out, rest[0])
elif what == "split":
    split_file(source, out, max_tensors=5)
elif what == "merge":
    merge_file(source, out)
elif what == "merge-lora":
    merge_adapters(source, rest, out)
else:
    edit_file(source, out, assignments=rest)
done.set()
print(seen[0], max(seen), len(seen))
"""

N_ROWS, DIM = 1 << 16, 1024
LARGEST_KIB = N_ROWS * DIM * 2 // 1024


def sparse_checkpoint() -> tuple[HuggingFace, dict[str, tuple[int, ...]]]:
    """An embedding and a head of 128 MiB each, without their arrays, and all shapes."""
    source = HuggingFace(config(vocab_size=1, hidden_size=DIM, num_attention_heads=16))
    shapes = {name: array.shape for name, array in source.arrays.items()}
    shapes |= dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (N_ROWS, DIM))
    source.config["vocab_size"] = N_ROWS
    source.arrays = {}
    return source, shapes


def sparse_safetensors(folder: Path) -> Path:
    """Numbers that are all zero take no room on disk."""
    source, shapes = sparse_checkpoint()
    header, n_bytes = {}, 0
    for name, shape in shapes.items():
        offsets = [n_bytes, n_bytes + 2 * math.prod(shape)]
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": offsets}
        n_bytes = offsets[1]
    source.write(folder)
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + n_bytes)
    return folder


def sparse_meta(folder: Path) -> Path:
    """Two shards; the embedding has half of each row in either."""
    source, shapes = sparse_checkpoint()
    source.write(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    (folder / "params.json").write_text(json.dumps(params_of(source.config)))
    halves = {meta_name(name): half(meta_name(name), shape) for name, shape in shapes.items()}
    for number in range(2):
        write_sparse_torch(folder / f"consolidated.{number:02d}.pth", halves)
    return folder


def growth(*arguments: object) -> int:
    """KiB by which the anonymous memory grew at most."""
    command = [sys.executable, "-c", MEASURE, *map(str, arguments)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    before, highest, n_samples = map(int, done.stdout.split())
    assert n_samples > 20
    print(f"{arguments[0]}: {(highest - before) / 1024:.0f} MiB above the start")
    return highest - before


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux's /proc"
)


@needs_proc
def test_memory_stays_below_one_tensor(tmp_path: Path) -> None:
    folder = sparse_safetensors(tmp_path / "m")
    f16 = tmp_path / "f16.gguf"
    assert growth("convert", folder, f16, "f16") < LARGEST_KIB
    assert growth("quantize", f16, tmp_path / "q4.gguf", "q4_0") < LARGEST_KIB
    assert growth("split", f16, tmp_path / "part") < LARGEST_KIB
    f16.unlink()
    first = min(tmp_path.glob("part-00001*"))
    assert growth("merge", first, f16) < LARGEST_KIB
    for path in tmp_path.glob("part-*"):
        path.unlink()
    assert growth("edit", f16, tmp_path / "e.gguf", "general.name=x") < LARGEST_KIB
    for path in tmp_path.glob("*.gguf"):
        path.unlink()


@needs_proc
def test_memory_stays_below_one_tensor_of_shards(tmp_path: Path) -> None:
    folder = sparse_meta(tmp_path / "m")
    assert growth("convert", folder, tmp_path / "q8.gguf", "q8_0") < LARGEST_KIB
    (tmp_path / "q8.gguf").unlink()


@needs_proc
def test_merging_keeps_some_rows_of_one_tensor(tmp_path: Path) -> None:
    folder = sparse_safetensors(tmp_path / "m")
    rng = np.random.default_rng(0)
    head = f"{PREFIX}lm_head"
    lora = Peft(arrays={
        f"{head}.lora_A.weight": rng.standard_normal((4, DIM), dtype=np.float32),
        f"{head}.lora_B.weight": rng.standard_normal((N_ROWS, 4), dtype=np.float32),
    })  # fmt: skip
    lora.write(tmp_path / "lora")
    assert growth("merge-lora", folder, tmp_path / "folder", tmp_path / "lora") < LARGEST_KIB
