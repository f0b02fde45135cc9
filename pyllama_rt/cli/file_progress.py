"""A progress bar on stderr for commands that write files; silent unless stderr is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from pyllama_rt.convert import Progress as Callback


@contextmanager
def file_progress(action: str) -> Iterator[Callback]:
    """The callback that moves the bar. Args: action: what is being done, for its label."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        TextColumn("{task.fields[tensor]}"),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(action, total=None, tensor="")

        def move(tensor: str, n_done: int, n_total: int) -> None:
            progress.update(task, completed=n_done, total=n_total, tensor=tensor)

        yield move
