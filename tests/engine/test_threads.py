"""Several Python threads, daemon threads at exit, and forks."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import FOLDER
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import StateError

PROMPT = np.random.default_rng(2).integers(3, 270, 900).tolist()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "m.gguf", "q4_k").path


@pytest.fixture
def model(path: Path) -> Iterator[Model]:
    faulthandler.dump_traceback_later(60, exit=True)  # a deadlock should not take the run with it
    with load_model(path, LoadConfig(n_ctx=4096, n_threads=2)) as loaded:
        yield loaded
    faulthandler.cancel_dump_traceback_later()


def test_a_cache_may_be_asked_while_a_step_runs(model: Model) -> None:
    cache = model.new_cache()
    sequence = cache.create()
    done = threading.Event()
    seen = []

    def ask() -> None:
        while not done.is_set():
            seen.append(cache.allocated_bytes)

    asker = threading.Thread(target=ask)
    asker.start()
    ids, wanted = np.array(PROMPT), np.zeros(len(PROMPT), np.uint8)
    for _ in range(3):
        model.program.step(cache, ids, np.full(len(ids), sequence), wanted, 2)
    done.set()
    asker.join()
    assert max(seen) == cache.allocated_bytes


def test_sessions_in_several_threads_give_what_they_give_alone(model: Model) -> None:
    def run(ids: list[int]) -> bytes:
        with Session(model) as session:
            return session.eval(ids, all_logits=True).tobytes()

    texts = [PROMPT[i : i + 60] for i in range(0, 240, 60)]
    wanted = [run(ids) for ids in texts]
    got: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda i=i, ids=ids: got.setdefault(i, run(ids)))
        for i, ids in enumerate(texts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[i] for i in range(len(texts))] == wanted


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_daemon_thread_that_generates_does_not_break_the_exit(path: Path, n_threads: int) -> None:
    code = f"""
import threading, time
from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

model = load_model({str(path)!r}, LoadConfig(n_ctx=4096, n_threads={n_threads}))

def work():
    while True:
        with Session(model) as session:
            session.eval([5] * 4000)

threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
print("end", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FOLDER,  # where the checkout's folder does not hide the installed package
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "end\n"
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_after_a_fork_a_program_is_an_error_and_a_new_one_works(
    path: Path, model: Model, n_threads: int
) -> None:
    with Session(model) as session:
        session.eval([1, 2])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                session.eval([3])
            except StateError:
                config = LoadConfig(n_threads=n_threads)
                with load_model(path, config) as fresh, Session(fresh) as own:
                    status = 7 if own.eval([1, 2]).size else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
