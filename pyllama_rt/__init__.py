"""pyllama-rt: a portable, quantised LLM runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyllama_rt import errors
from pyllama_rt.errors import PyllamaRtError

if TYPE_CHECKING:
    from pyllama_rt.compat import Llama, LogitsProcessorList, StoppingCriteriaList

__version__ = "0.1.0"

__all__ = [
    "Llama",
    "LogitsProcessorList",
    "PyllamaRtError",
    "StoppingCriteriaList",
    "__version__",
    "errors",
]

_LAZY = ("Llama", "LogitsProcessorList", "StoppingCriteriaList")

if not TYPE_CHECKING:  # type checkers know the names from above, and should find no others

    def __getattr__(name: str) -> Any:
        """Loads the engine when it is first asked for, so that the import stays light."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pyllama_rt import compat

        return getattr(compat, name)
