"""Models that sample: latents to frontal pictures and planes, planes to images, images to refined ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.config.sampling import Sampling
from pipeline.contracts.camera import Camera
from pipeline.stages.picture import rgba
from pipeline.stages.sampling.portrait_fit import Face, portrait_evidence
from rodin_models.diffusion import base, frontal, head, latent, upsampler
from rodin_models.diffusion.conditioning import edit_latent
from rodin_models.diffusion.linear import LinearModel
from rodin_models.diffusion.posterior import Evidence, most_probable
from rodin_models.field.occupancy import attached
from rodin_models.field.render import planes_occupancy
from rodin_models.image.clip import encode_texts
from rodin_models.image.focus import focused
from rodin_models.image.refiner import Refiner, refine
from rodin_models.image.resize import squared

CPU = torch.device("cpu")
NEUTRAL_TEXT = "a person"
"""What an edit is the difference to: ``a person with glasses`` minus ``a person``."""


OnStep = Callable[[str, int, int], None]
"""Told what is sampled (latent, frontal, head, portrait, base, upsampler), how many of its steps are done, and how many
there are."""


def _unwatched(what: str, done: int, of: int) -> None:
    """Steps that nobody follows."""
    del what, done, of


@dataclass(frozen=True)
class Sampler:
    """Everything that generation needs, in evaluation mode on one device."""

    sampling: Sampling
    device: torch.device
    clip: Any
    tokenizer: Any
    latent: latent.LatentModel
    captions: Tensor | None
    """Text latents (caption, text latent) that the latent model learned from; None where it did not keep them."""
    early: base.BaseModel | None
    """An early state of the base model, where it is guided by one."""
    base: base.BaseModel
    linear: LinearModel | None
    """What the base model stands on."""
    upsampler: upsampler.UpsamplerModel
    frontal: frontal.FrontalModel | None
    """What draws frontal pictures of latents, where planes are fitted to such (``generate.frontal_steps``)."""
    head: head.HeadModel | None
    """What draws the heads of these again (``generate.head_steps``)."""
    refiner: Refiner
    decoder: Any
    on_step: OnStep = _unwatched
    """Called after each step of sampling; what it raises ends it."""

    def takes(self, num_steps: int) -> bool:
        """Whether base model and upsampler can both sample in so many steps."""
        return self.base.diffusion.takes(num_steps) and self.upsampler.diffusion.takes(num_steps)

    def latents(self, num: int, text: Tensor | None, generator: torch.Generator) -> Tensor:
        """``num`` image latents (num, latent), from noise or from one text latent (1, text latent)."""
        settings, told = self.sampling.generate, text
        guidance = settings.text_guidance or settings.guidance
        if text is not None:
            text = text.expand(num, -1)
        elif settings.caption_guidance:
            assert self.captions is not None, "load_sampler refuses models without"
            guidance = settings.caption_guidance
            chosen = torch.randint(len(self.captions), (num,), generator=generator)
            text = self.captions[chosen.to(self.captions.device)]
        drawn = latent.sample(
            self.latent,
            text,
            num_samples=num,
            num_steps=settings.latent_steps,
            guidance=guidance,
            generator=generator,
            on_step=self._counted("latent", settings.latent_steps),
        )
        statistics = self.latent.statistics
        drawn = statistics.denormalise(statistics.normalise(drawn) * settings.latent_spread)
        if told is not None and self.clip.looks is not None:
            drawn = self.clip.looks.moved(drawn, told, rounds=settings.looks_rounds)
        return drawn if self.clip.likeness is not None else torch.nn.functional.normalize(drawn, dim=-1)

    def warm_up(self) -> None:
        """Draw once, so that what is loaded at first use is loaded."""
        self.latents(1, None, torch.Generator().manual_seed(0))

    def near(self, latents: Tensor, drawn: Tensor, share: float) -> Tensor:
        """Image latents (num, latent) moved towards ``drawn`` ones, as far apart as those are from one another.

        With m the mean of all, m + sqrt(1 - share^2) (latents - m) + share (drawn - m): an Ornstein-Uhlenbeck step,
        which leaves the variance as it is. ``share`` 0 changes nothing, 1 gives ``drawn``.
        """
        mean = self.latent.statistics.mean
        moved = mean + (1 - share**2) ** 0.5 * (latents - mean) + share * (drawn - mean)
        return moved if self.clip.likeness is not None else torch.nn.functional.normalize(moved, dim=-1)

    def edited(self, latents: Tensor, edit: str) -> Tensor:
        """Image latents (num, latent) moved by what ``edit``, such as "with glasses", adds to a person."""
        source, target = encode_texts(self.clip, self.tokenizer, [NEUTRAL_TEXT, f"{NEUTRAL_TEXT} {edit}"])
        strength, rounds = self.sampling.generate.edit_strength, self.sampling.generate.looks_rounds
        if self.clip.looks is not None and rounds:
            shown: Tensor = self.clip.looks.moved(latents, target[None], rounds=rounds)
            return shown
        if self.clip.likeness is not None:
            moved: Tensor = self.clip.likeness.edited(latents, source[None], target[None], strength)
            return moved
        return edit_latent(latents, source[None], target[None], strength)

    @property
    def fits_portraits(self) -> bool:
        """Whether :meth:`fitted` gives any: it takes ``generate.portrait_steps`` and a linear model."""
        return self.linear is not None and self.sampling.generate.portrait_steps > 0

    def fitted(self, latents: Tensor, faces: Sequence[Face]) -> Tensor | None:
        """Base planes (num, 3, channel, side, side) that portraits make most probable, beside their latents.

        None where portraits are taken by their latents alone.
        """
        if self.linear is None or not self.fits_portraits:
            return None
        settings = self.sampling.generate
        most = settings.portrait_steps + (settings.portrait_detail_steps if settings.portrait_detail else 0)
        made = []
        for number, (predicted, face) in enumerate(zip(self.linear.predict(latents), faces, strict=True)):
            evidence = portrait_evidence(face, self.sampling, self.upsampler, self.decoder, predicted)
            on_render = self._counted("portrait", most * (number + 1), first=most * number, of=most * len(faces))
            made.append(
                most_probable(
                    self.linear,
                    predicted,
                    _watched(evidence, on_render),
                    settings.portrait_steps,
                    detail=settings.portrait_detail,
                    detail_steps=settings.portrait_detail_steps,
                )
            )
        return torch.stack(made)

    def fronts(self, latents: Tensor, generator: torch.Generator, *, part: int = 0, parts: int = 1) -> Tensor | None:
        """Frontal pictures (num, 3, side, side) in [0, 1] over white of whom latents stand for.

        None where planes are drawn for latents alone. Steps are told as those of one of several ``parts``.
        """
        if self.frontal is None:
            return None
        settings = self.sampling.generate

        def counted(what: str, steps: int) -> Callable[[], None]:
            return self._counted(what, steps * (part + 1), first=steps * part, of=steps * parts)

        pictures = frontal.sample(
            self.frontal,
            latents,
            num_steps=settings.frontal_steps,
            guidance=settings.frontal_guidance,
            noise=settings.frontal_noise,
            generator=generator,
            on_step=counted("frontal", settings.frontal_steps),
        )
        if self.head is None:
            return pictures
        return head.sample(
            self.head,
            pictures,
            num_steps=settings.head_steps,
            level=settings.head_level,
            noise=settings.frontal_noise,
            generator=generator,
            on_step=counted("head", settings.head_steps),
        )

    def fitted_edited(
        self, latents: Tensor, edited: Tensor, faces: Sequence[Face], noise: Callable[[], torch.Generator]
    ) -> Tensor | None:
        """Base planes of portraits as an edit of their latents makes them; None as with :meth:`fitted`.

        To each portrait is added what the edit changes most (``generate.edit_focus``) in the frontal picture that is
        drawn from the same ``noise``, and planes are fitted to that. Where no pictures are drawn, planes of the
        portraits are moved.
        """
        if self.frontal is None or not self.fits_portraits:
            fitted = self.fitted(latents, faces)
            return None if fitted is None else self.moved(fitted, latents, edited)
        before, after = (self.fronts(of, noise(), part=part, parts=2) for part, of in enumerate((latents, edited)))
        assert before is not None and after is not None, "there is a frontal model"
        changed = []
        for face, change in zip(faces, focused(after - before, self.sampling.generate.edit_focus), strict=True):
            rgb = squared(face.rgb[None])
            added = F.interpolate(change[None], rgb.shape[-2:], mode="bicubic", align_corners=False)
            changed.append(replace(face, rgb=(rgb + added)[0].clamp(0, 1)))
        return self.fitted(edited, changed)

    def moved(self, fitted: Tensor, latents: Tensor, edited: Tensor) -> Tensor:
        """Base planes fitted to portraits, moved by what the linear model makes of an edit of their latents."""
        assert self.linear is not None, "there are fitted planes"
        return fitted + self.linear.predict(edited) - self.linear.predict(latents)

    def planes(self, latents: Tensor, generator: torch.Generator, fitted: Tensor | None = None) -> Tensor:
        """Full planes (num, 3, channel, side, side), float16 as they would be stored.

        Around base planes ``fitted`` to portraits where there are any, else around those fitted to frontal pictures
        that are drawn first, else around the linear prediction.
        """
        if fitted is None:
            drawn = self.fronts(latents, generator)
            fitted = None if drawn is None else self.fitted(latents, [Face(picture) for picture in drawn])
        return self.full_planes(self.base_planes(latents, generator, fitted), latents, generator).half()

    def base_planes(self, latents: Tensor, generator: torch.Generator, fitted: Tensor | None = None) -> Tensor:
        """Base planes of latents (num, latent), around those ``fitted`` to portraits where there are any."""
        settings = self.sampling.generate
        predicted = fitted
        if predicted is None and self.linear is not None:
            predicted = self.linear.predict(latents)
        return base.sample(
            self.base,
            latents,
            num_samples=len(latents),
            num_steps=settings.base_steps,
            guidance=settings.guidance,
            generator=generator,
            predicted=predicted,
            left_over=settings.left_over if fitted is None else settings.portrait_left_over,
            early=self.early,
            autoguidance=settings.autoguidance,
            on_step=self._counted("base", settings.base_steps),
        )

    def full_planes(self, low: Tensor, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Full planes in [-1, 1] of base planes and the latents that they came from."""
        full = upsampler.sample(
            self.upsampler,
            low,
            latents,
            num_steps=self.sampling.generate.upsampler_steps,
            guidance=1.0,
            generator=generator,
            on_step=self._counted("upsampler", self.sampling.generate.upsampler_steps),
        )
        return full.clamp(-1, 1)

    def images(
        self,
        planes: Tensor,
        latents: Tensor,
        cameras: tuple[Camera, ...],
        on_image: Callable[[], None] = lambda: None,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """One avatar from several cameras: rendered and refined, each uint8 (view, row, column, 4).

        ``planes`` (3, channel, side, side), ``latents`` (latent). Cameras are resized to ``generate.image_side``.
        """
        planes = planes.float()
        occupancy = attached(planes_occupancy(planes, self.decoder))
        side = self.sampling.generate.image_side
        rendered, refined = [], []
        for camera in cameras:
            view, samples = camera.resized(side, side), self.sampling.generate.samples
            image = rgba(planes, self.decoder, view, occupancy, samples=samples)
            rendered.append(_to_bytes(image))
            refined.append(_to_bytes(refine(self.refiner, image[None], latents[None])[0]))
            on_image()
        return np.stack(rendered), np.stack(refined)

    def _counted(self, what: str, most: int, *, first: int = 0, of: int | None = None) -> Callable[[], None]:
        """Tells :attr:`on_step` of steps after ``first``, up to ``most``, of as many or of ``of`` in all."""
        done = first

        def on_step() -> None:
            nonlocal done
            done += 1
            self.on_step(what, min(done, most), of or most)

        return on_step


def _watched(evidence: Evidence, on_render: Callable[[], None]) -> Evidence:
    """The same, each of whose renders is told of."""

    def render(planes: Tensor) -> Tensor:
        pixels = evidence.render(planes)
        on_render()
        return pixels

    return replace(evidence, render=render)


def _to_bytes(image: Tensor) -> npt.NDArray[np.uint8]:
    """(4, row, column), colour over white and alpha in [0, 1], to (row, column, 4) with colour over white."""
    pixels: npt.NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return pixels
