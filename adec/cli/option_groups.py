"""Groups of options: a dataclass whose fields are options of every command that takes it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints


def grouped(function: Callable[..., int]) -> Callable[..., int]:
    """Let a command take option groups, such as `machine: MachineOptions = ANY_MACHINE`.

    typer sees each field of the group as an option of its own, with the default that it has in the
    parameter's default. The command receives the group.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        kind = hints[parameter.name]
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(parameter.replace(annotation=kind))
            continue
        groups[parameter.name] = kind
        options = get_type_hints(kind, include_extras=True)
        parameters += [
            parameter.replace(
                name=field.name,
                annotation=options[field.name],
                default=getattr(parameter.default, field.name),
            )
            for field in fields(kind)
        ]
    signature = inspect.Signature(parameters, return_annotation=int)

    @functools.wraps(function)
    def command(*given: Any, **named: Any) -> int:
        values = signature.bind(*given, **named)
        values.apply_defaults()
        arguments = values.arguments
        for name, kind in groups.items():
            arguments[name] = kind(
                **{field.name: arguments.pop(field.name) for field in fields(kind)}
            )
        return function(**arguments)

    vars(command)["__signature__"] = signature
    return command
