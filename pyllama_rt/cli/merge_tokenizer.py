"""`pyllama-rt merge-tokenizer`: one SentencePiece vocabulary extended by another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.streams import MAX_STDIN_BYTES, printable
from pyllama_rt.convert.extend_tokenizer import ExtensionReport, extend_tokenizer
from pyllama_rt.small_file import read_small_file

_N_SHOWN = 12
_BASE = typer.Argument(
    metavar="BASE.model",
    help="The vocabulary to extend: a tokenizer.model of type bpe, or a folder with one.",
    show_default=False,
)
_EXTRA = typer.Argument(
    metavar="EXTRA.model",
    help="The vocabulary whose pieces are added: any SentencePiece model, or a folder with one.",
    show_default=False,
)
_OUT = typer.Option("--out", "-o", metavar="OUT.model", help="The file to write.")
_TEXT = typer.Option(metavar="TEXT", help="A text to count the tokens of; may be repeated.")
_TEXT_FILE = typer.Option(metavar="FILE", help="A UTF-8 file to count the tokens of.")


def merge_tokenizer(
    base: Annotated[Path, _BASE],
    extra: Annotated[Path, _EXTRA],
    out: Annotated[Path, _OUT],
    *,
    text: Annotated[list[str] | None, _TEXT] = None,
    text_file: Annotated[list[Path] | None, _TEXT_FILE] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report, with all pieces, as JSON.")
    ] = False,
) -> None:
    """Extend a SentencePiece vocabulary by the pieces of another.

    The pieces of BASE keep their ids, scores and types. Behind them come the
    normal pieces of EXTRA that BASE lacks, in order, with score 0. The report
    says what was added, what was not, and how many tokens the given texts
    take before and after, without BOS.

    A model needs embedding rows for the new pieces before it can use them:
    those that an adapter brings, see merge-lora.

    Examples:

      pyllama-rt merge-tokenizer ./llama-7b chinese_sp.model -o tokenizer.model

      pyllama-rt merge-tokenizer a.model b.model -o c.model --text 人工智能 --json
    """
    named = {entry: entry for entry in text or []}
    for path in text_file or []:
        raw = read_small_file(path, MAX_STDIN_BYTES)
        named[str(path)] = raw.decode("utf-8", "surrogateescape")
    report = extend_tokenizer(base, extra, out, texts=list(named.values()))
    if as_json:
        print(json.dumps(_as_json(report, list(named)), ensure_ascii=False))
    else:
        _print(report, list(named), out)


def _as_json(report: ExtensionReport, names: list[str]) -> dict[str, object]:
    merged = report.merged
    return {
        "n_pieces": merged.n_base + len(merged.added),
        "n_base": merged.n_base,
        "added": merged.added,
        "duplicates": merged.duplicates,
        "not_taken": merged.not_taken,
        "texts": [
            {"text": name, "tokens_before": counts.before, "tokens_after": counts.after}
            for name, counts in zip(names, report.texts, strict=True)
        ],
    }


def _print(report: ExtensionReport, names: list[str], out: Path) -> None:
    merged = report.merged
    total = merged.n_base + len(merged.added)
    print(printable(f"{out}: {total:,} pieces, {merged.n_base:,} of them the base's"))
    print(f"added       {len(merged.added):>7,}  {_sample(merged.added)}")
    print(f"in base     {len(merged.duplicates):>7,}  {_sample(merged.duplicates)}")
    for kind, n in merged.not_taken.items():
        print(f"not taken   {n:>7,}  of type {kind}")
    for name, counts in zip(names, report.texts, strict=True):
        change = counts.after / max(1, counts.before) - 1
        shown = printable(name if len(name) <= 40 else name[:39] + "…")
        print(f"tokens      {counts.before:>7,} -> {counts.after:,} ({change:+.0%})  {shown}")


def _sample(pieces: tuple[str, ...]) -> str:
    shown = " ".join(pieces[:_N_SHOWN])
    return printable(shown + (" …" if len(pieces) > _N_SHOWN else ""))
