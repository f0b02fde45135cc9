"""The surface that users of llama-cpp-python know."""

from pyllama_rt.compat.arguments import LogitsProcessorList, StoppingCriteriaList
from pyllama_rt.compat.llama import Llama

__all__ = ["Llama", "LogitsProcessorList", "StoppingCriteriaList"]
