"""What the fields of a configuration are as settings: their dotted names, and what of them outlives a version.

A run outlives the version of the program that made it, because a fingerprint leaves out every setting that stands at
the default it had when it came into being (its *first default*) and knows it by the name it had then:

- a new setting, at a default that leaves things as they were, changes no fingerprint;
- a default that is changed later is marked with :func:`default_was`, so that the new value counts as a changed value
  and the old one still as none;
- a setting that moves or gets another name stands in :data:`RENAMED`, and is read under its old name too.
"""

from collections.abc import Iterator
from typing import Any, Final

from pydantic.fields import FieldInfo

from pipeline.contracts.record import Record

OPERATIONAL: Final[dict[str, Any]] = {"operational": True}
"""``json_schema_extra`` of a setting that says how work is done and not what comes out: no fingerprint has it."""

RENAMED: Final[dict[str, str]] = {}
"""Settings that have another name now: ``{"section.old": "section.new"}``."""


def default_was(value: Any) -> dict[str, Any]:
    """``json_schema_extra`` of a setting whose default has changed since it came into being."""
    return {"first_default": value}


def settings_of(record_type: type[Record], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of a configuration and of the records in it, by dotted name, in order; records are none."""
    for name, field in record_type.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Record):
            yield from settings_of(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def is_operational(field: FieldInfo) -> bool:
    """Whether a setting is marked :data:`OPERATIONAL`."""
    return bool(_extra(field).get("operational"))


def first_default(field: FieldInfo) -> Any:
    """The default that a setting had when it came into being."""
    return _extra(field).get("first_default", field.get_default(call_default_factory=True))


def first_name(setting: str) -> str:
    """The name that a setting had when it came into being."""
    before = {new: old for old, new in RENAMED.items()}
    while setting in before:
        setting = before[setting]
    return setting


def value_of(record: Record, setting: str) -> Any:
    """The value at a dotted name below a record."""
    value: Any = record
    for name in setting.split("."):
        value = getattr(value, name)
    return value


def under_new_names(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration as TOML has it, with settings of :data:`RENAMED` under the names that they have now.

    Raises ``ValueError`` for a setting that is there under both.
    """
    for old, new in RENAMED.items():
        *sections, name = old.split(".")
        place: Any = tree
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name not in place:
            continue
        value = place[name]
        tree = _without(tree, (*sections, name))
        *sections, name = new.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        if name in place:
            raise ValueError(f"{old} is called {new} now, and both are given")
        place[name] = value
    return tree


def _without(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy of the tree, as deep as the path, without what stands there."""
    copy = {name: dict(value) if isinstance(value, dict) else value for name, value in tree.items()}
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(copy[path[0]], path[1:])
    return copy


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}
