"""Weights and training state on disk without pickle: tensors as safetensors, everything else as JSON.

    FOLDER/state.safetensors    every tensor of the tree, named by its path, such as model/unet.first.weight
    FOLDER/state.json           the tree, with a tensor's name where it stood

A tree is nested dicts, lists and tuples of tensors, numbers, strings and None: what ``state_dict`` of modules and
optimisers returns. Loading it gives the same tree back: integer keys, tuples, bfloat16, empty tensors and NaN
included. Equal trees give equal bytes. What is not kept: a tensor's device (it loads on the CPU), its strides, and
whether two tensors shared memory. Compact tensors (:mod:`rodin_models.compact`) are written as they are and load as the
float32 tensors that they stand for.
"""

import json
import math
import os
import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from rodin_models.compact import Eight, Four, Half

FORMAT, COMPACT_FORMAT = 1, 2
"""The second is the first with compact tensors in it, and written only for a tree that has some."""
TENSORS, TREE = "state.safetensors", "state.json"

Tree = Any
"""None, bool, int, float, str, Tensor, compact tensor, or a dict (of str or int keys), list or tuple of trees."""

FORMER_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "ClipSettings": {"patch": "patch_size", "projection_dim": "latent_dim"},
    "DiffusionSettings": {"num_timesteps": "timesteps"},
    "LatentSettings": {"num_blocks": "layers"},
    "UNetSettings": {"base_channels": "width", "num_blocks": "blocks"},
}
"""By settings: names in files of earlier versions, and what they are called now."""

GONE: Final[Mapping[str, Mapping[str, Any]]] = {"ConditionSettings": {"null": "learned"}}
"""By settings: what files of earlier versions hold that is no setting any more, and the one value that still holds."""

Settings = TypeVar("Settings")
Module = TypeVar("Module", bound=nn.Module)


