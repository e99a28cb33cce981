"""A folder with a decoder and models: a run, or weights that left theirs (``rodin-pipe export models``).

Both lie in one layout: ``decoder/`` and ``models/NAME/weights/`` below the root. What sampling must know besides stands
in a run's ``run.toml``, and in ``models.json`` elsewhere. The weights that come with this installation lie in
``rodin_models/released``.
"""

import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from pipeline.config.load import sampling_with
from pipeline.config.sampling import MODELS_JSON, ModelsRecord, Sampling
from pipeline.config.shape import shaping_settings
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.io.files import exists, read_bytes, version
from pipeline.io.ledger import parse_record
from pipeline.io.publish import sha256_file
from pipeline.run.existing import open_run
from pipeline.run.run import Run
from pipeline.run.stage_table import trained_models, wanted_of

RELEASED: Final = "released"
"""Stands for the weights that come with this installation."""
_REMEDY = "copy or download the folder again"


@dataclass(frozen=True)
class ModelFolder:
    """Where a decoder and models lie, and what sampling has to know besides."""

    layout: RunLayout
    sampling: Sampling
    settings: dict[str, JsonValue]
    """The settings that shape them (:mod:`pipeline.config.shape`)."""
    record: ModelsRecord | None = None
    """Of weights that left their run; ``None`` for those in a run."""

    @classmethod
    def of_run(cls, run: Run) -> "ModelFolder":
        """The decoder and the models of a run, as far as they are there."""
        return cls(run.layout, run.config.sampling(), shaping_settings(run.config))

    def why_missing(self, what: str) -> str:
        """What to do about weights that are not there."""
        if self.record is not None:
            return f"{self.layout.root} holds no {what}: {_REMEDY}"
        command = "fit" if what == "decoder" else f"train {what}"
        return f"{self.layout.root} holds no {what}: run rodin-pipe {command} --out {self.layout.root} first"


def released_folder() -> Path:
    """Where weights lie that come with this installation, or would lie."""
    return Path(str(importlib.resources.files("rodin_models"))) / "released"


def open_models(root: Path, settings: Sequence[str] = ()) -> ModelFolder:
    """The decoder and models at a folder, a run or one that :mod:`pipeline.commands.export.models` wrote.

    ``settings`` (``key=value``) lie over its own: any setting of a run, ``generate.*`` of others. Raises ``DataError``
    where there is neither, and where a file of the folder is missing, cut off or another one than was written.
    """
    root = root.resolve()
    if not exists(root / MODELS_JSON):
        if exists(RunLayout(root).config):
            return ModelFolder.of_run(open_run(root, settings))
        raise DataError(f"{root} holds no models: it has neither {MODELS_JSON} nor run.toml")
    record = read_models_record(root)
    return ModelFolder(RunLayout(root), sampling_with(record.sampling, settings), record.settings, record)


def open_released(settings: Sequence[str] = ()) -> ModelFolder:
    """The weights that come with this installation; raises ``DataError`` where it has none."""
    root = released_folder()
    if not exists(root / MODELS_JSON):
        raise DataError(
            f"this installation has no released weights ({root} is empty); give --out RUN for a run's own models, or "
            "--model FOLDER for others"
        )
    return open_models(root, settings)


def read_models_record(root: Path) -> ModelsRecord:
    """A folder's ``models.json``, after every file that it names was found as it was written; raises ``DataError``."""
    where = root / MODELS_JSON
    record = parse_record(read_bytes(where), ModelsRecord, where=str(where), remedy=_REMEDY)
    for name, facts in record.files.items():
        path = root / name
        if not path.resolve().is_relative_to(root):
            raise DataError(f"{where} names {name}, which lies outside of its folder: {_REMEDY}")
        found = version(path)
        if found is None:
            raise DataError(f"{path} is missing: {_REMEDY}")
        if found[1] != facts.size:
            raise DataError(
                f"{path} has {found[1]} bytes instead of {facts.size}, it was cut off or changed: {_REMEDY}"
            )
        if sha256_file(path) != facts.sha256:
            raise DataError(f"{path} is damaged, its content is not what {MODELS_JSON} says: {_REMEDY}")
    return record


def content_of(models: ModelFolder) -> str:
    """One hash over the decoder and all models; raises ``DataError`` where a run has not made all of them."""
    if models.record is not None:
        hashes = {name: facts.sha256 for name, facts in models.record.files.items()}
    else:
        run = open_run(models.layout.root)
        decoder = run.decoder_report()
        if decoder is None:
            raise DataError(models.why_missing("decoder"))
        hashes = {"decoder": decoder.decoder_sha256}
        for name in wanted_of(trained_models(), run.config):
            report = run.stage_report(name)
            if report is None:
                raise DataError(models.why_missing(name))
            hashes |= report.outputs
    text = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(text.encode()).hexdigest()
