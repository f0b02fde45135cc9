"""A reader of pickles that can build plain data and what its caller allows, and run nothing.

A pickle is a program for a stack machine. Python's own reader lets that program import and call
anything; this one knows only the instructions that PyTorch's writer emits, resolves names through a
list, and counts its steps. What it builds is never hashed, compared or printed here (but for the
texts that are keys), so that structures which refer to themselves many times over cost nothing.
Source: Python's `pickletools`, the opcodes of protocols 0 to 4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.errors import FormatError, shown

MAX_STEPS = 1 << 20
"""About 30 a tensor; a step takes about a microsecond and may keep 100 bytes."""

MAX_DEPTH = 1 << 14
"""Python's writer closes a dictionary's items every 1000."""

_MAX_NAME_BYTES = 256
_MAX_LONG_BYTES = 8
_U16, _I32, _U32, _F64 = (struct.Struct(code) for code in ("<H", "<i", "<I", ">d"))


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle may use. make: what calling it gives; None: it may not be called."""

    name: str
    make: Callable[[tuple[object, ...]], object] | None = None


Find = Callable[[str, str], "Global | None"]
"""The global of a module and a name; None if it is not allowed."""


class PickleMachine:
    """Runs one pickle, once."""

    def __init__(
        self, data: memoryview, path: Path, start: int, find: Find, load: Callable[[object], object]
    ) -> None:
        """Prepare.

        Args:
            data: the pickle. path, start: the file and where in it the pickle lies, for messages.
            find: the names that it may use. load: the object of a persistent id.
        """
        self._data = data
        self._path = path
        self._start = start
        self._find = find
        self._load = load
        self._position = 0
        self._at = 0  # the instruction that runs
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        """The value that the pickle describes.

        Raises: FormatError naming the byte at which it is broken, or does something else than to
            describe data; what `find`, `load` and the calls of globals raise.
        """
        for _ in range(MAX_STEPS):
            self._at = self._position
            opcode = self._take(1)[0]
            if opcode == _STOP:
                return self._result()
            action = _ACTIONS.get(opcode)
            if action is None:
                raise self.error("an instruction that torch.save writes", shown(bytes([opcode])))
            action(self)
            if len(self._stack) > MAX_DEPTH or len(self._marks) > MAX_DEPTH:
                raise self.error(f"a stack of up to {MAX_DEPTH} values", "more")
        raise self.error(f"up to {MAX_STEPS} instructions", "more")

    def error(self, expected: object, found: object) -> FormatError:
        """The refusal of the instruction that runs."""
        return FormatError.at(
            self._path, "pickle", expected=expected, found=found, offset=self._start + self._at
        )

    def _result(self) -> object:
        if len(self._stack) != 1 or self._marks or self._position != len(self._data):
            raise self.error("one value at the end of the pickle", "another number or more bytes")
        return self._stack[0]

    def _take(self, n_bytes: int) -> memoryview:
        """The next bytes of the program."""
        end = self._position + n_bytes
        if end > len(self._data):
            raise self.error(f"{n_bytes} more bytes", f"{len(self._data) - self._position}")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _skip(self, n_bytes: int) -> None:
        self._take(n_bytes)

    def _number(self, layout: struct.Struct) -> int:
        number: int = layout.unpack(self._take(layout.size))[0]
        return number

    def _line(self) -> str:
        """Text up to the next line end."""
        window = bytes(self._data[self._position : self._position + _MAX_NAME_BYTES])
        n_bytes = window.find(b"\n")
        if n_bytes < 0:
            raise self.error(f"a name of up to {_MAX_NAME_BYTES} bytes", "a longer one")
        self._position += n_bytes + 1
        return window[:n_bytes].decode("ascii", "replace")

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise self.error("a value on the stack", "none")
        return self._stack.pop()

    def _top(self) -> object:
        value = self._pop()
        self._stack.append(value)
        return value

    def _pop_mark(self) -> list[object]:
        """All values above the last mark."""
        if not self._marks:
            raise self.error("a mark on the stack", "none")
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _push_text(self, n_bytes: int) -> None:
        try:
            self._push(bytes(self._take(n_bytes)).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise self.error("UTF-8 text", "other bytes") from None

    def _push_long(self) -> None:
        n_bytes = self._take(1)[0]
        if n_bytes > _MAX_LONG_BYTES:
            raise self.error(f"a number of up to {_MAX_LONG_BYTES} bytes", n_bytes)
        self._push(int.from_bytes(self._take(n_bytes), "little", signed=True))

    def _push_tuple(self, n: int) -> None:
        items = [self._pop() for _ in range(n)]
        self._push(tuple(reversed(items)))

    def _append(self, items: list[object]) -> None:
        target = self._top()
        if type(target) is not list:
            raise self.error("a list to append to", type(target).__name__)
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._top()
        if type(target) is not dict or len(items) % 2:
            raise self.error("a dictionary and pairs", type(target).__name__)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:  # hashing others may take forever
                raise self.error("a text as key", type(key).__name__)
            if key in target:
                raise self.error("a new key", shown(key))
            target[key] = value

    def _set_item(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def _set_state(self) -> None:
        """Attributes of a dictionary: PyTorch keeps versions of modules there."""
        state = self._pop()
        target = self._top()
        if type(state) is not dict or type(target) is not dict:
            raise self.error("attributes of a dictionary", f"those of {_kind(target)}")

    def _push_global(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise self.error("the name of a global", _kind(name))
        found = self._find(module, name)
        if found is None:
            raise self.error(
                "tensors in dictionaries and nothing else",
                f"{shown(f'{module}.{name}')}, which was not run; it may be an attack: use a file "
                "from a source that you trust, or safetensors",
            )
        self._push(found)

    def _push_line_global(self) -> None:
        module = self._line()
        self._push_global(module, self._line())

    def _push_stack_global(self) -> None:
        name = self._pop()
        self._push_global(self._pop(), name)

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        make = function.make if isinstance(function, Global) else None
        if make is None or type(arguments) is not tuple:
            raise self.error("a call that builds a tensor or a dictionary", _kind(function))
        self._push(make(arguments))

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise self.error("a value that was remembered", f"number {index}, which was not")
        self._push(self._memo[index])


def _kind(value: object) -> str:
    """What to call a value in a message; its content may be without end."""
    return value.name if isinstance(value, Global) else type(value).__name__


_M = PickleMachine
_STOP = ord(".")
_ACTIONS: dict[int, Callable[[PickleMachine], None]] = {
    0x80: lambda m: m._skip(1),  # PROTO
    0x95: lambda m: m._skip(8),  # FRAME
    ord("("): _M._mark,
    ord("N"): lambda m: m._push(None),
    0x88: lambda m: m._push(True),
    0x89: lambda m: m._push(False),
    ord("K"): lambda m: m._push(m._take(1)[0]),
    ord("M"): lambda m: m._push(m._number(_U16)),
    ord("J"): lambda m: m._push(m._number(_I32)),
    0x8A: _M._push_long,
    ord("G"): lambda m: m._push(_F64.unpack(m._take(8))[0]),
    ord("X"): lambda m: m._push_text(m._number(_U32)),
    0x8C: lambda m: m._push_text(m._take(1)[0]),
    ord("}"): lambda m: m._push({}),
    ord("]"): lambda m: m._push([]),
    ord(")"): lambda m: m._push(()),
    0x85: lambda m: m._push_tuple(1),
    0x86: lambda m: m._push_tuple(2),
    0x87: lambda m: m._push_tuple(3),
    ord("t"): lambda m: m._push(tuple(m._pop_mark())),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._pop_mark()),
    ord("s"): _M._set_item,
    ord("u"): lambda m: m._set_items(m._pop_mark()),
    ord("c"): _M._push_line_global,
    0x93: _M._push_stack_global,
    ord("Q"): lambda m: m._push(m._load(m._pop())),
    ord("R"): _M._call,
    ord("b"): _M._set_state,
    ord("q"): lambda m: m._put(m._take(1)[0]),
    ord("r"): lambda m: m._put(m._number(_U32)),
    0x94: lambda m: m._put(len(m._memo)),
    ord("h"): lambda m: m._get(m._take(1)[0]),
    ord("j"): lambda m: m._get(m._number(_U32)),
}
"""What each instruction does, by its byte."""
