"""The `params.json` of a Meta checkpoint; what it leaves out comes from the tensors."""

from __future__ import annotations

from pathlib import Path

from pyllama_rt.convert.checkpoint import naming
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import FormatError, UnsupportedError, did_you_mean, shown
from pyllama_rt.models import reading
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.rope import Rope

_KNOWN = (
    "dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "hidden_dim", "vocab_size",
    "norm_eps", "rope_theta", "max_seq_len", "use_scaled_rope",
)  # fmt: skip
_IGNORED = (
    "multiple_of", "ffn_dim_multiplier",  # of the width of the MLP, which the tensors have
    "max_batch_size", "model_parallel_size",
)  # fmt: skip
_NAMES = {
    "attention.head_count_kv": "n_kv_heads",
    "attention.key_length": "head_dim",
    "rope.dimension_count": "head_dim",
    "vocab_size": "vocab_size",
    "context_length": "max_seq_len",
    "attention.layer_norm_rms_epsilon": "norm_eps",
    "rope.freq_base": "rope_theta",
}
"""What TransformerConfig checks, as params.json calls it."""


def read_params(path: Path) -> JsonMetadata:
    """The file, all of whose keys are known.

    Raises: ConfigError, FormatError; UnsupportedError for a key that may change the arithmetic.
    """
    reader = JsonMetadata.read(path)
    for key, value in reader.values.items():
        if key not in _KNOWN and key not in _IGNORED and value is not None:
            raise UnsupportedError(
                f"{path}: {shown(key)}: {shown(value)} may change the arithmetic in a way that is "
                f"not supported{did_you_mean(key, _KNOWN)}; if it does not, remove the key"
            )
    return reader


def config_of(reader: JsonMetadata, vocab_size: int, hidden_dim: int) -> TransformerConfig:
    """The config of a network.

    Args: vocab_size, hidden_dim: rows of the output and of the MLP's first matrix, all shards
        together.
    Raises: FormatError, UnsupportedError naming the key.
    """
    with naming(reader.source), reading.renamed(_NAMES):
        if reader.get_bool("use_scaled_rope", False):
            raise UnsupportedError(
                "use_scaled_rope: the scaling of LLaMA 3.1 is not supported for Meta's files; "
                "convert the model's Hugging Face folder"
            )
        n = reading.check_count("n_layers", reader.get_int("n_layers"), 1, reading.MAX_LAYERS)
        dim = reading.check_count("dim", reader.get_int("dim"), 1, reading.MAX_WIDTH)
        n_heads = reading.per_layer(reader, "n_heads", n)
        head_dim = (
            reader.get_int("head_dim")
            if reader.has("head_dim")
            else reading.head_width("n_heads", dim, n_heads[0])
        )
        for key, found in (("vocab_size", vocab_size), ("hidden_dim", hidden_dim)):
            promised = reader.get_int(key, -1)
            if promised not in (-1, found):
                raise FormatError(f"{key}: the tensors have {found} rows, found {shown(promised)}")
        return TransformerConfig(
            n_layers=n,
            dim=dim,
            hidden_dim=(hidden_dim,) * n,
            n_heads=n_heads,
            n_kv_heads=reading.per_layer(reader, "n_kv_heads", n, n_heads),
            head_dim=head_dim,
            vocab_size=vocab_size,
            n_ctx_train=reader.get_int("max_seq_len", _context(reader, dim)),
            norm_eps=reader.get_float("norm_eps"),
            rope=Rope(head_dim, reader.get_float("rope_theta", 10000.0)),
        )


def _context(reader: JsonMetadata, dim: int) -> int:
    """Positions that the model was trained on, which only the generation of the model tells.

    Code Llama has another base of the rotation, LLaMA 2 another epsilon than LLaMA 1, but for the
    largest LLaMA 1, which is as wide as the largest LLaMA 2 and has no groups of heads.
    """
    if reader.get_float("rope_theta", 10000.0) == 1e6:
        return 16384
    is_largest_1 = dim == 8192 and not reader.has("n_kv_heads")
    return 4096 if reader.get_float("norm_eps") >= 1e-5 and not is_largest_1 else 2048
