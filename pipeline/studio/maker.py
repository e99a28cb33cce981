"""From a wish to an avatar on the shelf: the trained models, loaded once, and one wish after the other."""

import secrets
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pipeline.commands.export.mesh import export_mesh
from pipeline.commands.export.mesh_request import MeshRequest
from pipeline.commands.gallery import generated
from pipeline.commands.generate import check_request
from pipeline.config.sampling import Sampling
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.io.publish import empty_folder, publish_text
from pipeline.report.web.page import web_page
from pipeline.run.model_folder import ModelFolder, released_folder
from pipeline.stages.device import choose_device
from pipeline.stages.generate import Drawn, Request, generate_with
from pipeline.stages.live import live_drawn
from pipeline.stages.sampling.load import load_sampler
from pipeline.stages.sampling.sampler import Sampler
from pipeline.studio.jobs import Job
from pipeline.studio.shelf import MESH, PAGE, Item, Shelf, portrait_file
from pipeline.studio.wish import LARGEST_SEED, Made, Wish

WORDS: Final = {
    "portrait": "following the portrait: render {} of {}",
    "latent": "drawing a person: step {} of {}",
    "frontal": "drawing a picture of them: step {} of {}",
    "head": "drawing their head again: step {} of {}",
    "base": "base planes: step {} of {}",
    "upsampler": "full planes: step {} of {}",
    "pictures": "pictures from all sides: {} of {}",
    "mesh": "mesh",
}
WEIGHTS: Final = {
    "portrait": 12.0,
    "latent": 0.3,
    "frontal": 1.0,
    "head": 0.5,
    "base": 2.0,
    "upsampler": 1.5,
    "pictures": 7.0,
    "mesh": 2.5,
}
"""About how long each part takes; a bar needs no more."""
STEPS_OFFERED: Final = (2, 5, 10, 20, 25, 50, 100)


