"""Tells the text of a chat template from the text of the messages in what the template renders.

Only the template may give special ids. The messages are rendered again with private markers around
each of their strings; where taking the markers out gives the plain rendering, they show exactly
which text is whose. White space at both ends of a string stays outside the markers, so that
`| trim` works on both alike.

Some templates cut messages up (to drop reasoning, say), which breaks such pairs. Then only the
special pieces inside the messages are marked, and the ends of the strings. Where even that changes
what the template does, special pieces are recognised everywhere if the messages hold none, and
nowhere otherwise.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence

from pyllama_rt.tokenizer.special_pieces import SpecialPieces

Spans = list[tuple[str, bool]]
"""Texts with whether special pieces are recognised in them."""

Change = Callable[[str], str]

_STRUCTURE_KEYS = ("role", "type")
"""Strings that templates compare instead of printing; unmarked where they are plain words."""

_WORD = re.compile(r"[A-Za-z0-9_.-]{0,64}")


class Markers:
    """A pair of private markers that nobody can foresee."""

    def __init__(self, special: SpecialPieces) -> None:
        """Draws them. `special` gives the length of each piece that messages must not bring in."""
        secret = secrets.token_hex(8)
        self._special = special
        self.open = f"\uf8f0{secret}\uf8f1"
        self.close = f"\uf8f2{secret}\uf8f3"

    def wrap(self, text: str) -> str:
        """`text` between markers, white space at its ends outside."""
        core = text.strip()
        return text.replace(core, f"{self.open}{core}{self.close}", 1) if core else text

    def wrap_special(self, text: str) -> str:
        """`text` with its special pieces between markers, and an empty pair at its end."""
        core = text.strip()
        if not core:
            return text
        out, end = "", 0
        for before, length in self._special.cut(core):
            start = end + len(before)
            end = start + (length or 0)
            out += before
            if length is not None:
                out += f"{self.open}{core[start:end]}{self.close}"
        return text.replace(core, f"{out}{self.open}{self.close}", 1)

    def spans(self, rendered: str) -> Spans | None:
        """The marked text as spans; None if the markers are not in pairs."""
        out: Spans = []
        own = True
        for part in re.split(f"({self.open}|{self.close})", rendered):
            if part in (self.open, self.close):
                if (part == self.open) != own:
                    return None
                own = not own
            elif part:
                out.append((part, own))
        return out if own else None


def trusted_spans(
    render: Callable[[Change], str | None],
    plain: str,
    values: object,
    special_pieces: Sequence[str],
) -> Spans:
    """The spans of a rendering, as the head of this file says.

    Args:
        render: Renders with a change applied to all strings; None if the template then fails.
        plain: The rendering without a change. values: Messages and tools.
        special_pieces: All texts that could become special ids.
    """
    special = SpecialPieces({text: len(text) for text in special_pieces})
    markers = Markers(special)
    for change in (markers.wrap, markers.wrap_special):
        marked = render(change)
        spans = None if marked is None else markers.spans(marked)
        if spans is not None and "".join(text for text, _ in spans) == plain:
            return spans
    strings = list(strings_in(values))
    # Joined too, because a template may put two strings side by side.
    joined = ["".join(strings), "".join(text.strip() for text in strings)]
    return [(plain, not any(special.found_in(text) for text in joined))]


def map_strings(value: object, change: Change, key: str = "") -> object:
    """`value` with `change` applied to each of its strings but roles and types."""
    if isinstance(value, str):
        return value if key in _STRUCTURE_KEYS and is_word(value) else change(value)
    if isinstance(value, dict):
        return {k: map_strings(v, change, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(item, change, key) for item in value]
    return value


def strings_in(value: object) -> Iterator[str]:
    """Every string of nested lists and dictionaries, keys not included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_in(item)


def keys_in(value: object) -> Iterator[str]:
    """Every key of nested lists and dictionaries."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from keys_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from keys_in(item)


def is_word(text: str) -> bool:
    """Whether `text` is a plain word, which cannot be a special piece."""
    return _WORD.fullmatch(text) is not None
