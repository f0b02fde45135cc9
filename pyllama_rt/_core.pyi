# Generated from the extension by tools/generate_stub.py; do not edit.
"""
The compiled half of pyllama_rt: block codecs, programs, caches, samplers, measurements.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions

__all__: list[str] = [
    "BANDWIDTH_BYTES",
    "Feedback",
    "KvCache",
    "Program",
    "Sampler",
    "default_threads",
    "dequantize",
    "isa_names",
    "isa_supported",
    "measure_int8_peak",
    "measure_read_bandwidth",
    "quantize",
    "selected_isa",
]

class Program:
    """
    A graph bound to its weights.
    """
    def __init__(
        self,
        graph: str,
        weights: collections.abc.Sequence[
            tuple[
                str,
                str,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing_extensions.Buffer,
                typing.SupportsInt | typing.SupportsIndex,
            ]
        ],
        isa: str = "",
        observe: str = "",
    ) -> None:
        """
        weights: rows of (name, type, rows, columns, buffer, byte offset). observe: add up what enters the matrices, the "squares" for `tallies` or also the "moments".
        """
    def inputs(self) -> list[list[str]]:
        """
        The names of the matrices that read the same, for each input that is observed.
        """
    def kv_bytes_per_cell(self, kv_type: str) -> int:
        """
        Bytes of cache that one position takes.
        """
    def moments(
        self, input: typing.SupportsInt | typing.SupportsIndex
    ) -> numpy.typing.NDArray[numpy.float32] | None:
        """
        Sums of the products of an input's columns (cols, 256): each with all of its block of 256 columns, 0 past the last. None of experts, or if they were not asked for.
        """
    def scratch_bytes(
        self,
        n_rows: typing.SupportsInt | typing.SupportsIndex,
        n_outputs: typing.SupportsInt | typing.SupportsIndex,
        n_threads: typing.SupportsInt | typing.SupportsIndex,
        n_cells: typing.SupportsInt | typing.SupportsIndex,
    ) -> int:
        """
        Bytes of scratch memory for steps of a sequence that grows to n_cells positions.
        """
    def step(
        self,
        cache: KvCache,
        ids: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
        sequences: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
        wanted: typing.Annotated[numpy.typing.ArrayLike, numpy.uint8],
        n_threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.float32]:
        """
        Runs rows and commits them to the cache; the logits (n_wanted, vocab) f32.
        """
    def tallies(
        self,
    ) -> list[tuple[str, numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.int64]]]:
        """
        What entered the matrices of an observing program in all steps so far, in the order in which they are used: (name, sums of squares (n_mats, cols), rows (n_mats,)). A step that raised may be counted in part.
        """
    @property
    def backend(self) -> str:
        """
        Name of the backend and its instruction set.
        """
    @property
    def output_width(self) -> int:
        """
        Numbers of an output row.
        """

class KvCache:
    """
    Keys and values of many sequences, in shared pages.
    """
    def __init__(
        self, program: Program, kv_type: str, max_cells: typing.SupportsInt | typing.SupportsIndex
    ) -> None: ...
    def create(self, rope_alpha: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> int:
        """
        A new empty sequence's number. rope_alpha: its rotary base is times alpha^(dims / (dims - 2)).
        """
    def fork(
        self,
        sequence: typing.SupportsInt | typing.SupportsIndex,
        n: typing.SupportsInt | typing.SupportsIndex,
    ) -> int:
        """
        A new sequence that shares the first n positions.
        """
    def length(self, sequence: typing.SupportsInt | typing.SupportsIndex) -> int:
        """
        Positions of a sequence.
        """
    def release(self, sequence: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Forgets a sequence.
        """
    def truncate(
        self,
        sequence: typing.SupportsInt | typing.SupportsIndex,
        n: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        Keeps the first n positions.
        """
    @property
    def allocated_bytes(self) -> int:
        """
        Bytes of the pages allocated so far.
        """

class Feedback:
    """
    Rounding with feedback for the columns of a matrix.
    """
    def __init__(
        self,
        importance: numpy.typing.NDArray[numpy.float32],
        correlations: numpy.typing.NDArray[numpy.float32],
        n_threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        importance: (n,) f32 mean squares. correlations: (n, 256) f32, each column's with those of its window.
        """

class Sampler:
    """
    The sampler chain of one request.
    """
    def __init__(
        self,
        *,
        temperature: typing.SupportsFloat | typing.SupportsIndex,
        top_k: typing.SupportsInt | typing.SupportsIndex,
        top_p: typing.SupportsFloat | typing.SupportsIndex,
        min_p: typing.SupportsFloat | typing.SupportsIndex,
        repeat_penalty: typing.SupportsFloat | typing.SupportsIndex,
        frequency_penalty: typing.SupportsFloat | typing.SupportsIndex,
        presence_penalty: typing.SupportsFloat | typing.SupportsIndex,
        repeat_last_n: typing.SupportsInt | typing.SupportsIndex,
        seed: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def accept(self, id: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Counts a token as seen.
        """
    def sample(
        self,
        logits: typing.Annotated[numpy.typing.ArrayLike, numpy.float32],
        allowed: typing.Annotated[numpy.typing.ArrayLike, numpy.uint32] | None = None,
    ) -> int:
        """
        Chooses a token from one row of logits; allowed: one bit a token, or None.
        """

def default_threads() -> int:
    """
    Physical cores inside the affinity mask and the cgroup quota; at least 1.
    """

def dequantize(
    type: str,
    blocks: numpy.typing.NDArray[numpy.uint8],
    n_rows: typing.SupportsInt | typing.SupportsIndex,
    n_cols: typing.SupportsInt | typing.SupportsIndex,
    n_threads: typing.SupportsInt | typing.SupportsIndex,
) -> numpy.typing.NDArray[numpy.float32]:
    """
    Bytes of n_rows rows to (n_rows, n_cols) f32.
    """

def isa_names() -> list[str]:
    """
    Instruction sets in this build, best first.
    """

def isa_supported(name: str) -> bool:
    """
    Whether this CPU runs it.
    """

def measure_int8_peak(
    isa: str,
    n_threads: typing.SupportsInt | typing.SupportsIndex,
    seconds: typing.SupportsFloat | typing.SupportsIndex,
) -> float:
    """
    Multiply-accumulates of int8 a second in registers; isa: "" for the best one.
    """

def measure_read_bandwidth(
    n_threads: typing.SupportsInt | typing.SupportsIndex,
    seconds: typing.SupportsFloat | typing.SupportsIndex,
) -> float:
    """
    Bytes read from memory a second.
    """

def quantize(
    type: str,
    x: numpy.typing.NDArray[numpy.float32],
    n_threads: typing.SupportsInt | typing.SupportsIndex,
    importance: numpy.typing.NDArray[numpy.float32] | None = None,
    feedback: Feedback | None = None,
) -> numpy.typing.NDArray[numpy.uint8]:
    """
    (n_rows, n_cols) f32 to (n_rows, row_bytes) u8. importance: (n_cols,) f32.
    """

def selected_isa(forced: str = "") -> str:
    """
    The instruction set that a program would use.
    """

BANDWIDTH_BYTES: int = 1073741824