@dataclass(frozen=True)
class Maker:
    """Models and a shelf."""

    models: ModelFolder
    sampler: Sampler
    shelf: Shelf

    @classmethod
    def load(cls, models: ModelFolder, shelf: Shelf) -> "Maker":
        """Raises ``RodinError`` for models that are missing, damaged or do not fit together."""
        sampler = load_sampler(models, choose_device(models.sampling))
        sampler.warm_up()
        return cls(models, sampler, shelf)

    @property
    def whose(self) -> str:
        """Whose models they are, in words."""
        root = self.models.layout.root
        if self.models.record is None:
            return f"of the run {root.name}"
        return "released with rodin-pipe" if root == released_folder() else f"of the folder {root.name}"

    def steps(self) -> tuple[int, ...]:
        """Numbers of steps that can be wished for."""
        return tuple(steps for steps in STEPS_OFFERED if self.sampler.takes(steps))

    def check(self, wish: Wish) -> None:
        """Raises ``RodinError`` for what these models cannot make, before any work."""
        if wish.steps and not self.sampler.takes(wish.steps):
            raise ConfigError(f"these models cannot sample in {wish.steps} steps: choose {_any_of(self.steps())}")
        check_request(_request(wish, None, None))
        if wish.like:
            self.shelf.find(wish.like)

    def make(self, wish: Wish, portrait: Path | None, job: Job[Item]) -> Item:
        """Make it and put it on the shelf; ``portrait`` is where the wish's picture lies.

        Raises ``Cancelled`` once nobody wants it, and ``RodinError``; nothing is left of it then.
        """
        work = empty_folder(self.shelf.work / secrets.token_hex(8))
        try:
            return self._make(wish, portrait, job, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _make(self, wish: Wish, portrait: Path | None, job: Job[Item], work: Path) -> Item:
        start = time.time()
        given = work / portrait_file(wish.portrait) if wish.portrait else None
        if given is not None:
            assert portrait is not None, "the wish names one"
            shutil.copyfile(portrait, given)
        like = self.shelf.find(wish.like).folder if wish.like else None
        progress = _Progress(job, self._first_parts(wish), self.models.sampling.generate.views)
        sampler = replace(self.sampler, sampling=sampling_of(wish, self.models.sampling), on_step=progress.step)
        pages: list[str] = []

        def on_drawn(drawn: Drawn) -> None:
            planes = drawn.planes.float()
            live = live_drawn(f"seed {wish.seed}", planes, drawn.decoder, drawn.sampling, drawn.record, self.whose)
            pages.append(web_page([live], f"{wish.title} · rodin-pipe"))
            job.early = pages[0]

        folder = generate_with(sampler, _request(wish, given, like), progress.image, on_drawn, to=work) / "avatar-000"
        progress.step("mesh", 0, 1)
        left_out = self._mesh(folder)
        progress.step("mesh", 1, 1)
        publish_text(folder / PAGE, pages[0])
        if given is not None:
            given.rename(folder / given.name)
        made = Made(
            schema_version=SCHEMA_VERSION,
            wish=wish,
            models=self.whose,
            made_at=start,
            seconds=round(time.time() - start, 3),
            left_out=left_out,
        )
        return self.shelf.add(folder, made)

    def _first_parts(self, wish: Wish) -> tuple[str, ...]:
        """What comes before base planes."""
        again = () if self.sampler.head is None else ("head",)
        drawn = () if self.sampler.frontal is None else ("frontal", *again, "portrait")
        if wish.portrait:
            return drawn if drawn and wish.edit else ("portrait",)
        return ("latent",) if wish.like else ("latent", *drawn)

    def _mesh(self, folder: Path) -> str:
        """Write the mesh beside an avatar; returns why there is none where it has no surface."""
        exhibit = generated(folder, self.models)[0]
        try:
            export_mesh(exhibit, self.models.sampling.planes.extent_m, MeshRequest(), folder / MESH)
        except DataError as error:
            return f"no GLB: {error}"
        return ""


def sampling_of(wish: Wish, sampling: Sampling) -> Sampling:
    """What sampling goes by, with the wish's settings over the models' own."""
    own = sampling.generate
    changes: dict[str, float | int] = {"edit_strength": wish.edit_strength}
    if wish.guidance:
        changes |= {"text_guidance": wish.guidance}
        changes |= {"caption_guidance": wish.guidance} if own.caption_guidance else {}
    if wish.steps:
        changes |= {"base_steps": wish.steps, "upsampler_steps": wish.steps}
    return sampling.model_copy(update={"generate": own.model_copy(update=changes)})


def guidance_of(sampling: Sampling) -> float:
    """The weight of a text as the models are set."""
    return sampling.generate.text_guidance or sampling.generate.guidance


def another_seed(other_than: int) -> int:
    """A seed drawn by lot, among those that people can still read out."""
    return (other_than + 1 + secrets.randbelow(999_998)) % min(LARGEST_SEED, 1_000_000)


def _request(wish: Wish, portrait: Path | None, like: Path | None) -> Request:
    asked = portrait if portrait is not None else Path(wish.portrait) if wish.portrait else None
    return Request(
        num=1, portrait=asked, text=wish.text or None, edit=wish.edit or None, seed=wish.seed, name="made", like=like
    )


def _any_of(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps)) or "the models' own"


class _Progress:
    """Parts of the work, as shares of the whole and in words; each word is where a job may end."""

    def __init__(self, job: Job[Item], first: tuple[str, ...], views: int) -> None:
        self._job = job
        self._parts = (*first, "base", "upsampler", "pictures", "mesh")
        self._views, self._seen = views, 0

    def step(self, what: str, done: int, of: int) -> None:
        """A step of a part is done; raises ``Cancelled``."""
        before, whole = (sum(WEIGHTS[part] for part in parts) for parts in (self._before(what), self._parts))
        self._job.tell((before + WEIGHTS[what] * done / of) / whole, WORDS[what].format(done, of))

    def image(self, done: float, total: float) -> None:
        """What ``generate`` calls as it goes on: once the planes are there, after each picture."""
        if self._job.early is not None and done < total:
            self._seen += 1
            self.step("pictures", min(self._seen, self._views), self._views)

    def _before(self, what: str) -> tuple[str, ...]:
        return self._parts[: self._parts.index(what)]
