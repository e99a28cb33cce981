"""What is evaluated: models, and the people of a run that they are held against, as pictures of one size.

All pictures are colour over white in [0, 1], ``generate.image_side`` pixels a side; photographs and refined pictures
are made that size with antialiasing. Views are the frontal one and cameras all around the head.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from pipeline.contracts.camera import Camera, sphere_rig
from pipeline.contracts.errors import DataError
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.rendering import Split
from pipeline.evaluation.kept import Kept
from pipeline.io.files import exists, files_below
from pipeline.io.plane_store import Level, PlaneStore
from pipeline.io.publish import sha256_file
from pipeline.io.shards import Sample
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run, digest
from pipeline.run.stage_table import trained_models
from pipeline.stages.device import seeded
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.picture import rgba
from pipeline.stages.sampling.portrait_fit import Face
from pipeline.stages.sampling.sampler import Sampler
from pipeline.stages.views import read_samples, rgb_tensor
from rodin_models.field.decoder import Decoder
from rodin_models.field.occupancy import attached
from rodin_models.field.render import planes_occupancy
from rodin_models.image.clip import encode_images
from rodin_models.image.refiner import refine
from rodin_models.image.resize import at_side

CPU = torch.device("cpu")
FEWEST = 4
"""Fitted avatars to learn from that baselines need."""
BATCH = 64


class Tally:
    """Counts what is done towards a known total."""

    def __init__(self, progress: Callable[[float, float], None], total: int) -> None:
        """``progress`` is told (done, total) at each step."""
        self.progress, self.total, self.done = progress, total, 0

    def step(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        self.progress(min(self.done, self.total), self.total)


@dataclass(frozen=True)
class Subject:
    """Models and the people of a run."""

    run: Run
    sampler: Sampler
    models_sha256: str
    samples: int
    """Avatars from noise."""
    progress: Callable[[float, float], None]
    """Told (done, total) by the section at work."""
    _latents: dict[int, Tensor] = field(default_factory=dict)
    _fitted_to: dict[int, Tensor] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Pixels a side of every picture."""
        return self.sampler.sampling.generate.image_side

    @property
    def views(self) -> int:
        """Views besides the frontal one."""
        return min(self.run.config.evaluate.images_per_avatar, self.run.config.render.train_views)

    @cached_property
    def training(self) -> tuple[int, ...]:
        """People that models may have learned from; raises ``DataError`` where there are too few."""
        found = tuple(a for a in sorted(self._people) if not self.run.config.is_held_out(a))
        if len(found) < FEWEST:
            raise DataError(
                f"{self.run.layout.root} has {len(found)} {self._known_by} avatars to compare with, and {FEWEST} are "
                "the least: run rodin-pipe render and fit first"
            )
        return found

    @cached_property
    def held_out(self) -> tuple[int, ...]:
        """People that nothing has learned from; raises ``DataError`` where there are less than two."""
        found = tuple(a for a in sorted(self._people) if self.run.config.is_held_out(a))
        if len(found) < 2:
            raise DataError(
                f"{self.run.layout.root} has {len(found)} {self._known_by} held-out avatars, and 2 are the least to "
                f"measure on: render and fit more than render.num_avatars {self.run.config.render.num_avatars}, or "
                f"lower render.held_out_every {self.run.config.render.held_out_every}"
            )
        return found

    @cached_property
    def store(self) -> PlaneStore:
        """The run's fitted planes."""
        return PlaneStore.open(self.run.layout.planes, self.run.config.plane_spec())

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder that they were fitted under."""
        return load_decoder(self.run.layout, self.sampler.device)[0]

    @cached_property
    def generated(self) -> Kept:
        """Pictures that the models made, from so many views."""
        return Kept(self.run.layout.evaluation / f"{self.models_sha256[:12]}-{self.views}")

    @cached_property
    def fitted(self) -> Kept:
        """Pictures of the run's planes and of baselines, under the run's own decoder."""
        report = self.run.decoder_report()
        assert report is not None, "there are fits"
        settings = f"{report.decoder_sha256} {self.side} {self.views} {self.sampler.sampling.generate.samples}"
        return Kept(self.run.layout.evaluation / f"fits-{hashlib.sha256(settings.encode()).hexdigest()[:12]}")

    def generator(self, index: int, purpose: str) -> torch.Generator:
        """A generator for (run seed, index, purpose)."""
        return seeded(self.run.config, index, f"evaluation {purpose}", CPU)

    def frontal_camera(self) -> Camera:
        """That of every frontal view."""
        (sample,) = read_samples(self.run, self.held_out[0], ("frontal",))
        return sample.record.camera

    def rig(self, index: int) -> tuple[Camera, ...]:
        """The frontal camera, and as many as :attr:`views` from the rig that training views are drawn from."""
        render = self.run.config.render
        return (
            self.frontal_camera(),
            *sphere_rig(
                generator_for(self.run.config.seed, index, "evaluation views"),
                self.views,
                elevation_deg=render.elevation_deg,
                distance=render.distance,
                fov_deg=render.fov_deg,
                size=self.side,
            ),
        )

    def photographs(self, avatar: int) -> tuple[Sample, ...]:
        """The frontal view, then as many others as :attr:`views`: held-out ones first."""
        others: tuple[Split, ...] = ("held_out", "train")
        kept = {split: read_samples(self.run, avatar, (split,)) for split in others}
        return (
            *read_samples(self.run, avatar, ("frontal",)),
            *(*kept["held_out"], *kept["train"])[: self.views],
        )

    def renders(self, avatar: int) -> Tensor:
        """The photographs of an avatar (view, 3, side, side)."""
        return torch.stack([self.sized(rgb_tensor(sample, CPU)) for sample in self.photographs(avatar)])

    def sized(self, image: Tensor) -> Tensor:
        """A picture (3, height, width) at :attr:`side`, antialiased."""
        return at_side(image, self.side)

    def planes(self, avatar: int, level: Level = "planes") -> Tensor:
        """Fitted planes in float32."""
        return torch.from_numpy(self.store.read(avatar, level)).to(self.sampler.device).float()

    def seen(self, planes: Tensor, cameras: Sequence[Camera], decoder: Decoder, side: int | None = None) -> Tensor:
        """Planes (3, channel, side, side) from cameras, (view, 4, side, side): colour over white and alpha.

        Pictures are :attr:`side` pixels a side unless another is given. What floats beside a person is left out, as
        it is where avatars are generated.
        """
        side = side or self.side
        occupancy = attached(planes_occupancy(planes, decoder))
        samples = self.sampler.sampling.generate.samples
        pictures = []
        for camera in cameras:
            pictures.append(rgba(planes, decoder, camera.resized(side, side), occupancy, samples=samples).cpu())
        return torch.stack(pictures)

    def of_fit(self, avatar: int) -> Tensor:
        """An avatar's fitted planes from the cameras of its photographs (view, 3, side, side)."""
        return self.fitted.pictures(
            f"fit/{avatar:06d}-{self._fitted[avatar][:8]}",
            lambda: self.seen(self.planes(avatar), self.cameras(avatar), self.decoder)[:, :3],
        )

    def front_of_fit(self, avatar: int) -> Tensor:
        """The same from the front alone (3, side, side)."""
        return self.fitted.pictures(
            f"front/{avatar:06d}-{self._fitted[avatar][:8]}",
            lambda: self.seen(self.planes(avatar), (self.frontal_camera(),), self.decoder)[:, :3],
        )[0]

    def cameras(self, avatar: int) -> tuple[Camera, ...]:
        """Those of :meth:`photographs`."""
        return tuple(sample.record.camera for sample in self.photographs(avatar))

    def planes_name(self, avatars: Sequence[int]) -> str:
        """A few letters that change with any of these avatars' planes, or photographs where none are fitted."""
        return digest(self._people, avatars)[:8]

    def refined(self, pictures: Tensor, latent: Tensor) -> Tensor:
        """Pictures (view, 4, side, side) through the refiner, at :attr:`side` again."""
        device = self.sampler.device
        return torch.stack(
            [
                self.sized(refine(self.sampler.refiner, one[None].to(device), latent[None].to(device))[0, :3].cpu())
                for one in pictures
            ]
        )

    def latents(self, avatars: Sequence[int]) -> Tensor:
        """Latents of frontal views by the models' own CLIP, (avatar, latent)."""
        missing = [avatar for avatar in avatars if avatar not in self._latents]
        for first in range(0, len(missing), BATCH):
            some = missing[first : first + BATCH]
            fronts = [rgb_tensor(read_samples(self.run, a, ("frontal",))[0], self.sampler.device) for a in some]
            self._latents.update(zip(some, encode_images(self.sampler.clip, torch.stack(fronts)).cpu(), strict=True))
        return torch.stack([self._latents[avatar] for avatar in avatars])

    def face(self, avatar: int) -> Face:
        """The frontal photograph as a portrait."""
        return Face(rgb_tensor(read_samples(self.run, avatar, ("frontal",))[0], self.sampler.device))

    def fitted_to(self, avatars: Sequence[int]) -> Tensor | None:
        """Base planes fitted to frontal photographs, (avatar, 3, channel, side, side), if the models do that."""
        for avatar in dict.fromkeys(avatars):
            if avatar not in self._fitted_to:
                made = self.sampler.fitted(self.latents([avatar]).to(self.sampler.device), (self.face(avatar),))
                if made is None:
                    return None
                self._fitted_to[avatar] = made[0]
        return torch.stack([self._fitted_to[avatar] for avatar in avatars])

    def samples_of(
        self,
        name: str,
        latents: Tensor,
        cameras: Callable[[int], Sequence[Camera]],
        tally: Tally,
        *,
        noise: str | None = None,
        refined: bool = True,
        fitted: Callable[[Tensor], Tensor | None] = lambda rows: None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Pictures of what the models make of latents, one avatar a latent: rendered and refined, in their order.

        Avatar ``i`` of batch ``b`` is always drawn from the noise of ``(noise, b)``, whatever is kept already;
        ``noise`` is ``name`` unless it is given. Unless ``refined`` the rendered pictures stand for the refined ones.
        ``fitted`` gives base planes fitted to portraits for the latents of some rows.
        """
        size = self.sampler.sampling.generate.batch
        found = []
        for first in range(0, len(latents), size):
            numbers = range(first, min(first + size, len(latents)))
            plain_keys = [f"{name}/{i:06d}-{_digest(latents[i])}-{len(cameras(i))}" for i in numbers]
            keys = [(key, f"{key}-refined" if refined else key) for key in plain_keys]
            if not all(self.generated.has(*pair) for pair in keys):
                # A last batch that is not full is filled up, so that its noise does not depend on how many there are.
                rows = torch.arange(first, first + size) % len(latents)
                batch = latents[rows].to(self.sampler.device)
                generator = self.generator(first, f"planes {noise or name}")
                drawn = self.sampler.planes(batch, generator, fitted(rows)).float()
                for offset, pair in enumerate(keys):
                    if not self.generated.has(*pair):
                        seen = self.seen(drawn[offset], cameras(first + offset), self.sampler.decoder)
                        if refined:
                            self.generated.keep(pair[1], self.refined(seen, batch[offset]))
                        self.generated.keep(pair[0], seen[:, :3])
                    tally.step()
            else:
                tally.step(len(keys))
            found += [(self.generated.read(pair[0]), self.generated.read(pair[1])) for pair in keys]
        return found

    def from_noise(self, num: int, tally: Tally) -> list[tuple[Tensor, Tensor]]:
        """Pictures of ``num`` unpicked avatars from noise, rendered and refined.

        From :meth:`rig` as many as there are held-out people, which is what sets are compared by; the rest from the
        front alone.
        """
        full, front = len(self.held_out), (self.frontal_camera(),)
        drawn = [self.sampler.latents(BATCH, None, self.generator(i, "latents")) for i in range(-(-num // BATCH))]
        return self.samples_of("noise", torch.cat(drawn)[:num], lambda i: self.rig(i) if i < full else front, tally)

    @property
    def is_fitted(self) -> bool:
        """Whether its people have planes; without, there are photographs of them to compare with and no more."""
        return bool(self._fitted)

    @property
    def _people(self) -> dict[int, str]:
        """Hash of what is known of each avatar: its planes, or its photographs where no avatar has planes."""
        return self._fitted or self.run.render_sources()

    @property
    def _known_by(self) -> str:
        return "fitted" if self.is_fitted else "rendered"

    @cached_property
    def _fitted(self) -> dict[int, str]:
        """Hash of the planes of each avatar that is rendered and fitted."""
        rendered = self.run.render_sources()
        return {avatar: sha256 for avatar, sha256 in self.run.plane_sources().items() if avatar in rendered}


def _digest(latent: Tensor) -> str:
    """Tells a latent from others in the name of what was made of it."""
    return hashlib.sha256(latent.cpu().float().numpy().tobytes()).hexdigest()[:8]


def models_sha256(models: ModelFolder) -> str:
    """One hash over the decoder, the models and what sampling goes by: what generated pictures depend on."""
    layout = models.layout
    folders = (layout.decoder, *(layout.model(name) / "weights" for name in trained_models()))
    files = [sha256_file(path) for folder in folders if exists(folder) for path in files_below(folder)]
    sampling = models.sampling.model_dump_json(exclude={"device", "threads"})
    return hashlib.sha256("".join([*files, sampling]).encode()).hexdigest()
