"""The layout of a file of log-probabilities, which llama-perplexity reads and writes too.

Little-endian: the magic; n_ctx, n_vocab and n_windows as i32; the n_windows · n_ctx ids as they
stand in the text, i32; then a row for each scored id of the windows: scale and minimum as f32, a
u16 code for each id of the vocabulary, and one more where n_vocab is odd. The logarithm of a
probability is code · scale + minimum. What is more than CLIPPED below the likeliest has code 0.

Source: llama.cpp, tools/perplexity/perplexity.cpp (--kl-divergence-base).
"""

from __future__ import annotations

import struct

MAGIC = b"_logits_"
NUMBERS = struct.Struct("<3i")
HEADER_BYTES = len(MAGIC) + NUMBERS.size
MAX_CODE = (1 << 16) - 1
CLIPPED = 16.0

HEAD_CODES = 4
"""Scale and minimum, in the length of codes."""


def row_codes(n_vocab: int) -> int:
    """u16 numbers of a row, scale and minimum among them."""
    return HEAD_CODES + n_vocab + n_vocab % 2


def scored_of(n_ctx: int) -> int:
    """Scored ids of a window."""
    return n_ctx - 1 - n_ctx // 2