def save_state(folder: Path, tree: Tree) -> None:
    """Write ``tree`` to the existing ``folder`` and fsync it; raises ``TypeError`` for what a tree cannot hold.

    Not atomic: write to a folder of another name and rename that.
    """
    tensors: dict[str, Tensor] = {}
    encoded = _encode(tree, (), tensors)
    version = COMPACT_FORMAT if _has_compact(tree) else FORMAT
    text = json.dumps({"format": version, "tree": encoded}, indent=1, allow_nan=False)
    save_tensors(tensors, folder / TENSORS)
    (folder / TREE).write_text(text + "\n", encoding="utf-8")
    for path in (folder / TENSORS, folder / TREE, folder):
        _fsync(path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file with the mode of a new file: the library's own are for their owner alone."""
    from safetensors.torch import save_file

    save_file(dict(tensors), path)
    umask = os.umask(0o077)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def has_state(folder: Path) -> bool:
    """Whether :func:`save_state` has written something there; a folder is published whole or not at all."""
    return (folder / TREE).exists()


def load_state(folder: Path) -> Tree:
    """The tree that :func:`save_state` wrote, tensors on the CPU.

    Raises ``ValueError`` for one of another format, and for a file that is damaged, cut off or missing.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    where = folder / TREE
    try:
        document = json.loads(where.read_text(encoding="utf-8"))
        where = folder / TENSORS
        tensors = load_file(where)
    except (OSError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        size = f"it has {where.stat().st_size} bytes" if where.exists() else "it is missing"
        raise ValueError(f"{folder} holds no whole state: {where.name} cannot be read, {size} ({error})") from error
    version = document.get("format") if isinstance(document, dict) else None
    if version not in (FORMAT, COMPACT_FORMAT):
        raise ValueError(f"{folder / TREE} has format {version!r}, this version reads {FORMAT} and {COMPACT_FORMAT}")
    try:
        return _decode(document["tree"], tensors)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / TREE} does not go with {TENSORS} beside it: {error!r}") from error


def _encode(node: Tree, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """JSON of a node: plain values stand for themselves, all else is an object with one key that names its kind."""
    if isinstance(node, Tensor):
        return {"tensor": _stored(node, path, tensors)}
    if isinstance(node, Half):
        return {"float16": _stored(node.values, path, tensors)}
    if isinstance(node, Eight):
        return {"eight": [_stored(node.levels, path, tensors), _stored(node.scales, (*path, "scales"), tensors)]}
    if isinstance(node, Four):
        return {"four": [_stored(node.pairs, path, tensors), _stored(node.scales, (*path, "scales"), tensors)]}
    if node is None or type(node) in (bool, int, str):
        return node
    if type(node) is float:
        return node if math.isfinite(node) else {"float": str(node)}
    if isinstance(node, Mapping):
        for key in node:
            if type(key) not in (str, int):
                raise TypeError(
                    f"a checkpoint's keys are str or int, not {type(key).__name__}: {'/'.join(path)}/{key!r}"
                )
        return {"dict": [[key, _encode(value, (*path, str(key)), tensors)] for key, value in node.items()]}
    if type(node) in (list, tuple):
        return {type(node).__name__: [_encode(value, (*path, str(i)), tensors) for i, value in enumerate(node)]}
    raise TypeError(f"a checkpoint cannot hold {type(node).__name__} at {'/'.join(path) or 'its root'}")


def _stored(tensor: Tensor, path: tuple[str, ...], tensors: dict[str, Tensor]) -> str:
    """Put a tensor among those to be written; returns its name."""
    name = "/".join(path) or "tensor"
    while name in tensors:  # keys 1 and "1" of one dict, or a key with a slash
        name += "'"
    # A copy, because safetensors refuses tensors that share memory.
    tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
    return name


def _has_compact(node: Tree) -> bool:
    if isinstance(node, Mapping):
        return any(_has_compact(child) for child in node.values())
    return isinstance(node, Half | Eight | Four) or (
        isinstance(node, list | tuple) and any(_has_compact(child) for child in node)
    )


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Tree:
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "float16":
        return Half(tensors[value]).full()
    if kind == "eight":
        return Eight(*(tensors[name] for name in value)).full()
    if kind == "four":
        return Four(*(tensors[name] for name in value)).full()
    if kind == "float":
        return float(value)
    if kind == "dict":
        return {key: _decode(child, tensors) for key, child in value}
    children = [_decode(child, tensors) for child in value]
    return tuple(children) if kind == "tuple" else children


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settings_from_dict(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Rebuild a settings dataclass, nested ones too, from ``dataclasses.asdict`` of it, through JSON or not.

    Unknown keys raise ``TypeError``; values are checked by the dataclasses themselves. What earlier versions wrote is
    read as well.
    """
    values = _under_new_names(kind.__name__, values)
    hints = get_type_hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind(**{name: _restore(hints[name], value) for name, value in values.items()})


def _under_new_names(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file of this or an earlier version by :data:`FORMER_NAMES`, without those of :data:`GONE`."""
    former, gone = FORMER_NAMES.get(kind, {}), GONE.get(kind, {})
    return {former.get(name, name): value for name, value in values.items() if name not in gone or value != gone[name]}


def _restore(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (option for option in get_args(hint) if option is not type(None))
    if is_dataclass(hint) and isinstance(hint, type):
        return settings_from_dict(hint, value)
    if isinstance(value, list):
        return tuple(value)
    return float(value) if hint is float else value


def unwrap(model: nn.Module, kind: type[Module]) -> Module:
    """The ``kind`` that ``model`` is, or that DistributedDataParallel holds; raises ``TypeError`` for another."""
    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    if not isinstance(inner, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(inner).__name__}")
    return inner


class Ema:
    """An exponential moving average of a module's parameters; its buffers are followed as they are.

    The decay rises with the number of updates n as (1 + n) / (10 + n) up to ``decay``, so that a short training is
    not an average of its first moments. Raises ``ValueError`` for a ``decay`` outside [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"EMA decay {decay} must lie in [0, 1)")
        self.decay = decay
        self.num_updates = 0
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follow ``model`` by one step."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        learned = dict(model.named_parameters())
        for name, value in model.state_dict().items():
            if name in learned:
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def copy_to(self, model: nn.Module) -> None:
        """Give ``model`` the averaged weights."""
        model.load_state_dict(self.average)

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`load_state_dict` needs."""
        return {"decay": self.decay, "num_updates": self.num_updates, "average": dict(self.average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state``, onto the devices where the average already lies.

        Raises ``ValueError`` for another model's.
        """
        if set(state["average"]) != set(self.average):
            raise ValueError("the EMA's parameters are not those of this model")
        self.decay, self.num_updates = state["decay"], state["num_updates"]
        for name, value in state["average"].items():
            self.average[name].copy_(value)
