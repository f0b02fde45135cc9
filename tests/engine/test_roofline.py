"""Measurements of the machine through the bindings."""

from __future__ import annotations

import signal
import subprocess
import sys
from time import perf_counter

import pytest
from command_line import FOLDER

from pyllama_rt import _core
from pyllama_rt.errors import ConfigError

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]


@pytest.mark.parametrize("isa", ISAS)
def test_int8_peak(isa: str) -> None:
    started = perf_counter()
    assert 1e8 < _core.measure_int8_peak(isa, 2, 0.05) < 1e14
    assert perf_counter() - started > 0.05


def test_vectors_have_higher_peaks_than_scalar_code() -> None:
    peaks = {isa: _core.measure_int8_peak(isa, 1, 0.1) for isa in ISAS}
    scalar = peaks.pop("scalar")
    assert all(peak > 1.5 * scalar for peak in peaks.values())


def test_read_bandwidth() -> None:
    assert 1e8 < _core.measure_read_bandwidth(2, 0.05) < 1e13


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="seconds"):
        _core.measure_int8_peak("", 1, float("nan"))
    with pytest.raises(ConfigError, match="threads"):
        _core.measure_read_bandwidth(0, 0.1)
    with pytest.raises(ConfigError, match="avx9"):
        _core.measure_int8_peak("avx9", 1, 0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_ctrl_c_ends_a_measurement() -> None:
    code = (
        "from pyllama_rt import _core\n"
        "try:\n    print('go', flush=True)\n    _core.measure_int8_peak('', 2, 60.0)\n"
        "except KeyboardInterrupt:\n    print('ended')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "ended\n"
