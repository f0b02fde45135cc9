"""Perplexity over context length for every way to stretch rotary positions, as JSON and a picture.

usage: python benchmarks/context_curve.py MODEL.gguf TEXT [--out DIR]

Perplexity as docs/quality.md defines it, without a stride.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pyllama_rt.config import LoadConfig, RopeConfig
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.evaluate.perplexity import measure_perplexity
from pyllama_rt.evaluate.windows import WindowConfig, cut_windows, encode_text

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


def perplexity(model: Model, ids: list[int], n_ctx: int) -> float:
    """Over as many windows as N_SCORED asks for."""
    n_windows = -(-N_SCORED // (n_ctx - 1 - n_ctx // 2))
    windows = cut_windows(model.tokenizer, ids, WindowConfig(n_ctx, limit=n_windows))
    return measure_perplexity(model, windows).perplexity.value


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
        with load_model(given.model, config) as model:
            trained = model.model_config.n_ctx_train
            ids = encode_text(model.tokenizer, text[: 8 * N_SCORED * 4])
            curves[name] = [perplexity(model, ids, n) for n in LENGTHS]
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
