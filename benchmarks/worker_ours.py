"""One model in this runtime, timed on request; started by compare.py, which says how.

usage: worker_ours.py MODEL N_PROMPT N_GENERATE N_THREADS

Writes one line of JSON when the model is loaded, then one for each line that it reads.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.engine.token_work import token_work

FIRST_ID = 300
"""Any id does; the peer gets the same ones."""


def main(path: str, n_prompt: int, n_generate: int, n_threads: int) -> None:
    ids = [FIRST_ID + i % 1000 for i in range(n_prompt)]
    config = LoadConfig(n_ctx=max(n_prompt, n_generate + 1), n_threads=n_threads)
    with load_model(path, config) as model, Session(model) as session:
        session.eval(ids[:8])
        work = token_work(model)
        ready = {
            "kernels": model.program.backend,
            "macs_per_token": work.prompt_macs(n_prompt) / n_prompt,
            "bytes_per_token": work.generation_bytes(1, n_generate),
            "is_quantized": work.is_quantized,
        }
        print(json.dumps(ready), flush=True)
        for _ in sys.stdin:
            session.truncate(0)
            started = perf_counter()
            session.eval(ids)
            prompt_s = perf_counter() - started
            session.truncate(1)
            started = perf_counter()
            for token in range(FIRST_ID, FIRST_ID + n_generate):
                session.eval([token])
            generate_s = perf_counter() - started
            speeds = {"prompt": n_prompt / prompt_s, "generate": n_generate / generate_s}
            print(json.dumps(speeds), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
