"""Metadata of a file that is not written yet, behind the getters of one that is."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.formats.gguf_metadata import Metadata, TypedMetadata
from pyllama_rt.formats.gguf_parser import parse
from pyllama_rt.formats.gguf_types import MAGIC, VERSION
from pyllama_rt.formats.gguf_values import encode_string


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a file without tensors, in memory."""

    path: Path
    view: memoryview


@dataclass(frozen=True, slots=True)
class GgufDraft(TypedMetadata):
    """Metadata that went through the reader's own checks."""

    metadata: Metadata

    @classmethod
    def of(cls, path: Path, keys: Mapping[str, bytes]) -> GgufDraft:
        """The metadata in the order of `keys`.

        Args: path: for messages. keys: values as `encode_value` and `Metadata.encoded` give them.
        Raises: FormatError, UnsupportedError for what the reader refuses.
        """
        body = b"".join(encode_string(key) + encoded for key, encoded in keys.items())
        header = memoryview(MAGIC + struct.pack("<IQQ", VERSION, 0, len(keys)) + body)
        parsed = parse(header, path, 0)
        return cls(Metadata(_Header(path, header), parsed.entries))
