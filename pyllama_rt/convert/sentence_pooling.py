"""How a checkpoint of sentence-transformers makes one vector of a text."""

from __future__ import annotations

from pathlib import Path

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import UnsupportedError, shown

POOLING_FILE = Path("1_Pooling", "config.json")

_DENSE = "2_Dense"
_FLAG = "pooling_mode_"
_POOLINGS = {"mean_tokens": "mean", "cls_token": "cls"}


def read_pooling(folder: Path) -> str | None:
    """The pooling, "mean" or "cls"; None if the folder does not say.

    Raises: FormatError; UnsupportedError for other ways, or several at once.
    """
    settings = JsonMetadata.read_optional(folder / POOLING_FILE)
    flags = [key for key in settings.values if key.startswith(_FLAG)]
    chosen = [key.removeprefix(_FLAG) for key in flags if settings.get_bool(key, False)]
    if not flags:
        return None
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise UnsupportedError(
            f"{settings.source}: pooling by {shown(chosen)} is not supported; expected one of "
            f"{', '.join(_POOLINGS)}"
        )
    if (folder / _DENSE).exists():
        raise UnsupportedError(
            f"{folder / _DENSE}: a layer behind the pooling is not supported; the vectors would "
            "not be those of the model"
        )
    return _POOLINGS[chosen[0]]
