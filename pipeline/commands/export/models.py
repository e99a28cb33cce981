"""``rodin-pipe export models``: a run's decoder and models as a compact folder that can be handed on.

Safetensors and JSON in the layout of a run, so that whatever reads a run's models reads these: large
weights in eight bits with a scale for each output channel, eigen-planes in four with one for each of their
channels, all else in float16 (:mod:`rodin_models.compact`), the decoder's MLP as it is, since planes were fitted under
it, and CLIP in float16. ``models.json`` is written last; ``README.md`` is the model card.
"""

import shutil
from pathlib import Path
from typing import Any, Final

from pipeline.commands.export.card import model_card
from pipeline.commands.export.nerf import temporary_folder
from pipeline.config.sampling import MODELS_JSON, FileFacts, ModelsRecord
from pipeline.config.shape import shaping_settings
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.contracts.naming import RunLayout, next_command
from pipeline.contracts.units import bytes_text
from pipeline.io.files import fetched, files_below
from pipeline.io.publish import flush_to_disk, publish_text, sha256_file
from pipeline.machine import package_versions
from pipeline.run.run import Run
from pipeline.run.stage_table import trained_models, wanted_of
from rodin_models.checkpoint import load_state, save_state
from rodin_models.compact import compacted, four
from rodin_models.diffusion.linear import LinearModel
from rodin_models.image.clip_file import load_clip, save_clip

MOST_BYTES: Final = 48 * 2**20
LINEAR_BYTES: Final = 16 * 2**20
"""Of the eigen-planes, by default."""
CARD: Final = "README.md"
OURS: Final = (MODELS_JSON, CARD, "decoder", "models")
"""What the command writes, in the order in which it is taken away; other files of the folder stay."""
LEFT_ALONE: Final = ("__init__.py", "__pycache__")
COMPONENTS: Final = "eigen.components"


def export_models(run: Run, folder: Path, *, linear_bytes: int = LINEAR_BYTES, most_bytes: int = MOST_BYTES) -> str:
    """Write the decoder and all models of a run to ``folder``; returns what to say of them.

    As many eigen-planes are kept as ``linear_bytes`` hold. An earlier model folder is replaced. Raises ``DataError``
    where a model is missing, the folder holds something else or all take more than ``most_bytes``; then nothing is
    written.
    """
    run = run.snapshot()
    _check_done(run)
    folder = folder.resolve()
    _check_free(folder)
    temporary = temporary_folder(folder)
    try:
        temporary.mkdir()
        sizes = _write_weights(run, RunLayout(temporary), linear_bytes)
        table = ", ".join(f"{name} {bytes_text(size)}" for name, size in sizes.items())
        if sum(sizes.values()) > most_bytes:
            raise DataError(
                f"the models of {run.layout.root} take {bytes_text(sum(sizes.values()))}, more than "
                f"{bytes_text(most_bytes)}: {table}; lower --linear-mib or train smaller models"
            )
        record = ModelsRecord(
            schema_version=SCHEMA_VERSION,
            sampling=run.config.sampling().model_copy(update={"device": "auto", "threads": 0}),
            files={str(path.relative_to(temporary)): _facts(path) for path in files_below(temporary)},
            settings=shaping_settings(run.config),
            notes={"preset": run.config.preset, **package_versions(("rodin-pipe", "torch"))},
        )
        publish_text(temporary / CARD, model_card(run, sizes))
        publish_text(temporary / MODELS_JSON, record.to_json())
        _install(temporary, folder)
    except OSError as error:
        raise ResourceError(f"{folder} cannot be written ({error.strerror}): give another --to") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    said = f"{folder}: {bytes_text(sum(sizes.values()))} in all, {table}"
    return f"{said}\n{next_command('generate', '--model', folder)}"


def _check_done(run: Run) -> None:
    if run.decoder_report() is None:
        raise DataError(f"{run.layout.root} has no decoder: run rodin-pipe fit --out {run.layout.root} first")
    for name in wanted_of(trained_models(), run.config):
        if run.stage_report(name) is None:
            raise DataError(
                f"model {name} of {run.layout.root} is not trained: run rodin-pipe train --out {run.layout.root} {name}"
            )


def _check_free(folder: Path) -> None:
    if folder.is_file():
        raise DataError(f"--to {folder} is a file: give a folder")
    if not folder.is_dir() or (folder / MODELS_JSON).is_file():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name not in LEFT_ALONE)
    if others:
        raise DataError(f"--to {folder} holds {others[0]} and no {MODELS_JSON}: nothing is written over; give another")


def _write_weights(run: Run, to: RunLayout, linear_bytes: int) -> dict[str, int]:
    """Returns the bytes of each part, in order."""
    sizes = {"decoder": _write_decoder(run, to.decoder)}
    for name in wanted_of(trained_models(), run.config):
        source, target = run.layout.model(name) / "weights", to.model(name) / "weights"
        target.mkdir(parents=True)
        try:
            if name == "clip":
                clip, tokenizer, settings = load_clip(fetched(source))
                save_clip(clip, tokenizer, settings, target, half=True)
                sizes[name] = _bytes_below(target)
                continue
            tree = load_state(fetched(source))
            linear = 0
            if tree.get("linear") is not None:
                tree["linear"], linear = _fewer_components(tree["linear"], linear_bytes)
            save_state(target, compacted(tree, four_bits=(COMPONENTS,)))
        except ValueError as error:
            raise DataError(f"model {name}: {error}; train it again with --redo {name}") from None
        sizes[name] = _bytes_below(target) - linear
        if linear:
            sizes[f"eigen-planes of {name}"] = linear
    return sizes


def _write_decoder(run: Run, folder: Path) -> int:
    folder.mkdir()
    try:
        tree = load_state(fetched(run.layout.decoder))
    except ValueError as error:
        raise DataError(f"{error}; run rodin-pipe fit --redo decoder") from None
    save_state(folder, tree | compacted({"mean_planes": tree["mean_planes"]}))
    return _bytes_below(folder)


def _fewer_components(tree: dict[str, Any], most_bytes: int) -> tuple[dict[str, Any], int]:
    """A linear model with as many eigen-planes as so many bytes hold, and what these take."""
    model = LinearModel.from_tree(tree)
    components = model.eigen.components
    each = _bytes_in_four_bits(components[0])
    kept = min(len(components), most_bytes // each)
    if not kept:
        raise ValueError(f"an eigen-plane takes {bytes_text(each)}, and --linear-mib leaves {bytes_text(most_bytes)}")
    return model.first(kept).tree(), kept * each


def _bytes_in_four_bits(component: Any) -> int:
    packed = four(component)
    return int(packed.pairs.nbytes + packed.scales.nbytes)


def _install(temporary: Path, folder: Path) -> None:
    """Put what was written in place: ``models.json`` goes first and comes last, since it makes the folder a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in reversed(OURS):
        (temporary / name).rename(folder / name)
        flush_to_disk(folder)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in files_below(folder))


def _facts(path: Path) -> FileFacts:
    return FileFacts(size=path.stat().st_size, sha256=sha256_file(path))
