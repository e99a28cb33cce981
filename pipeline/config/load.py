"""How a configuration is put together: a preset, over it a TOML file of the user's, over it ``--set key=value``.

Whatever is wrong is a ``ConfigError`` with one line that says which key, its value, and what would be right.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pipeline.config.presets import PRESETS
from pipeline.config.run import RunConfig
from pipeline.config.sampling import Sampling
from pipeline.config.setting import under_new_names
from pipeline.config.stages import GenerateConfig
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.record import Record
from pipeline.people.fixed_spec import parse_specs

_FIRST, _LAST = "# Whole only with its last line, which says so.", "# End of run.toml"
"""Around a run's configuration: without its end it would often be valid TOML still, and mean another run."""
_AGAIN: Final = (
    "copy it again from where it is whole, or delete it and give the command again that began the run, with all its "
    "options"
)


def load_config(
    *,
    run_toml: Path | None = None,
    preset: str | None = None,
    file: Path | None = None,
    settings: Sequence[str] = (),
    renders: Path | None = None,
    renders_toml: Path | None = None,
) -> RunConfig:
    """Compose a configuration; raises ``ConfigError`` with one line for whatever is wrong.

    ``preset`` or ``file`` start afresh; without both, ``run_toml`` (an existing run's own configuration) is the
    ground that ``settings`` change. ``renders`` is another run: its population is taken over with its renders, as its
    ``renders_toml`` tells, which is its own ``run.toml`` by default.
    """
    tree: dict[str, Any] = {}
    if preset is None and file is None and run_toml is not None:
        tree = _read_run(run_toml)
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
        text = (Path(__file__).parent / "presets" / f"{preset}.toml").read_text("utf-8")
        tree = {"preset": preset, **tomllib.loads(text)}
    if file is not None:
        tree = _merged(tree, _read_toml(file))
    for setting in settings:
        tree = _merged(tree, _under_new_names(_parse_setting(setting), f"--set {setting}"))
    if renders is not None:
        other = _read_run(renders_toml or renders / "run.toml")
        tree |= {"renders_from": str(renders.resolve()), "seed": other["seed"], "render": other["render"]}
        tree["ingest"] = other.get("ingest", {})
    return _with_vgg(_with_specs(_validated(tree)))


def read_run_toml(path: Path) -> RunConfig:
    """The configuration that a run was made with, as it was written down, whichever version wrote it.

    Settings that are newer than the file have their defaults. Raises ``ConfigError`` with one line.
    """
    return _validated(_read_run(path))


def toml_of_run(config: RunConfig) -> str:
    """The text of ``run.toml``: the configuration, and a last line by which one that was cut off is told."""
    return f"{_FIRST}\n{config.to_toml()}{_LAST}\n"


def sampling_with(sampling: Sampling, settings: Sequence[str]) -> Sampling:
    """What sampling goes by, with ``generate.*`` settings (``key=value``) over it.

    Raises ``ConfigError`` for what is wrong with them, and for others.
    """
    tree: dict[str, Any] = {}
    for setting in settings:
        parsed = _parse_setting(setting)
        if set(parsed) != {"generate"}:
            raise ConfigError(
                f"--set {setting}: without a run there are only settings of generate, such as generate.views"
            )
        tree = _merged(tree, parsed)
    if not tree:
        return sampling
    values = _merged(sampling.generate.model_dump(mode="json"), tree["generate"])
    try:
        generate = GenerateConfig.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ConfigError(_one_line(error, ("generate",))) from None
    return sampling.model_copy(update={"generate": generate})


def read_specs(config: RunConfig) -> tuple[AvatarSpec, ...]:
    """The avatars that ``render.specs`` fixes; raises ``ConfigError`` with one line for whatever is wrong with it."""
    where = f"spec file {config.render.specs}"
    text = _spec_text(config)
    if hashlib.sha256(text.encode()).hexdigest() != config.render.specs_sha256:
        raise ConfigError(f"{where} is not what it was when the run was configured; start the command again")
    return parse_specs(text, where, config.seed, config.render.population)


def _validated(tree: Mapping[str, Any]) -> RunConfig:
    try:
        # Through JSON: there, arrays become tuples while everything else stays strict.
        return RunConfig.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None


def _spec_text(config: RunConfig) -> str:
    try:
        return Path(config.render.specs).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"spec file {config.render.specs} cannot be read: {error}") from None


def _with_specs(config: RunConfig) -> RunConfig:
    """The configuration with the hash of its spec file, checked; a run whose file has gone keeps the one it had."""
    render = config.render
    if not render.specs:
        return config.model_copy(update={"render": render.model_copy(update={"specs_sha256": ""})})
    if render.specs_sha256 and not Path(render.specs).exists():
        return config
    sha256 = hashlib.sha256(_spec_text(config).encode()).hexdigest()
    path = str(Path(render.specs).resolve())
    config = config.model_copy(update={"render": render.model_copy(update={"specs": path, "specs_sha256": sha256})})
    read_specs(config)
    return config


def _with_vgg(config: RunConfig) -> RunConfig:
    """The configuration with the hash of its VGG-16 weights; a run whose file has gone keeps the one it had."""
    fit = config.fit
    changes = {"perceptual_vgg_sha256": ""}
    if fit.perceptual_vgg and fit.perceptual_weight:
        path = Path(fit.perceptual_vgg)
        if fit.perceptual_vgg_sha256 and not path.exists():
            return config
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"fit.perceptual_vgg {path} cannot be read: {error.strerror}") from None
        changes = {"perceptual_vgg": str(path.resolve()), "perceptual_vgg_sha256": sha256}
    return config.model_copy(update={"fit": fit.model_copy(update=changes)})


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {setting!r} is not of the form section.key=value, such as fit.steps=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for part in reversed(key.split(".")):
        value = {part: value}
    result: dict[str, Any] = value
    return result


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist: give another --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"configuration file {path} is no valid TOML: {error}") from None
    return _under_new_names(tree, f"configuration file {path}")


def _read_run(path: Path) -> dict[str, Any]:
    """A run's configuration, which no program ever left empty or cut off: defaults would be those of another run."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text ({error}): {_AGAIN}") from None
    if not text.strip():
        raise ConfigError(f"{path} is empty, and with it what the run was made with: {_AGAIN}")
    if text.startswith(_FIRST) and not text.rstrip().endswith(_LAST):
        raise ConfigError(f"{path} is cut off, its last line is not {_LAST!r}: {_AGAIN}")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no valid TOML ({error}): {_AGAIN}") from None
    if not tree:
        raise ConfigError(f"{path} says nothing of what the run was made with: {_AGAIN}")
    return _under_new_names(tree, f"configuration file {path}")


def _under_new_names(tree: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        return under_new_names(tree)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; leave out one") from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _one_line(error: ValidationError, section: tuple[str, ...] = ()) -> str:
    first = error.errors()[0]
    location = (*section, *first["loc"])
    where = ".".join(str(part) for part in location)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, _all_keys(RunConfig), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(_siblings(location))}"
        return f"unknown configuration key {where!r}{hint}{more}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"configuration: {message}{more}"
    return f"configuration key {where}: {message[0].lower()}{message[1:]}, not {first['input']!r}{more}"


def _all_keys(model: type[Record], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Record):
            keys += _all_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    parent = ".".join(str(part) for part in location[:-1])
    depth = len(location)
    return [k for k in _all_keys(RunConfig) if k.count(".") == depth - 1 and k.startswith(parent)]
