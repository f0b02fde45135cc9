"""`pyllama-rt quantize`: a GGUF file to smaller types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.plan_report import print_table, print_unguided, print_written
from pyllama_rt.config import MAX_THREADS, check_int
from pyllama_rt.convert import plan_file, quantize_file
from pyllama_rt.errors import ConfigError
from pyllama_rt.quant.importance import read_importance

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
) -> None:
    """Write a GGUF file again with its weights in fewer bits.

    TYPE is a mix such as q4_k_m, which spends more bits on the tensors that
    need them, or a plain block type. Q4_K means q4_k_m (likewise Q3_K and
    Q5_K); --pure gives the bare type. Tensors whose rows the blocks do not
    divide take a related type, and a note says so.

    Examples:

      pyllama-rt quantize model-f16.gguf model-q4.gguf q4_k_m

      pyllama-rt quantize model-f16.gguf model-q3.gguf q3_k_m --imatrix imatrix.gguf

      pyllama-rt quantize in.gguf out.gguf q4_k_m --tensor-type attn_v=q8_0

      pyllama-rt quantize model-f16.gguf q4_k_m --dry-run

      pyllama-rt quantize ./Llama-2-7b/config.json q4_k_m --dry-run
    """
    if threads is not None:
        check_int("--threads", threads, 1, MAX_THREADS)
    overrides = tensor_types or []
    again = allow_requantize
    wanted = type_ or out
    if dry_run and wanted is not None:
        print_table(
            plan_file(
                source, wanted, pure=pure, tensor_types=overrides, allow_requantize=again,
                has_importance=imatrix is not None,
            )
        )  # fmt: skip
        return
    if out is None or type_ is None:
        found = source if out is None else f"{source} and {out}"
        raise ConfigError(
            f"quantize needs IN.gguf, OUT.gguf and TYPE, found {found}; for the sizes alone give "
            "IN.gguf, TYPE and --dry-run"
        )
    importance = read_importance(imatrix) if imatrix is not None else None
    with file_progress("Quantising") as move:
        plan = quantize_file(
            source, out, type_, pure=pure, tensor_types=overrides, allow_requantize=again,
            importance=importance, n_threads=threads, progress=move,
        )  # fmt: skip
    print_written(Path(out), plan)
    if importance is not None:
        print_unguided(plan, importance)
