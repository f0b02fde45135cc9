"""`pyllama-rt quantize`: a GGUF file to smaller types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.grouped import grouped
from pyllama_rt.cli.out_file import check_out
from pyllama_rt.cli.plan_report import print_table, print_unguided, print_written
from pyllama_rt.cli.target import How, TargetOptions
from pyllama_rt.config import MAX_THREADS, check_int
from pyllama_rt.convert import plan_file, quantize_file
from pyllama_rt.convert.quantize_file import TypeChoice
from pyllama_rt.errors import ConfigError, shown
from pyllama_rt.quant.importance import read_importance
from pyllama_rt.quant.plan import Plan

_SOURCE = typer.Argument(
    metavar="IN.gguf",
    help="The file to read (F32, F16 or BF16; any part of a split model). With --dry-run also a "
    "Hugging Face config.json.",
    show_default=False,
)
_OUT = typer.Argument(
    metavar="OUT.gguf", help="The file to write; --dry-run needs none.", show_default=False
)
_TYPE = typer.Argument(
    metavar="TYPE",
    help="q8_0, q6_k, q5_k_m, q4_k_m, q3_k_m, q2_k … in any letter case. An unknown one lists all.",
    show_default=False,
)
_PURE = typer.Option("--pure", help="TYPE for every weight, not the mix's choice for each.")
_TENSOR_TYPE = typer.Option(
    "--tensor-type",
    metavar="REGEX=TYPE",
    help="Another type for the weights whose names match; may be repeated, the first that matches "
    "wins.",
)
_IMATRIX = typer.Option(
    "--imatrix",
    metavar="FILE",
    help="An importance matrix of this model (see: pyllama-rt imatrix); errors then fall where "
    "they cost least.",
)
_DRY_RUN = typer.Option("--dry-run", help="Only show tensors, types and sizes.")
_AGAIN = typer.Option(
    "--allow-requantize", help="Take a file that is quantised already, at a loss."
)
_THREADS = typer.Option(metavar="N", help="Threads. Default: all physical cores.")


@grouped
def quantize(
    source: Annotated[Path, _SOURCE],
    out: Annotated[str | None, _OUT] = None,
    type_: Annotated[str | None, _TYPE] = None,
    *,
    pure: Annotated[bool, _PURE] = False,
    imatrix: Annotated[Path | None, _IMATRIX] = None,
    tensor_types: Annotated[list[str] | None, _TENSOR_TYPE] = None,
    dry_run: Annotated[bool, _DRY_RUN] = False,
    allow_requantize: Annotated[bool, _AGAIN] = False,
    threads: Annotated[int | None, _THREADS] = None,
    options: TargetOptions,
) -> None:
    """Write a GGUF file again with its weights in fewer bits.

    TYPE is a mix such as q4_k_m, which spends more bits on the tensors that
    need them, or a plain block type. Q4_K means q4_k_m (likewise Q3_K and
    Q5_K); --pure gives the bare type. Tensors whose rows the blocks do not
    divide take a related type, and a note says so.

    With --target-size or --target-bpw there is no TYPE: the model reads some
    windows of a text once for each of its weights, with that one quantised,
    and what each lost tells which types lose least together. That costs a 7B
    model 226 times 2048 tokens, and mostly saves a third of what a mix of the
    same size loses.

    Examples:

      pyllama-rt quantize model-f16.gguf model-q4.gguf q4_k_m

      pyllama-rt quantize model-f16.gguf model-q3.gguf q3_k_m --imatrix imatrix.gguf

      pyllama-rt quantize model-f16.gguf small.gguf --target-size 3.5GiB -f text.txt

      pyllama-rt quantize in.gguf out.gguf q4_k_m --tensor-type attn_v=q8_0

      pyllama-rt quantize model-f16.gguf q4_k_m --dry-run

      pyllama-rt quantize ./Llama-2-7b/config.json q4_k_m --dry-run
    """
    if threads is not None:
        check_int("--threads", threads, 1, MAX_THREADS)
    target = options.target()
    given = [argument for argument in (out, type_) if argument is not None]
    path, name = _arguments(source, given, dry_run=dry_run, has_target=target is not None)
    importance = read_importance(imatrix) if imatrix is not None else None
    how = How(tuple(tensor_types or ()), allow_requantize, importance, threads)
    if target is None:
        wanted: TypeChoice = name
    elif pure:
        raise ConfigError("--pure gives all weights one type; expected TYPE beside it, no target")
    else:
        if path is not None:
            check_out(path, [source])
        wanted = options.choose(source, target, how)
    if path is None:
        print_table(_planned(source, wanted, pure, how))
    else:
        _write(source, path, wanted, pure, how)


def _arguments(
    source: Path, given: list[str], *, dry_run: bool, has_target: bool
) -> tuple[Path | None, str]:
    """The file to write, None for a dry run, and TYPE, "" where a target stands in its place.

    Raises: ConfigError if there are too few or too many.
    """
    if has_target and len(given) > 1:
        raise ConfigError(f"expected no TYPE beside a target, found {shown(given[1])}")
    n_needed = (0 if dry_run else 1) + (0 if has_target else 1)
    if len(given) < n_needed:
        what = "IN.gguf and OUT.gguf" if has_target else "IN.gguf, OUT.gguf and TYPE"
        less = "IN.gguf and --dry-run" if has_target else "IN.gguf, TYPE and --dry-run"
        raise ConfigError(
            f"quantize needs {what}, found {' and '.join([str(source), *given])}; for the sizes "
            f"alone give {less}"
        )
    return None if dry_run else Path(given[0]), "" if has_target else given[-1]


def _planned(source: Path, wanted: TypeChoice, pure: bool, how: How) -> Plan:
    return plan_file(
        source, wanted, pure=pure, tensor_types=how.tensor_types,
        allow_requantize=how.allow_requantize, has_importance=how.importance is not None,
    )  # fmt: skip


def _write(source: Path, out: Path, wanted: TypeChoice, pure: bool, how: How) -> None:
    with file_progress("Quantising") as move:
        plan = quantize_file(
            source, out, wanted, pure=pure, tensor_types=how.tensor_types,
            allow_requantize=how.allow_requantize, importance=how.importance,
            n_threads=how.n_threads, progress=move,
        )  # fmt: skip
    print_written(out, plan)
    if how.importance is not None:
        print_unguided(plan, how.importance)
