"""Documents to pydantic models: every problem at once, in plain words, at its place, with the nearest valid name.

INVARIANTS: a message never shows a value. A model is validated strictly: no text becomes a number by itself.

Called wherever a configuration file is read.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from riskengine.errors import ConfigError, Problem, nearest

from .reading import Document, KeyPath, value_at

Model = TypeVar("Model", bound=pydantic.BaseModel)


def validate(document: Document, model: type[Model]) -> Model:
    """Turns a document into a model.

    Raises:
        ConfigError: With every problem.
    """
    value, problems = check(document, model)
    if value is None:
        raise ConfigError(problems)
    return value


def check(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """As `validate`, for callers that have more to check before they give up.

    Returns:
        The model and no problems, or None and at least one.
    """
    try:
        # As JSON, which says strictly what YAML says: lists become tuples and texts become paths, nothing else changes.
        return model.model_validate_json(json.dumps(document.data), strict=True), []
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [_told(document, model, detail) for detail in details]


def check_parts(
    document: Document, model: type[Model], part_of: Callable[[KeyPath], KeyPath]
) -> tuple[Model | None, list[Problem]]:
    """As `check`, but what has the wrong form hides nothing except the part that it is in.

    Args:
        document: The file.
        model: Its schema.
        part_of: Returns the path of the part that a path is in: a key, never an item of a list, so that places stay true.

    Returns:
        The model of all parts that have the right form, None where there is none without the others; and the problems.
    """
    try:
        return model.model_validate_json(json.dumps(document.data), strict=True), []
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    data = deepcopy(document.data)
    for detail in details:
        *outer, last = part_of(tuple(part for part in detail["loc"] if part != "[key]")) or ("",)
        holder = data
        for part in outer:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.pop(last, None)
    value, _ = check(replace(document, data=data), model)
    return value, [_told(document, model, detail) for detail in details]


_TOLD: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items",
}


def _told(document: Document, model: type[pydantic.BaseModel], detail: Any) -> Problem:
    """Says one error of pydantic in plain words, at its place."""
    kind, context = detail["type"], detail.get("ctx", {})
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    name = str(path[-1]) if path else ""
    label = (
        f"item {path[-1] + 1} of {path[-2]}"
        if path and isinstance(path[-1], int) and len(path) > 1
        else name or "the file"
    )
    if "[key]" in detail["loc"]:
        return document.problem(path, f"the name {name} {_because(kind, detail, context)}", at_key=True)
    if kind == "extra_forbidden":
        known = _names(_type_at(model, path[:-1]))
        return document.problem(path, f'unknown key "{name[:64]}"{nearest(name, known)}', at_key=True)
    if kind == "literal_error":
        valid = [str(choice) for choice in get_args(_type_at(model, path))]
        value = value_at(document.data, path)
        near = nearest(value, valid) if isinstance(value, str) else ""
        choices = f"one of {', '.join(valid)}" if len(valid) > 1 else valid[0]
        return document.problem(path, f"{label} must be {choices}{near}")
    if kind == "value_error":
        return document.problem(path, f"{label}: {context['error']}" if name else str(context["error"]))
    return document.problem(path, f"{label} {_because(kind, detail, context)}", at_key=kind == "missing")


def _because(kind: str, detail: Any, context: Mapping[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"must look like {context['pattern']}")
    shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
    return _TOLD[kind].format(**shown) if kind in _TOLD else str(detail["msg"]).lower()


PATTERNS: Final[dict[str, str]] = {}
"""What a regular expression of a schema asks for, in words; a schema adds its own with `pattern`."""


def pattern(expression: str, words: str) -> str:
    """Registers the plain words for a pattern of a schema: ``must be lower_snake_case``; returns the pattern."""
    PATTERNS[expression] = words
    return expression


def _type_at(annotation: Any, path: KeyPath) -> Any:
    """Finds what a schema expects at a path: a model, a Literal, a list or dict type."""
    annotation = _bare(annotation)
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            known = _fields(annotation).get(str(part))
            annotation = _bare(known.annotation) if known else Any
        else:
            annotation = _bare(get_args(annotation)[-1]) if get_args(annotation) else Any
    return annotation


def _bare(annotation: Any) -> Any:
    """Takes ``| None`` and ``Annotated`` off."""
    while get_origin(annotation) in (Union, UnionType, Annotated):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _names(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return list(_fields(annotation))
    return []


def _fields(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    """Returns a model's fields by the key that a file has for them: the alias where there is one."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
