"""What is wrong with a features.yaml of the right form: names, references, and what stands there twice.

INVARIANT: everything is a `Problem` with its place and, where one is near, the valid name; nothing is raised, so that one mistake
does not hide another. Called by `engine.features`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from riskengine.errors import Problem, nearest
from riskengine.expr import is_variable_name
from riskengine.linkage.plan import Linkage
from riskengine.types import ENTITIES, ENTITY_INDEX
from riskengine.velocity.operations import OPERATIONS, VALUED
from riskengine.velocity.schema import Inputs, Profile
from riskengine.yamlfile import Document, KeyPath

_ASKED = (*OPERATIONS, "ratio", "rate")
"""Keys of a measure that list what is asked of it."""
_NO_NAMES = frozenset({"txn", "outcome", "numbers", "labels", "model", "lists"})
"""First parts of names that mean something else."""


def part_of(path: KeyPath) -> KeyPath:
    """Returns the part of features.yaml that a path is in, such as one measure: what a mistake of form in it may hide."""
    measure = path[0:1] == ("profiles",) and path[2:3] == ("measures",)
    return path[: 4 if measure else 3 if path[0:1] == ("profiles",) else 2]


def input_problems(document: Document, inputs: Inputs) -> Iterator[Problem]:
    """Yields what is wrong with the caller's own keys."""
    for kind, keys in (("numbers", inputs.numbers), ("labels", inputs.labels)):
        yield from _twice(document, ("inputs", kind), keys)
        for index, key in enumerate(keys):
            if not is_variable_name(f"{kind}.{key}"):
                yield document.problem(("inputs", kind, index), f'"{key}" is a word of CEL; give the key another name')


def key_problems(document: Document, keys: Mapping[str, Sequence[str]], codes: Collection[str]) -> Iterator[Problem]:
    """Yields what is wrong with the declared entity types.

    Args:
        document: The file.
        keys: Fields by name.
        codes: Names of the codes that may be a field.
    """
    for name, fields in keys.items():
        path: KeyPath = ("keys", name)
        if name in ENTITY_INDEX or name in _NO_NAMES or not is_variable_name(f"{name}.count"):
            yield document.problem(path, f'"{name}" has a meaning already; give the key another name', at_key=True)
        yield from _twice(document, path, fields)
        for index, field in enumerate(fields):
            if field not in ENTITY_INDEX and field not in codes:
                near = nearest(field, [*ENTITIES, *codes])
                message = f'"{field[:64]}" is neither an entity nor a code of the event{near}'
                yield document.problem((*path, index), message)
        if len(fields) == 1 and fields[0] in ENTITY_INDEX:
            yield document.problem((*path, 0), f"{fields[0]} is an entity already; name it in profiles")


def profile_problems(
    document: Document,
    entity: str,
    profile: Profile,
    numbers: Collection[str],
    keys: Mapping[str, Sequence[str]],
) -> Iterator[Problem]:
    """Yields what is wrong with one profile.

    Args:
        document: The file.
        entity: Its key.
        profile: What it declares.
        numbers: Features of the event that can be measured.
        keys: Declared entity types.
    """
    path: KeyPath = ("profiles", entity)
    yield from _unknown(document, path, entity, keys, at_key=True)
    for name, measure in profile.measures.items():
        at = (*path, "measures", name)
        if measure.of is not None and measure.of not in numbers:
            near = nearest(measure.of, numbers)
            yield document.problem((*at, "of"), f'"{measure.of[:64]}" is not a number of the event{near}')
        needs = [operation for operation in VALUED if getattr(measure, operation)]
        if needs and measure.of is None:
            message = f"{name} asks for {', '.join(needs)}: name what is measured with `of`"
            yield document.problem(at, message, at_key=True)
        if not (measure.since_last or measure.gaps or any(getattr(measure, key) for key in _ASKED)):
            yield document.problem(at, f"{name} asks for nothing; add for example count: [24h]", at_key=True)
        unshifted = [key for key in ("rate", "since_last", "gaps") if getattr(measure, key)]
        if measure.delay and unshifted:
            message = f"a delay shifts windows, which are not asked of {', '.join(unshifted)}; give those a measure without it"
            yield document.problem((*at, "delay"), message, at_key=True)
        for operation in _ASKED:
            yield from _twice(document, (*at, operation), getattr(measure, operation))
    for member, windows in profile.distinct.items():
        yield from _unknown(document, (*path, "distinct", member), member, keys, at_key=True)
        yield from _of_entities(document, (*path, "distinct", member), member, keys, at_key=True)
        yield from _twice(document, (*path, "distinct", member), windows)
    for index, member in enumerate(profile.new):
        yield from _unknown(document, (*path, "new", index), member, keys)
        yield from _of_entities(document, (*path, "new", index), member, keys)
    yield from _twice(document, (*path, "new"), profile.new)


def linkage_problems(document: Document, linkage: Linkage) -> Iterator[Problem]:
    """Yields what is wrong with the linkage."""
    for index, pair in enumerate(linkage.strong):
        for side, entity in enumerate(pair):
            yield from _unknown(document, ("linkage", "strong", index, side), entity)
        if pair[0] == pair[1] or pair in linkage.strong[:index] or pair[::-1] in linkage.strong[:index]:
            yield document.problem(("linkage", "strong", index), "a pair names two different types, once")
    for entity in linkage.degree_max:
        yield from _unknown(document, ("linkage", "degree_max", entity), entity, at_key=True)
    for key, entities in (("component_size", linkage.component_size), ("over_degree_cap", linkage.over_degree_cap)):
        yield from _twice(document, ("linkage", key), entities)
        for index, entity in enumerate(entities):
            yield from _unknown(document, ("linkage", key, index), entity)


def derived_problem(document: Document, name: str, taken: Collection[str], entities: Collection[str]) -> Problem | None:
    """Returns what is wrong with the name of a derived feature.

    Args:
        document: The file.
        name: Its key.
        taken: Names of features and variables that exist already.
        entities: The entity types.
    """
    path: KeyPath = ("derived", name)
    if name.partition(".")[0] not in (*entities, "txn") or not is_variable_name(name):
        return document.problem(path, "a feature is named entity.name, such as card.ratio_24h", at_key=True)
    if name in taken:
        return document.problem(path, f"{name} is there already; choose another name", at_key=True)
    return None


def _unknown(
    document: Document, path: KeyPath, entity: str, keys: Collection[str] = (), *, at_key: bool = False
) -> Iterator[Problem]:
    if entity not in ENTITY_INDEX and entity not in keys:
        near = nearest(entity, [*ENTITIES, *keys])
        yield document.problem(path, f'unknown entity "{entity[:64]}"{near}', at_key=at_key)


def _of_entities(
    document: Document, path: KeyPath, member: str, keys: Mapping[str, Sequence[str]], *, at_key: bool = False
) -> Iterator[Problem]:
    """Refuses to count a declared type made of entities: erasure could not find who it was made of in others' tables."""
    if any(field in ENTITY_INDEX for field in keys.get(member, ())):
        message = f"{member} is made of entities; count one of them, or a key made of codes alone"
        yield document.problem(path, message, at_key=at_key)


def _twice(document: Document, path: KeyPath, items: Sequence[str]) -> Iterator[Problem]:
    for index, item in enumerate(items):
        if item in items[:index]:
            yield document.problem((*path, index), f'"{item[:64]}" stands here twice')
