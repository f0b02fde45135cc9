"""SentencePiece's BPE as `tokenizer.json` has it: merges over text with `▁` for spaces.

GGUF's form has no merges but a score for each piece: of two neighbours whose text is a piece, those
of the highest score are merged, the first of equal ones. That gives the ids of the merges if every
piece comes out of them when it stands alone, and its score is the rank of the last of those merges.
For what happens between the borders of a piece does not depend on what stands beyond them, as long
as nothing is merged across: so two neighbours that make a piece are always those of its last merge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tokenizers import models

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.pre_tokenizer_name import Step, steps
from pyllama_rt.convert.tokenizer_json import AddedPieces, Merge, pieces_in_order
from pyllama_rt.convert.vocabulary_draft import SpecialId, VocabularyDraft
from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.tokenizer.model_proto import BYTE, NORMAL, UNKNOWN
from pyllama_rt.tokenizer.pieces import byte_value

_SPACE = "▁"
_MAX_MERGED_CHARS = 64
"""The cost grows with the square, and what has several merges are runs of spaces."""

_HINT = "put the model's tokenizer.model beside it"


def draft_spaced(
    file: JsonMetadata,
    vocab: Mapping[str, int],
    merges: Sequence[Merge],
    added: AddedPieces,
    cuts: list[Step],
) -> VocabularyDraft:
    """The draft for a `tokenizer.json` of this kind.

    Args: cuts: the steps of the pre-tokenizer.
    Raises: FormatError; UnsupportedError for what scores cannot say.
    """
    source = file.source
    add_space_prefix = _adds_prefix(file, cuts, vocab)
    pieces = pieces_in_order(vocab, added, source)
    types = [NORMAL if byte_value(piece) is None else BYTE for piece in pieces]
    if types.count(BYTE) != 256 or not file.get_bool("model.byte_fallback", False):
        raise UnsupportedError(
            f"{source}: byte_fallback: a vocabulary without pieces for all 256 bytes is not "
            f"supported; {_HINT}"
        )
    draft = VocabularyDraft(
        source=Path(str(source)),
        pieces=pieces,
        scores=_scores(pieces, vocab, merges, source),
        types=types,
        add_bos=False,
        add_space_prefix=add_space_prefix,
    )
    unknown = file.get_str("model.unk_token", None)
    if unknown is not None:
        if unknown not in vocab:
            expected, found = "a piece of the vocabulary", shown(unknown)
            raise FormatError.at(source, "unk_token", expected=expected, found=found)
        draft.types[vocab[unknown]] = UNKNOWN
        draft.special_ids["unk"] = SpecialId(vocab[unknown], source)
    left_out = _check_alone(draft, vocab, merges, added)
    ignores = file.get_bool("model.ignore_merges", None)
    if left_out and ignores:
        raise UnsupportedError(
            f"{source}: ignore_merges: {shown(left_out)} comes out of no merges; {_HINT}"
        )
    return draft


def _scores(
    pieces: Sequence[str], vocab: Mapping[str, int], merges: Sequence[Merge], source: object
) -> list[float]:
    """Minus the place of each piece among those that merges make; the others are below all."""
    ranks: dict[int, int] = {}
    scattered = set()
    last = -1
    for rank, (left, right) in enumerate(merges):
        token = vocab[left + right]
        if token != last and ranks.setdefault(token, rank) != rank:
            scattered.add(token)
        last = token
    by_merge = {merge: rank for rank, merge in enumerate(merges)} if scattered else {}
    for token in scattered:
        if len(pieces[token]) > _MAX_MERGED_CHARS:
            raise UnsupportedError(
                f"{source}: the merges that make {shown(pieces[token])} do not follow one another, "
                f"which is supported for up to {_MAX_MERGED_CHARS} characters; {_HINT}"
            )
        ranks[token] = _last_rank(pieces[token], by_merge, ranks[token])
    places = {token: place for place, token in enumerate(sorted(ranks, key=ranks.__getitem__))}
    return [-float(places.get(token, len(places))) for token in range(len(pieces))]


def _last_rank(piece: str, ranks: Mapping[Merge, int], default: int) -> int:
    """The rank of the last merge when `piece` stands alone."""
    parts = list(piece)
    last = default
    while len(parts) > 1:
        found = [ranks.get(pair, len(ranks)) for pair in pairwise(parts)]
        best = min(found)
        if best == len(ranks):
            break
        at = found.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        last = best
    return last


def _check_alone(
    draft: VocabularyDraft, vocab: Mapping[str, int], merges: Sequence[Merge], added: AddedPieces
) -> str | None:
    """A piece that the merges do not make, if any; the like of `<start>`, in several parts.

    Raises: UnsupportedError if only the last merge of one is missing, as a score would bring it.
    """
    model = models.BPE(vocab=dict(vocab), merges=list(merges), byte_fallback=True)
    left_out = None
    for piece, token in vocab.items():
        if token in added or draft.types[token] != NORMAL:
            continue
        n_parts = len(model.tokenize(piece))
        if n_parts == 2:
            raise UnsupportedError(
                f"{draft.source}: no merge makes {shown(piece)} of its halves, which GGUF cannot "
                f"say; {_HINT}"
            )
        if n_parts != 1:
            left_out = piece
    return left_out


def _adds_prefix(file: JsonMetadata, cuts: list[Step], vocab: Mapping[str, int]) -> bool:
    """Whether a space goes before a text. Raises: UnsupportedError for other normalisation."""
    prefix = replaced = False
    source = file.source
    for step in steps(file.get("normalizer"), "normalizers", source, "normalizer"):
        if step["type"] == "Prepend" and step.get("prepend") == _SPACE:
            prefix = True
        elif step["type"] == "Replace" and _replaces_spaces(step):
            replaced = True
        else:
            raise _unknown(source, "normalizer", step)
    for step in cuts:
        if step["type"] == "Metaspace" and step.get("replacement") == _SPACE:
            old = "always" if step.get("add_prefix_space", True) else "never"
            prefix = prefix or step.get("prepend_scheme", old) != "never"
            replaced = True
            crossing = next((piece for piece in vocab if _SPACE in piece[1:]), None)
            if step.get("split", True) and crossing is not None:
                raise UnsupportedError(
                    f"{source}: pre_tokenizer: splitting at spaces is not supported for "
                    f"vocabularies with pieces such as {shown(crossing)}"
                )
        # Gemma's: there are no spaces left to split at.
        elif not (replaced and step["type"] == "Split" and step.get("pattern") == {"String": " "}):
            raise _unknown(source, "pre_tokenizer", step)
    if not replaced:
        raise UnsupportedError(
            f"{source}: a BPE vocabulary that is neither byte-level nor has {_SPACE} for spaces "
            "is not supported"
        )
    return prefix


def _replaces_spaces(step: Step) -> bool:
    return step.get("pattern") == {"String": " "} and step.get("content") == _SPACE


def _unknown(source: object, field: str, step: Step) -> UnsupportedError:
    return UnsupportedError(f"{source}: {field} {shown(dict(step), 300)} is not supported")
