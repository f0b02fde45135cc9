"""Checkpoints of llama2.c: `model.bin` (version 0) with its `tokenizer.bin`.

Source: karpathy/llama2.c, `legacy_export` in export.py and `export` in tokenizer.py.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from pyllama_rt.convert.checkpoint import Checkpoint, model_name, naming
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.vocabulary_draft import SpecialId, VocabularyDraft
from pyllama_rt.errors import ConfigError, FormatError, UnsupportedError, shown
from pyllama_rt.formats.mapped_file import MappedFile
from pyllama_rt.formats.tensor_types import TENSOR_TYPES
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.reading import MAX_LAYERS, MAX_WIDTH, check_count, head_width, renamed
from pyllama_rt.models.registry import architecture
from pyllama_rt.models.rope import Rope
from pyllama_rt.tokenizer.model_proto import BYTE, CONTROL, NORMAL, UNKNOWN

_HEADER = struct.Struct("<7i")
_FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
_HEADER_NAMES = {
    "attention.head_count_kv": "n_kv_heads",
    "attention.key_length": "dim / n_heads",
    "rope.dimension_count": "dim / n_heads",
}
"""What TransformerConfig checks, as the header calls it."""

_LATER_VERSIONS = b"24ka"  # 0x616b3432, the magic number of versions 1 and 2
_TOKEN = struct.Struct("<fi")
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_SPECIAL = ("<unk>", "\n<s>\n", "\n</s>\n")

# Name, shape in the architecture's symbols, whether there is one a layer; in the file's order.
_ORDER = (
    ("token_embd.weight", ("vocab", "dim"), False),
    ("blk.{i}.attn_norm.weight", ("dim",), True),
    ("blk.{i}.attn_q.weight", ("q", "dim"), True),
    ("blk.{i}.attn_k.weight", ("kv", "dim"), True),
    ("blk.{i}.attn_v.weight", ("kv", "dim"), True),
    ("blk.{i}.attn_output.weight", ("dim", "q"), True),
    ("blk.{i}.ffn_norm.weight", ("dim",), True),
    ("blk.{i}.ffn_gate.weight", ("hidden", "dim"), True),
    ("blk.{i}.ffn_down.weight", ("dim", "hidden"), True),
    ("blk.{i}.ffn_up.weight", ("hidden", "dim"), True),
    ("output_norm.weight", ("dim",), False),
    ("", ("n_ctx", "pairs"), False),  # cosines and sines, which are computed here
    ("", ("n_ctx", "pairs"), False),
    ("output.weight", ("vocab", "dim"), False),
)


def open_llama2c(path: Path, stack: ExitStack, tokenizer: Path | None = None) -> Checkpoint:
    """The checkpoint in a llama2.c file, checked.

    Args: stack: closes it. tokenizer: its vocabulary; by default tok<vocab size>.bin or
        tokenizer.bin beside it.
    Raises: ConfigError, FormatError, UnsupportedError.
    """
    mapped = MappedFile(path)
    stack.callback(mapped.close)
    with naming(path):
        config, is_tied = _read_header(mapped.view, path)
        tensors = tuple(_tensors(mapped.view, config, is_tied, path))
    vocabulary_path = tokenizer or _find_tokenizer(path, config.vocab_size)
    vocabulary = read_tokenizer(vocabulary_path, config.vocab_size)
    return Checkpoint(
        name=model_name(path.stem),
        files=(path, *vocabulary.files),
        architecture=architecture("llama"),
        config=config,
        vocabulary=vocabulary.gguf_keys(),
        tensors=tensors,
    )


def _read_header(view: memoryview, path: Path) -> tuple[TransformerConfig, bool]:
    if len(view) < _HEADER.size:
        raise FormatError.at(path, "header", expected="28 bytes", found=len(view), offset=0)
    if view[:4] == _LATER_VERSIONS:
        raise UnsupportedError(
            f"{path}: only version 0 of the llama2.c format is supported; export the model again "
            "with --version 0"
        )
    values = dict(zip(_FIELDS, _HEADER.unpack_from(view), strict=True))
    is_tied = values["vocab_size"] > 0
    values["vocab_size"] = abs(values["vocab_size"])
    for name, value in values.items():
        check_count(name, value, 1, MAX_LAYERS if name == "n_layers" else MAX_WIDTH)
    n = values["n_layers"]
    head_dim = head_width("n_heads", values["dim"], values["n_heads"])
    with renamed(_HEADER_NAMES):
        config = TransformerConfig(
            n_layers=n,
            dim=values["dim"],
            hidden_dim=(values["hidden_dim"],) * n,
            n_heads=(values["n_heads"],) * n,
            n_kv_heads=(values["n_kv_heads"],) * n,
            head_dim=head_dim,
            vocab_size=values["vocab_size"],
            n_ctx_train=values["seq_len"],
            norm_eps=1e-5,
            rope=Rope(head_dim),
        )
    return config, is_tied


def _tensors(
    view: memoryview, config: TransformerConfig, is_tied: bool, path: Path
) -> Iterator[LazyTensor]:
    """The tensors in the order of the file, whose size must be exactly what they need."""
    sizes = {**config.sizes(0), "pairs": config.head_dim // 2}
    rows = [row for row in _ORDER if row[0] != "output.weight" or not is_tied]
    shapes = [tuple(sizes[symbol] for symbol in symbols) for _, symbols, _ in rows]
    repeats = [config.n_layers if per_layer else 1 for _, _, per_layer in rows]
    n_bytes = _HEADER.size + 4 * sum(
        math.prod(shape) * n for shape, n in zip(shapes, repeats, strict=True)
    )
    if len(view) != n_bytes:
        raise FormatError.at(
            path, "size of the file", expected=f"{n_bytes}, as its header says", found=len(view)
        )
    offset = _HEADER.size
    for (name, _, _), shape, n in zip(rows, shapes, repeats, strict=True):
        size = 4 * math.prod(shape)
        for layer in range(n):
            if name:
                gguf = name.replace("{i}", str(layer))
                yield LazyTensor(
                    name=gguf,
                    shape=shape,
                    type=TENSOR_TYPES["f32"],
                    data=view[offset : offset + size],
                    source=f"{path}: tensor {gguf}",
                )
            offset += size


def _find_tokenizer(path: Path, vocab_size: int) -> Path:
    candidates = [path.with_name(f"tok{vocab_size}.bin"), path.with_name("tokenizer.bin")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ConfigError(
        f"{path}: its vocabulary of {vocab_size} pieces is in neither {candidates[0].name} nor "
        f"{candidates[1].name} beside it; name the file with --tokenizer"
    )


def read_tokenizer(path: Path, vocab_size: int) -> VocabularyDraft:
    """The vocabulary in a llama2.c tokenizer file.

    Raises: ConfigError, FormatError.
    """
    mapped = MappedFile(path)
    try:
        pieces, scores = _read_pieces(mapped.view, vocab_size, path)
    finally:
        mapped.close()
    if tuple(pieces[:3]) != _SPECIAL[: len(pieces)]:
        raise FormatError.at(
            path, "first pieces", expected="<unk>, <s>, </s>", found=shown(pieces[:3])
        )
    # The exporter put line ends around these two and a space for every ▁; GGUF wants neither.
    texts = [piece.strip("\n") for piece in pieces[:3]]
    texts += [piece.replace(" ", "▁") for piece in pieces[3:]]
    types = [UNKNOWN, CONTROL, CONTROL][: len(pieces)]
    types += [BYTE if _BYTE_PIECE.fullmatch(piece) else NORMAL for piece in pieces[3:]]
    return VocabularyDraft(
        source=path,
        files=[path],
        pieces=texts,
        scores=scores,
        types=types,
        special_ids={role: SpecialId(i, path) for i, role in enumerate(("unk", "bos", "eos"))},
    )


def _read_pieces(view: memoryview, vocab_size: int, path: Path) -> tuple[list[str], list[float]]:
    pieces: list[str] = []
    scores: list[float] = []
    position = 4  # the longest length comes first; each piece has its own
    for i in range(vocab_size):
        start, position = position, position + _TOKEN.size
        if position > len(view):
            raise FormatError.at(
                path, f"piece {i}", expected=f"{vocab_size} pieces", found="the end", offset=start
            )
        score, n_bytes = _TOKEN.unpack_from(view, start)
        if not 0 < n_bytes <= len(view) - position:
            raise FormatError.at(
                path,
                f"length of piece {i}",
                expected=f"1 to {len(view) - position}",
                found=n_bytes,
                offset=start + 4,
            )
        raw = bytes(view[position : position + n_bytes])
        position += n_bytes
        try:
            pieces.append(raw.decode())
        except UnicodeDecodeError:
            raise FormatError.at(
                path, f"piece {i}", expected="UTF-8", found=shown(raw), offset=start
            ) from None
        scores.append(score)
    if position != len(view):
        raise FormatError.at(
            path,
            "size of the file",
            expected=f"{position} for {vocab_size} pieces; it may belong to another model",
            found=len(view),
        )
    return pieces, scores
