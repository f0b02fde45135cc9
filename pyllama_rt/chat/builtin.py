"""Chat templates for models whose files have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyllama_rt.chat.templates import ChatTemplate
from pyllama_rt.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class _BuiltIn:
    source: str
    stops: Sequence[str]


_TEXT_ONLY = """\
{%- for turn in messages if turn.content is not string -%}
  {{- raise_exception('this template takes messages of plain text only') -}}
{%- endfor -%}
"""

_LLAMA_2 = """\
{%- if messages and messages[0].role == 'system' -%}
  {%- set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' -%}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {%- set system = '' -%}
  {%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
  {%- if turn.role == 'user' -%}
    {{- bos_token + '[INST] ' + (system if loop.first else '') + turn.content + ' [/INST]' -}}
  {%- elif turn.role == 'assistant' -%}
    {{- ' ' + turn.content + eos_token -}}
  {%- else -%}
    {{- raise_exception('llama-2 knows the roles system (first), user and assistant') -}}
  {%- endif -%}
{%- endfor -%}
"""

_ALPACA = """\
{%- if messages and messages[0].role == 'system' -%}
  {{- messages[0].content -}}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {{- 'Below is an instruction that describes a task. ' -}}
  {{- 'Write a response that appropriately completes the request.' -}}
  {%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
  {%- if turn.role == 'user' -%}
    {{- '\\n\\n### Instruction:\\n' + turn.content + '\\n\\n### Response: ' -}}
  {%- elif turn.role == 'assistant' -%}
    {{- turn.content -}}
  {%- else -%}
    {{- raise_exception('alpaca knows the roles system (first), user and assistant') -}}
  {%- endif -%}
{%- endfor -%}
"""

_CHATML = """\
{%- for turn in messages -%}
  {{- '<|im_start|>' + turn.role + '\\n' + turn.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

# Stops as text, because the vocabulary may lack these pieces or the model may spell them out.
_BUILT_INS = {
    "alpaca": _BuiltIn(_ALPACA, ("### Instruction:",)),
    "chatml": _BuiltIn(_CHATML, ("<|im_end|>", "<|im_start|>")),
    "llama-2": _BuiltIn(_LLAMA_2, ("[INST]",)),
}

NAMES = tuple(_BUILT_INS)
"""The built-in templates."""


def choose(
    name: str | None, metadata_template: str | None, source: object = "model file"
) -> ChatTemplate:
    """The chat template to use.

    Args:
        name: A built-in one; None takes the model's own.
        metadata_template: `tokenizer.chat_template` of the model file, if it has one.
        source: The model file, for messages.
    Raises:
        ConfigError if `name` is unknown, or if neither is given.
    """
    if name is None:
        if metadata_template is None:
            raise ConfigError(
                f"{source}: the model file has no chat template; name one of {', '.join(NAMES)}"
            )
        return ChatTemplate(metadata_template, str(source))
    if name not in _BUILT_INS:
        raise ConfigError(
            f"chat template {name!r} is not known{did_you_mean(name, NAMES)}; "
            f"known: {', '.join(NAMES)}"
        )
    return ChatTemplate(_TEXT_ONLY + _BUILT_INS[name].source, name, _BUILT_INS[name].stops)
