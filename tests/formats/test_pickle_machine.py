"""The pickle machine: plain data, and programs that want more than to describe data."""

from __future__ import annotations

import os
import pickle
import struct
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from pyllama_rt.errors import FormatError
from pyllama_rt.formats import pickle_machine
from pyllama_rt.formats.pickle_machine import Global, PickleMachine

PLAIN = Global("OrderedDict", lambda arguments: {} if not arguments else None)


def find(module: str, name: str) -> Global | None:
    return PLAIN if (module, name) == ("collections", "OrderedDict") else None


def run(program: bytes) -> Any:
    return PickleMachine(memoryview(program), Path("x.pth"), 1000, find, lambda key: key).run()


VALUES = [
    None, True, False, 0, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**62, -(2**63), 1.5,
    "", "abc", "字", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], [1, 2], {}, {"a": 1},
    {"a": 1, "b": (2, [3])}, OrderedDict(a=OrderedDict(b=1)), {str(i): i for i in range(3000)},
    [str(i) for i in range(300)], [["x"] * 3] * 3,
]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_come_back(protocol: int) -> None:
    for value in VALUES:
        assert run(pickle.dumps(value, protocol)) == value


def test_attributes_of_dictionaries_are_left_out() -> None:
    state: Any = OrderedDict(a=1)
    state._metadata = OrderedDict({"": {"version": 1}})
    assert run(pickle.dumps(state, 2)) == {"a": 1}


class Attack:
    """Runs a command when Python's own reader reads it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call

    def __call__(self) -> None:
        raise AssertionError(self)


def test_nothing_is_called(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    command = f"touch {trace}"
    chain = Attack(getattr, Attack(__import__, "os"), "system")
    attacks = [Attack(os.system, command), Attack(eval, "1"), Attack(chain, command)]
    for attack in attacks:
        for protocol in range(2, 6):
            program = pickle.dumps({"x": attack}, protocol)
            with pytest.raises(FormatError, match="which was not run"):
                run(program)
    pickle.loads(pickle.dumps(attacks[0]))
    assert trace.exists()  # so the attack is one


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


HOSTILE = {
    "os.system": b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.",
    "getattr chain": b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\n.",
    "dotted name": b"\x80\x02ccollections\nOrderedDict.update\n.",
    "name on the stack": b"\x80\x04" + text("os") + text("system") + b"\x93.",
    "name that is no text": b"\x80\x04" + text("os") + b"K\x01\x93.",
    "name without end": b"\x80\x02cos\nsystem",
    "long name": b"\x80\x02c" + b"x" * 300 + b"\ny\n.",
    "call of a text": b"\x80\x02" + text("os") + b")R.",
    "call of what it built": b"\x80\x02}})R.",
    "call without a tuple": b"\x80\x02ccollections\nOrderedDict\n}R.",
    "state of a number": b"\x80\x02K\x01}b.",
    "state that is no dictionary": b"\x80\x02}K\x01b.",
    "instance": b"\x80\x02(ios\nsystem\n.",
    "object": b"\x80\x02(cos\nsystem\no.",
    "new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "extension registry": b"\x80\x02\x82\x01.",
    "text protocol": b"S'abc'\n.",
    "text of gigabytes": b"\x80\x02X\xff\xff\xff\xff.",
    "text not UTF-8": b"\x80\x02X\x01\0\0\0\xff.",
    "number of 255 bytes": b"\x80\x02\x8a\xff" + bytes(255) + b".",
    "number of gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "cut number": b"\x80\x02\x8a\x08\x01.",
    "cut float": b"\x80\x02G\0\0.",
    "frame past the end": b"\x80\x04\x95",
    "no end": b"\x80\x02}",
    "nothing": b"",
    "end alone": b"\x80\x02.",
    "two values": b"\x80\x02}}.",
    "open mark": b"\x80\x02(}.",
    "more after the end": b"\x80\x02}.}",
    "no mark": b"\x80\x02t.",
    "tuple of nothing": b"\x80\x02\x85.",
    "tuple over a mark": b"\x80\x02K\x01(\x85.",
    "tuple from under a mark": b"\x80\x02)(\x85t\x86.",
    "value of another mark": b"\x80\x02}(K\x01sN.",
    "append to a dictionary": b"\x80\x02}K\x01a.",
    "items of a list": b"\x80\x02](K\x01K\x02u.",
    "odd items": b"\x80\x02}(X\x01\0\0\0au.",
    "key twice": b"\x80\x02}(X\x01\0\0\0aNX\x01\0\0\0aNu.",
    "number as key": b"\x80\x02}K\x01K\x02s.",
    "tuple as key": b"\x80\x02})K\x02s.",
    "memory of nothing": b"\x80\x02q\0.",
    "memory never written": b"\x80\x02h\x07.",
    "far memory never written": b"\x80\x02j\xff\xff\xff\xff.",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_programs_are_refused(case: str) -> None:
    with pytest.raises(FormatError, match=r"x\.pth: pickle at byte 1[0-9]{3}") as caught:
        run(HOSTILE[case])
    assert "\n" not in str(caught.value)


def test_a_far_memory_takes_no_room() -> None:
    """Python's own reader would make a table of that length."""
    far = b"\xff\xff\xff\xff"
    assert run(b"\x80\x02}r" + far + b"j" + far + b"\x86.") == ({}, {})


def doubling(n: int, start: bytes, twice: bytes) -> bytes:
    """A value that holds the one before it twice, `n` times over: 2^n in all."""
    out = b"\x80\x02" + start + b"q\0"
    for i in range(1, n):
        out += (b"h" + bytes([i - 1])) * 2 + twice + b"q" + bytes([i])
    return out


def test_bombs_of_shared_values_cost_nothing() -> None:
    tuples = doubling(200, b")", b"\x86")
    start = time.process_time()
    with pytest.raises(FormatError, match="one value at the end"):
        run(tuples + b".")
    with pytest.raises(FormatError, match="a text as key"):
        run(tuples + b"}h\xc7Ns.")
    with pytest.raises(FormatError, match="a call that builds"):
        run(tuples + b"h\xc7)R.")
    with pytest.raises(FormatError, match="a list to append to"):
        run(tuples + b"h\xc7h\xc7a.")
    assert time.process_time() - start < 1


def test_a_deep_stack_is_refused() -> None:
    for opcode in (b"(", b"]", b"N", b")"):
        with pytest.raises(FormatError, match="a stack of up to 16384"):
            run(b"\x80\x02" + opcode * 10**6)


def test_deep_values_do_no_harm() -> None:
    """Nothing here goes down into a value, and Python frees deep ones step by step."""
    value = run(b"\x80\x02)" + b"\x85" * 2 * 10**5 + b".")
    assert type(value) is tuple
    del value
    cyclic = run(b"\x80\x02]q\0h\0a.")
    assert cyclic[0] is cyclic
    cyclic.clear()


def test_long_programs_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pickle_machine.MAX_STEPS == 1 << 20
    monkeypatch.setattr(pickle_machine, "MAX_STEPS", 1000)
    assert run(b"\x80\x02)" + b"\x85" * 997 + b".")
    with pytest.raises(FormatError, match="up to 1000 instructions"):
        run(b"\x80\x02)" + b"\x85" * 998 + b".")
