"""A finished tiny run made by calling the stages one after another in this process: no Ray, no driver."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from support.config_reads import noted_reads
from support.tiny import recording_blender, tiny_config

from pipeline.config.run import RunConfig
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.stage import Progress
from pipeline.io.plane_store import create_plane_store
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run
from pipeline.stages.context import Alone
from pipeline.stages.encode import encode_avatars
from pipeline.stages.fit.decoder import fit_decoder
from pipeline.stages.fit.planes import fit_shard
from pipeline.stages.render import render_shard
from pipeline.stages.train.loop import train_loop
from pipeline.stages.work import WorkItem

MODELS = ("clip", "base", "upsampler", "latent", "frontal", "head", "refiner")
CPU = torch.device("cpu")


def silent(done: float, total: float) -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True)
class Made:
    """A run and the calls that make its parts."""

    layout: RunLayout
    config: RunConfig
    reads: dict[str, set[str]] = field(default_factory=dict)
    """Settings that each stage read while this run was made."""

    @property
    def run(self) -> Run:
        return Run(self.layout, self.config)

    def fingerprint(self, stage: str) -> str:
        # Of a copy, so that reading all settings for it is not noted.
        return stage_fingerprints(self.config.model_copy(deep=True))[stage]

    def render(self, shard: int, progress: Any = silent, **more: Any) -> Any:
        return render_shard(WorkItem(self.run, "render", self.fingerprint("render"), shard, **more), progress)

    def fit_decoder(self, progress: Any = silent) -> Any:
        return fit_decoder(WorkItem(self.run, "decoder", self.fingerprint("decoder")), progress)

    def fit(self, shard: int, progress: Any = silent, **more: Any) -> Any:
        return fit_shard(WorkItem(self.run, "fit", self.fingerprint("fit"), shard, **more), progress)

    def train(self, name: str, on_progress: Progress = silent, **more: Any) -> Any:
        return train_loop(WorkItem(self.run, name, self.fingerprint(name)), Alone(CPU, on_progress, **more))

    def encode(self) -> Any:
        return encode_avatars(WorkItem(self.run, "encode", self.fingerprint("encode")), silent)

    def create_store(self) -> None:
        create_plane_store(self.layout.planes, self.config.plane_spec(), self.config.render.num_avatars)

    def shards(self) -> range:
        return range(self.config.render.num_shards)

    def make_models(self) -> None:
        """Everything that follows from the renders."""
        self.create_store()
        with self.noting("decoder"):
            self.fit_decoder()
        for shard in self.shards():
            with self.noting("fit"):
                self.fit(shard)
        for name in ("clip", "encode", *MODELS[1:]):
            with self.noting(name):
                self.encode() if name == "encode" else self.train(name)

    @contextmanager
    def noting(self, stage: str) -> Iterator[None]:
        """Note what the stage reads of the configuration within the block."""
        with noted_reads(self.config) as reads:
            yield
        self.reads.setdefault(stage, set()).update(reads)

    def copy_to(self, root: Path, *stages: str, blender: str = "", settings: tuple[str, ...] = ()) -> "Made":
        """A copy of the run in which ``stages`` are not done."""
        shutil.copytree(self.layout.root, root)
        for stage in stages:
            shutil.rmtree(root / "ledger" / stage)
            shutil.rmtree(root / "models" / stage, ignore_errors=True)
        return Made(RunLayout(root), tiny_config(blender or self.config.render.python, *settings))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two torch threads wait for each other longer than tensors this small take; a stage sets what it is told."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The whole run; tests only read it.

    From then on fewer and smaller pictures say how much texels show: each base model's training renders them anew.
    """
    folder = tmp_path_factory.mktemp("made")
    run = Made(RunLayout(folder / "run"), tiny_config(recording_blender(folder)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SHOWN_AVATARS", 2), ("SHOWN_VIEWS", 2), ("SHOWN_SIDE", 16)):
            patch.setattr(f"pipeline.stages.train.recipes.base.{name}", value)
        for shard in run.shards():
            with run.noting("render"):
                run.render(shard)
        run.make_models()
        yield run
