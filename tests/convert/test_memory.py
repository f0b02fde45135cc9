"""Memory while files are written, measured in a process of its own."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from adapters import PREFIX, Peft
from checkpoints import HuggingFace, config
from command_line import FOLDER

# Names the anonymous memory before and at its highest, in KiB.
MEASURE = """
import sys, threading
from pyllama_rt.convert import convert_checkpoint, merge_adapters, quantize_file
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
if sys.argv[1] == "convert":
    convert_checkpoint(sys.argv[2], sys.argv[3], outtype=sys.argv[4])
elif sys.argv[1] == "merge":
    merge_adapters(sys.argv[2], [sys.argv[4]], sys.argv[3])
else:
    quantize_file(sys.argv[2], sys.argv[3], sys.argv[4])
done.set()
print(seen[0], max(seen), len(seen))
"""

N_ROWS, DIM = 1 << 16, 1024
LARGEST_KIB = N_ROWS * DIM * 2 // 1024


def sparse_checkpoint(folder: Path) -> Path:
    """An embedding and a head of 128 MiB each, all zero, which take no room on disk."""
    values = config(vocab_size=N_ROWS, hidden_size=DIM, num_attention_heads=16)
    source = HuggingFace(values, {}, files={})
    small = {name: a.shape for name, a in source.arrays.items() if "layers" in name}
    shapes = {"model.embed_tokens.weight": (N_ROWS, DIM), "lm_head.weight": (N_ROWS, DIM)}
    header, n_bytes = {}, 0
    for name, shape in {**shapes, "model.norm.weight": (DIM,), **small}.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        offsets = [n_bytes, n_bytes + size]
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": offsets}
        n_bytes += size
    source.arrays = {}
    source.write(folder)
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + n_bytes)
    return folder


def growth(*arguments: object) -> int:
    """KiB by which the anonymous memory grew at most."""
    command = [sys.executable, "-c", MEASURE, *map(str, arguments)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    before, highest, n_samples = map(int, done.stdout.split())
    assert n_samples > 20
    print(f"{arguments[0]}: {(highest - before) / 1024:.0f} MiB above the start")
    return highest - before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_stays_below_one_tensor(tmp_path: Path) -> None:
    folder = sparse_checkpoint(tmp_path / "m")
    assert growth("convert", folder, tmp_path / "f16.gguf", "f16") < LARGEST_KIB
    assert growth("quantize", tmp_path / "f16.gguf", tmp_path / "q4.gguf", "q4_0") < LARGEST_KIB
    (tmp_path / "f16.gguf").unlink()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_merging_keeps_some_rows_of_one_tensor(tmp_path: Path) -> None:
    folder = sparse_checkpoint(tmp_path / "m")
    rng = np.random.default_rng(0)
    head = f"{PREFIX}lm_head"
    lora = Peft(arrays={
        f"{head}.lora_A.weight": rng.standard_normal((4, DIM), dtype=np.float32),
        f"{head}.lora_B.weight": rng.standard_normal((N_ROWS, 4), dtype=np.float32),
    })  # fmt: skip
    lora.write(tmp_path / "lora")
    assert growth("merge", folder, tmp_path / "folder", tmp_path / "lora") < LARGEST_KIB
