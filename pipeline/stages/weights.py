"""States from the disk, and models of them: what is cut off, damaged or another program's is told in one line."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from pipeline.contracts.errors import DataError
from pipeline.io.files import exists, fetched
from pipeline.run.model_folder import ModelFolder
from rodin_models.checkpoint import TREE, load_state, settings_from_dict

Module = TypeVar("Module", bound=nn.Module)


def is_state(folder: Path) -> bool:
    """Whether a state was published at a folder of a run or of models."""
    return exists(folder / TREE)


def read_state(folder: Path, keys: Iterable[str], *, what: str, remedy: str) -> dict[str, Any]:
    """A state that has at least these keys; raises ``DataError`` for one that is cut off, damaged or foreign."""
    try:
        tree = load_state(fetched(folder))
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"{what}: {error}; {remedy}") from None
    missing = sorted(set(keys) - set(tree)) if isinstance(tree, dict) else ["anything by name"]
    if missing:
        raise DataError(f"{what}: {folder} is another program's, it does not hold {', '.join(missing)}; {remedy}")
    return dict(tree)


def build_model(
    tree: dict[str, Any],
    settings: type[Any],
    make: Callable[[Any, torch.Generator], Module],
    *,
    weights: str = "model",
    what: str,
    remedy: str,
) -> Module:
    """The model of a state with ``settings`` and ``weights``; raises ``DataError`` where they are of none of ours."""
    try:
        model = make(settings_from_dict(settings, tree["settings"]), torch.Generator())
        model.load_state_dict(tree[weights])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{what} is of no model that this version makes: {reason}; {remedy}") from None
    return model


def model_tree(models: ModelFolder, name: str) -> dict[str, Any]:
    """A model's ``settings``, its state dict ``model``, and what is kept beside them.

    Raises ``DataError`` where it is missing or damaged.
    """
    folder = models.layout.model(name) / "weights"
    if not is_state(folder):
        raise DataError(models.why_missing(name))
    return read_state(folder, ("settings", "model"), what=f"model {name}", remedy=remedy(models, name))


def remedy(models: ModelFolder, name: str) -> str:
    """What to do about a model that is damaged, or another's."""
    return "copy the folder again" if models.record is not None else f"train it again with --redo {name}"
