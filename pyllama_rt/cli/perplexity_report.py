"""What `pyllama-rt perplexity` found, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyllama_rt import __version__
from pyllama_rt.evaluate.divergence import Divergence
from pyllama_rt.evaluate.estimate import Estimate
from pyllama_rt.evaluate.perplexity import Perplexity
from pyllama_rt.evaluate.windows import Windows


def as_text(found: Perplexity | Divergence, windows: Windows) -> str:
    """A few lines, without a newline at the end."""
    own = found if isinstance(found, Perplexity) else found.perplexity
    lines = [f"perplexity       {_plain(own.perplexity)}"]
    if isinstance(found, Divergence):
        lines += _divergence_lines(found)
    lines.append(
        f"{own.n_tokens} tokens scored, {own.n_windows} windows of {windows.n_ctx}, "
        f"{own.seconds:.1f} s"
    )
    return "\n".join(lines)


def _divergence_lines(found: Divergence) -> list[str]:
    kl, delta_p = found.kl_percentiles, found.delta_p_percentiles
    return [
        f"of the base      {_plain(found.base_perplexity)}",
        f"ratio            {found.ratio.value:.6f} ± {found.ratio.error:.6f}",
        f"KL divergence    {found.kl.value:.4g} ± {found.kl.error:.2g} nats; median {kl[50]:.3g}, "
        f"90% {kl[90]:.3g}, 95% {kl[95]:.3g}, 99% {kl[99]:.3g}, largest {kl[100]:.3g}",
        f"same top token   {_percent(found.same_top)}",
        f"Δp of the right  {_percent(found.delta_p)}; RMS {found.delta_p_rms:.3%}, "
        f"1% {delta_p[1]:.3%}, 5% {delta_p[5]:.3%}, 95% {delta_p[95]:.3%}, 99% {delta_p[99]:.3%}",
    ]


def _plain(value: Estimate) -> str:
    return f"{value.value:.4f} ± {value.error:.4f}"


def _percent(value: Estimate) -> str:
    return f"{value.value:.3%} ± {value.error:.3%}"


def as_data(found: Perplexity | Divergence, model: Path, windows: Windows) -> dict[str, Any]:
    """For JSON. Shares and probabilities are from 0 to 1, divergences in nats."""
    own = found if isinstance(found, Perplexity) else found.perplexity
    data: dict[str, Any] = {
        "version": __version__,
        "model": str(model),
        "n_ctx": windows.n_ctx,
        "stride": None if windows.step == windows.n_ctx else windows.step,
        "n_windows": own.n_windows,
        "n_tokens": own.n_tokens,
        "seconds": own.seconds,
        "perplexity": own.perplexity.value,
        "standard_error": own.perplexity.error,
    }
    if isinstance(found, Divergence):
        data |= {
            "base_perplexity": _pair(found.base_perplexity),
            "ratio": _pair(found.ratio),
            "kl_divergence": {**_pair(found.kl), "percentiles": found.kl_percentiles},
            "same_top": _pair(found.same_top),
            "delta_p": {
                **_pair(found.delta_p),
                "rms": found.delta_p_rms,
                "percentiles": found.delta_p_percentiles,
            },
        }
    return data


def _pair(value: Estimate) -> dict[str, float]:
    return {"value": value.value, "standard_error": value.error}
