"""One model in llama-cpp-python, timed on request; started by compare.py, which says how.

usage: worker_peer.py MODEL N_PROMPT N_GENERATE N_THREADS USE_EXTRA_BUFFERS

Speaks as worker_ours.py does. Its own file, because it runs where only the peer is installed.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as library

FIRST_ID = 300


def load(path: str, n_ctx: int, n_batch: int, n_threads: int, extra_buffers: bool) -> Any:
    """The model; the extra buffers, weights repacked at load, have no argument of their own."""
    defaults = library.llama_model_default_params

    def changed() -> Any:
        params = defaults()
        if not hasattr(params, "use_extra_bufts"):
            raise SystemExit("this version of the peer has no use_extra_bufts")
        params.use_extra_bufts = extra_buffers
        return params

    library.llama_model_default_params = changed
    return llama_cpp.Llama(
        path, n_ctx=n_ctx, n_batch=n_batch, n_ubatch=n_batch, n_threads=n_threads,
        n_threads_batch=n_threads, verbose=False,
    )  # fmt: skip


def main(path: str, n_prompt: int, n_generate: int, n_threads: int, extra_buffers: int) -> None:
    ids = [FIRST_ID + i % 1000 for i in range(n_prompt)]
    n_ctx = max(n_prompt, n_generate + 1)
    model = load(path, n_ctx, min(n_prompt, 512), n_threads, bool(extra_buffers))
    model.eval(ids[:8])
    ready = {
        "version": llama_cpp.__version__,
        "system": library.llama_print_system_info().decode(),
    }
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        model.reset()
        started = perf_counter()
        model.eval(ids)
        prompt_s = perf_counter() - started
        model.reset()
        model.eval(ids[:1])
        started = perf_counter()
        for token in range(FIRST_ID, FIRST_ID + n_generate):
            model.eval([token])
        generate_s = perf_counter() - started
        speeds = {"prompt": n_prompt / prompt_s, "generate": n_generate / generate_s}
        print(json.dumps(speeds), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
