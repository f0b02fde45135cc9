"""Lets dataclasses stand for groups of options, so that commands can share them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar, get_type_hints

from pyllama_rt.errors import ConfigError

T = TypeVar("T")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer in whose place of each dataclass parameter stand the fields of the class.

    The fields carry `Annotated[..., typer.Option(...)]` and need defaults.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind))
            continue
        groups[parameter.name] = kind
        types = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            parameters.append(
                Parameter(
                    field.name,
                    Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=types[field.name],
                )
            )

    def call(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    call.__name__ = command.__name__
    call.__doc__ = command.__doc__
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return call


def build(config: type[T], group: Any, **parsed: Any) -> T:
    """The config of a group of options whose fields have its names; others it leaves out.

    Args: parsed: values that stand for the fields of these names.
    Raises: ConfigError that names the option instead of the field.
    """
    try:
        known = {field.name for field in fields(config)}  # type: ignore[arg-type]
        shared = {name: value for name, value in asdict(group).items() if name in known}
        return config(**{**shared, **parsed})
    except ConfigError as error:
        field, colon, rest = str(error).partition(": ")
        types = get_type_hints(type(group), include_extras=True)
        if not colon or field not in types:
            raise
        raise ConfigError(f"{_flag(field, types[field].__metadata__[0])}: {rest}") from None


def _flag(field: str, option: Any) -> str:
    """The long name of an option; typer keeps the first one where defaults were before."""
    declared = [str(name) for name in (option.default, *(option.param_decls or ()))]
    return next((n for n in declared if n.startswith("--")), "--" + field.replace("_", "-"))
