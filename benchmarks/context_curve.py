"""Perplexity over context length for every way to stretch rotary positions, as JSON and a picture.

usage: python benchmarks/context_curve.py MODEL.gguf TEXT [--out DIR]

Windows of each length stand one after the other in the text; the second half of each is scored.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from pyllama_rt.config import LoadConfig, RopeConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import PyllamaRtError

LENGTHS = (256, 512, 1024, 2048, 4096)
STRETCH = 8  # of the longest length over the trained one of the demo model
WAYS = {
    "as trained": RopeConfig(),
    f"linear:{STRETCH}": RopeConfig("linear", STRETCH),
    f"ntk:{STRETCH}": RopeConfig("ntk", STRETCH),
    "adaptive": RopeConfig("adaptive"),
    f"yarn:{STRETCH}": RopeConfig("yarn", STRETCH),
}
"""What `--rope` takes, by that name."""

N_SCORED = 16384
"""Tokens that each point scores, about."""


def perplexity(session: Session, ids: list[int], length: int) -> float:
    """exp of the mean loss over the second halves of as many windows as N_SCORED asks for."""
    losses = []
    bos = session.model.tokenizer.bos_id
    for begin in range(0, len(ids) - length + 1, length):
        window = ids[begin : begin + length]
        if bos is not None:
            window = [bos, *window[1:]]
        session.truncate(0)
        session.expect(length)
        rows = session.eval(window, all_logits=True)[length // 2 - 1 : -1].astype(np.float64)
        targets = np.array(window[length // 2 :])
        largest = rows.max(axis=1)
        total = np.log(np.exp(rows - largest[:, None]).sum(axis=1)) + largest
        losses.append(total - rows[np.arange(len(targets)), targets])
        if sum(map(len, losses)) >= N_SCORED:
            break
    return float(np.exp(np.concatenate(losses).mean()))


def draw(curves: dict[str, list[float]], title: str, out: Path) -> None:
    """Writes the picture as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pyllama-rt", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for (name, values), marker in zip(curves.items(), "osD^v", strict=True):
        axes.plot(LENGTHS, values, marker=marker, label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="context length (tokens)",
        ylabel="perplexity (log scale)",
    )
    axes.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
    axes.set_yticks([10, 15, 20, 30, 50, 100], ["10", "15", "20", "30", "50", "100"])
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def main() -> int:
    """Measures every way at every length, prints the table, and writes the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("text", type=Path, help="UTF-8 text, longer than the longest window")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    given = parser.parse_args()
    text = given.text.read_text(encoding="utf-8")
    curves: dict[str, list[float]] = {}
    trained = 0
    print("way         " + "".join(f"{n:>9}" for n in LENGTHS))
    for name, rope in WAYS.items():
        config = LoadConfig(n_ctx=max(LENGTHS), rope=rope)
        with load_model(given.model, config) as model, Session(model) as session:
            trained = model.model_config.n_ctx_train
            ids = model.tokenizer.encode(text[: 8 * N_SCORED * 4], add_bos=False)
            curves[name] = [perplexity(session, ids, n) for n in LENGTHS]
        print(f"{name:<12}" + "".join(f"{value:9.2f}" for value in curves[name]), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    found = {"trained_context": trained, "lengths": LENGTHS, "perplexity": curves}
    (given.out / "context.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(curves, f"{given.model.stem}, trained at {trained} tokens", given.out / "context.svg")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PyllamaRtError as error:
        sys.exit(f"error: {error}")
