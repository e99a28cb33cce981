"""What each stage before training goes by, and generation and evaluation: one record a section of ``run.toml``."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.setting import OPERATIONAL
from pipeline.contracts.capture import UpAxis
from pipeline.contracts.naming import num_shards, shard_avatars
from pipeline.contracts.record import Record
from pipeline.contracts.rendering import RenderPasses
from pipeline.people.population import PopulationConfig


class RenderConfig(Record):
    """Stage ``render``: the population and its photographs."""

    num_avatars: int = Field(100_000, ge=1, le=10**6, json_schema_extra=OPERATIONAL)
    """Avatars of the run. Raising it extends the run."""
    shard_size: int = Field(33, ge=1)
    """Avatars a shard: one task, one Blender process, one tar."""
    held_out_every: int = Field(50, ge=2)
    """Avatar i is held out when i % held_out_every == held_out_every - 1."""
    train_views: int = Field(300, ge=1, le=900)
    """Random views an avatar that fits read (300 in the paper)."""
    held_out_views: int = Field(8, ge=1, le=900)
    """Random views an avatar that only measure."""
    resolution: int = Field(1024, ge=16, le=4096)
    """Side of the square images in pixels."""
    fov_deg: float = Field(30.0, gt=1, lt=120)
    """Horizontal field of view."""
    distance: float = Field(4.6, gt=1.8)
    """Distance of the cameras from the origin in world units."""
    elevation_deg: tuple[float, float] = (-15.0, 40.0)
    """Range of the random cameras' elevations."""
    extent_m: float = Field(0.25, gt=0)
    """Half the side of the cube that head and shoulders are mapped into, in metres."""
    population: PopulationConfig = PopulationConfig()
    """Who is drawn, and with what chances."""
    specs: str = Field("", json_schema_extra=OPERATIONAL)
    """JSON file of avatars that are fixed rather than drawn, the first ones of the run; empty draws all."""
    specs_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Of the content of ``specs``; filled in when the configuration is loaded."""
    samples: int = Field(64, ge=1)
    """Cycles samples a pixel."""
    denoise: bool = True
    max_bounces: int = Field(3, ge=0, le=64)
    passes: RenderPasses = RenderPasses()
    """Labels beside the images: depth, normal, segmentation, landmarks."""
    redraws: int = Field(3, ge=0, le=16)
    """How often an avatar that a check rejects is drawn again before it counts as failed."""
    threads: int = Field(2, ge=1, json_schema_extra=OPERATIONAL)
    """CPU threads of one Blender process."""
    device: Literal["auto", "cpu", "cuda", "optix"] = Field("auto", json_schema_extra=OPERATIONAL)
    """What Cycles renders on; auto takes OptiX, then CUDA, then the CPU."""
    timeout_s: float = Field(300.0, gt=0, json_schema_extra=OPERATIONAL)
    """A Blender process is killed when no frame appears for so long."""
    python: str = Field("", json_schema_extra=OPERATIONAL)
    """Interpreter that has bpy; empty means this one."""

    @property
    def num_shards(self) -> int:
        """How many shards hold the avatars."""
        return num_shards(self.num_avatars, self.shard_size)

    def shard_of(self, avatar: int) -> int:
        """The shard that holds an avatar."""
        return avatar // self.shard_size

    def avatars_of(self, shard: int) -> tuple[int, ...]:
        """The avatars of a shard, by index; the last shard may be short."""
        return shard_avatars(shard, self.shard_size, self.num_avatars)

    @property
    def num_views(self) -> int:
        """Photographs of an avatar: training views first, then held-out views, the frontal view last."""
        return self.train_views + self.held_out_views + 1

    @property
    def frontal_view(self) -> int:
        """The number of the frontal view."""
        return self.num_views - 1

    @model_validator(mode="after")
    def _ordered(self) -> "RenderConfig":
        low, high = self.elevation_deg
        if not -89 <= low < high <= 89:
            raise ValueError(f"render.elevation_deg is {self.elevation_deg}, not low < high within -89..89")
        return self


class PlanesConfig(Record):
    """Shape of the tri-planes."""

    resolution: int = Field(256, ge=8)
    """Texels a side (256 in the paper)."""
    base_resolution: int = Field(64, ge=8)
    """Texels a side of what the base diffusion learns (64 in the paper)."""
    channels: int = Field(32, ge=1)
    """Feature channels a plane (32 in the paper)."""

    @model_validator(mode="after")
    def _divides(self) -> "PlanesConfig":
        if self.resolution % self.base_resolution:
            raise ValueError(
                f"planes.resolution {self.resolution} is no multiple of planes.base_resolution {self.base_resolution}"
            )
        return self


class DecoderConfig(Record):
    """Stage ``decoder``: the shared MLP, fitted jointly with the planes of the first avatars."""

    avatars: int = Field(64, ge=1)
    """K: the first K avatars that are not held out."""
    min_avatars: int = Field(8, ge=1)
    """Failed avatars are skipped; with fewer than this left the stage fails."""
    steps_per_avatar: int = Field(4000, ge=1)
    """Optimiser steps in all, divided by K."""
    visit_steps: int = Field(50, ge=1)
    """Steps an avatar is visited for before the next one takes its turn (task replay)."""
    recolour_every: int = Field(2, ge=0)
    """One avatar in so many is shown to the joint fit with its colour channels in another order, so that the decoder
    knows colours that none of its avatars has; 0 shows all as they are. The mean planes are those of the others.
    """
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    hidden: int = Field(128, ge=4)
    """Width of the MLP."""
    colour_hidden: int = Field(64, ge=4)
    """Width of the colour branch, which alone sees directions."""
    frequencies: int = Field(1, ge=0)
    """Octaves of the Fourier embedding of the features."""
    direction_frequencies: int = Field(1, ge=0)
    """Octaves of the Fourier embedding of the directions."""
    checkpoint_every: int = Field(1000, ge=1, json_schema_extra=OPERATIONAL)
    """Steps between checkpoints of the joint fit."""
    threads: int = Field(2, ge=1)
    """Torch threads of a worker. In the fingerprint, because the last bits depend on it."""
    workers: int = Field(1, ge=1)
    """Processes that share the joint fit: each has every workers-th avatar, and a step is one step of all of them with
    their gradients of the decoder averaged. In the fingerprint: the decoder takes as many times fewer steps.
    """
    avatars_in_memory: int = Field(8, ge=1, json_schema_extra=OPERATIONAL)
    """Most avatars whose photographs a worker holds at a time; they are read again when they are visited again."""

    @model_validator(mode="after")
    def _shared_out(self) -> "DecoderConfig":
        if self.workers > self.avatars:
            raise ValueError(f"decoder.workers is {self.workers}, more than decoder.avatars {self.avatars}")
        if self.recolour_every == 1:
            raise ValueError("decoder.recolour_every is 1, which leaves no avatar in its own colours; 0 recolours none")
        return self


class FitConfig(Record):
    """Stage ``fit``: each avatar's planes under the frozen decoder. The joint fit reads it too."""

    start: Literal["mean", "predicted"] = "mean"
    """Where a fit starts: the decoder's mean planes, or what the linear model of ``train.start_from`` predicts of the
    avatar's frontal picture."""
    steps: int = Field(4000, ge=1)
    rays: int = Field(4096, ge=1)
    """Rays a step."""
    samples: int = Field(16, ge=1)
    """Samples a ray inside the hull."""
    render_samples: int = Field(64, ge=1)
    """Samples a ray when held-out views are measured."""
    learning_rate: float = Field(2e-2, gt=0)
    """Adam's, for the planes."""
    alpha_weight: float = Field(0.1, ge=0)
    tv_weight: float = Field(0.3, ge=0)
    """Smooth: total variation of the planes."""
    sparse_weight: float = Field(1e-4, ge=0)
    compact_weight: float = Field(0.3, ge=0)
    perceptual_weight: float = Field(0.0, ge=0)
    """Of the perceptual distance of rendered patches; at 0 none is rendered. Fits one avatar at a time, in float32."""
    perceptual_every: int = Field(4, ge=1)
    """Steps between two patches, which then weigh as many times more."""
    perceptual_patch: int = Field(32, ge=16)
    """Side of the patches in pixels."""
    perceptual_vgg: str = Field("", json_schema_extra=OPERATIONAL)
    """VGG-16 weights (.safetensors, torchvision's names) whose features are compared; empty: random, fixed ones."""
    perceptual_vgg_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Of the content of ``perceptual_vgg``; filled in when the configuration is loaded."""
    plane_noise: float = Field(0.01, ge=0)
    """Standard deviation of the noise added to the features while fitting."""
    rescale_probability: float = Field(0.1, ge=0, le=1)
    """Share of steps in which the planes are resized to a random side and back before rendering."""
    coarse: tuple[tuple[float, int], ...] = ((0.2, 4), (0.6, 2))
    """(Until which share of the steps, how many times fewer texels a side): planes grow from coarse to fine."""
    hull_resolution: int = Field(128, ge=8)
    """Cells a side of the visual hull."""
    shell_cells: int = Field(1, ge=1)
    """Where there is depth, samples lie within so many cells of a surface."""
    depth: bool = True
    """Place samples by the rendered depth where there is one; without, by the hull and what the fit has seen."""
    min_psnr: float = Field(20.0, ge=0)
    """A fit whose held-out PSNR is lower is a failure, and training never reads it."""
    threads: int = Field(2, ge=1)
    """Torch threads of one task. In the fingerprint, because the last bits depend on it."""
    batch: int = Field(0, ge=0, json_schema_extra=OPERATIONAL)
    """Avatars fitted at once; 0 takes as many as fit in a GPU's free memory, and one on a CPU.

    Each gets what it would get alone up to the order of summation: on a CPU the same bytes need 0 or 1.
    """
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the decoder's matrix products; auto takes bfloat16 on CUDA, float32 on a CPU. All else is float32."""
    compile: bool = False
    """Compile the decoder and the accumulation along rays with ``torch.compile``; an error where that does not work."""
    fused: bool = False
    """Read planes by two Triton kernels instead of torch's own operators; an error where they do not work (a CPU)."""

    @model_validator(mode="after")
    def _grows(self) -> "FitConfig":
        shares, factors = [share for share, _ in self.coarse], [factor for _, factor in self.coarse]
        rising = all(0 < share < 1 for share in shares) and shares == sorted(set(shares))
        if not rising or factors != sorted(set(factors), reverse=True) or min(factors, default=2) < 2:
            raise ValueError(
                f"fit.coarse is {self.coarse}; shares must rise within (0, 1), factors fall and be at least 2"
            )
        return self

    @model_validator(mode="after")
    def _patches_go_alone(self) -> "FitConfig":
        means = self.compile or self.fused or self.precision == "bfloat16"
        if self.perceptual_weight and (self.batch > 1 or means):
            raise ValueError(
                f"fit.perceptual_weight is {self.perceptual_weight}: patches are compared for one avatar at a time, in "
                "float32, neither compiled nor fused; leave fit.batch, fit.precision, fit.compile and fit.fused alone"
            )
        return self


class OwnConfig(Record):
    """Stage ``own``: planes and a decoder for each avatar alone. It reads ``decoder`` and ``fit`` too."""

    steps: int = Field(8000, ge=1)
    supersample: int = Field(1, ge=1, le=4)
    """Rays along each side of a pixel, in the last half of the steps and where held-out views are measured: a pixel
    of a photograph shows the mean of an area, which counts at outlines and where parts are thin."""
    held_out_views: int = Field(32, ge=1)
    """Most held-out views that are measured, spread evenly over those there are."""
    turntable_views: int = Field(48, ge=2)
    """Frames of the turntable."""
    turntable_side: int = Field(512, ge=16)
    """Most pixels of a side of it; it is no larger than the photographs."""
    checkpoint_every: int = Field(1000, ge=1, json_schema_extra=OPERATIONAL)
    """Steps between checkpoints; a restart goes on from the last."""


class GenerateConfig(Record):
    """Stage ``generate``."""

    num: int = Field(8, ge=1)
    """Avatars made from noise by ``run``."""
    base_steps: int = Field(100, ge=1)
    upsampler_steps: int = Field(50, ge=1)
    latent_steps: int = Field(50, ge=1)
    frontal_steps: int = Field(0, ge=0)
    """For each avatar from noise or a text a frontal picture is drawn in so many steps, and its planes are fitted to
    that as to a portrait (``portrait_steps``); 0 goes by the latent alone, which says nothing of pupils and lips."""
    frontal_guidance: float = Field(1.0, ge=0)
    """Classifier-free guidance weight of that picture."""
    head_steps: int = Field(0, ge=0)
    """The head of that picture is drawn again, pixel by pixel, in so many steps; 0 leaves it as it is."""
    head_level: float = Field(0.5, ge=0, le=1)
    """How little that goes by the first drawing: the share of ``head.noise`` by which what is shown of it is off."""
    guidance: float = Field(2.0, ge=0)
    """Classifier-free guidance weight; 1 is none."""
    text_guidance: float = Field(0.0, ge=0)
    """The same of the latent that is drawn for a text; 0 for ``guidance``."""
    caption_guidance: float = Field(0.0, ge=0)
    """From noise, each avatar's latent is drawn for one of the captions that the latent model learned from, drawn by
    lot, with this weight: nobody is half bald and half curly. 0 draws latents without a caption."""
    latent_spread: float = Field(1.0, gt=0, le=2)
    """Factor on how a drawn latent, from noise or text, differs from the mean of all: a short training draws too close
    to it, and so too close to everybody."""
    left_over: float = Field(1.0, ge=0, le=1)
    """Share that is kept of how a base sample differs from the linear prediction it stands on: 1 is what was learnt,
    less is nearer to what is expected, with less variety and less grain."""
    portrait_steps: int = Field(0, ge=0)
    """Renders in which eigen-planes are fitted to a portrait at most; 0 goes by its latent alone."""
    portrait_detail: float = Field(0.0, ge=0)
    """How far each texel may then move by itself towards the portrait, over what the linear prediction is off by there;
    0 leaves all to the eigen-planes."""
    portrait_detail_steps: int = Field(20, ge=1)
    """Renders in which it does, at most."""
    portrait_left_over: float = Field(1.0, ge=0, le=1)
    """In place of ``left_over`` where eigen-planes were fitted: they leave less over."""
    autoguidance: float = Field(1.0, ge=1)
    """Weight of guidance of the base model by its own early weights (``base.early_share``), at the same condition; 1 is
    none. Best with little or no other guidance."""
    edit_strength: float = Field(1.0, ge=0)
    """Factor on the difference of text latents that an edit adds, where the encoder knows no looks."""
    looks_rounds: int = Field(2, ge=0, le=20)
    """Where it does: how often a latent that is drawn for a text, or edited, is moved towards showing what the text
    tells; 0 leaves it as it is drawn, and edits to ``edit_strength``."""
    edit_focus: float = Field(0.2, ge=0, le=0.4)
    """Share of the largest change of a portrait's picture by an edit below which nothing is changed; 0 takes all."""
    frontal_noise: float = Field(1.0, ge=0, le=1)
    """Factor on the noise that each step of drawing a frontal picture adds: less is smoother, with less variety."""
    views: int = Field(48, ge=2)
    """Frames of a turntable."""
    image_side: int = Field(256, ge=16)
    """Side of the rendered images before refinement."""
    samples: int = Field(48, ge=1)
    """Samples a ray."""
    batch: int = Field(4, ge=1)
    """Avatars sampled at once; they share their noise's generator, so it is part of what comes out."""


class EvaluateConfig(Record):
    """Stage ``evaluate``."""

    images_per_avatar: int = Field(4, ge=1)
    """Images of each generated avatar that enter FID and KID."""
    kid_subsets: int = Field(50, ge=1)
    kid_subset_size: int = Field(100, ge=2)


class IngestConfig(Record):
    """``rodin-pipe ingest``: captures that stand in place of renders. Of ``render``, such a run reads sizes only."""

    captures: tuple[str, ...] = Field((), json_schema_extra=OPERATIONAL)
    """Folders in the NeRF layout, one an avatar; empty renders synthetic people."""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Of all that was read from them; filled in by ``ingest``. Not empty: the run is an ingested one."""
    captions: tuple[str, ...] = ()
    """A sentence for each capture, or none."""
    background: str = Field("", pattern=r"^(white|black|#[0-9a-fA-F]{6})?$")
    """Colour behind the object in images without alpha: white, black or #rrggbb. Alpha is keyed from it."""
    tolerance: int = Field(8, ge=0, le=100)
    """Levels (of 255) by which a pixel of that background may be off, in any channel."""
    masks: str = ""
    """Folder in each capture with a mask for each image, by its name; ``mask_path`` of a frame goes before it."""
    masks_show: Literal["auto", "object", "surroundings"] = "auto"
    """What is white in masks; auto takes it for the object, and refuses masks that look the other way round."""
    colour: Literal["auto", "straight", "premultiplied"] = "auto"
    """How images with alpha store colour; auto takes it for straight unless edges show beyond doubt that it is not."""
    exif: Literal["auto", "obey", "ignore"] = "auto"
    """Whether images are turned as their EXIF says; auto turns those whose cameras are of the turned picture."""
    held_out_share: float = Field(0.125, gt=0, lt=1)
    """Share of the frames held out where a capture has neither val nor test frames."""
    up: Literal["auto"] | UpAxis = "auto"
    """The axis that points up in the captures' worlds; auto asks the file, then the cameras."""
    centre: tuple[float, ...] = Field((), max_length=3)
    """Centre of the cube in the captures' units; empty asks the file, then cameras and masks."""
    half_side: float = Field(0.0, ge=0)
    """Half the cube's side in the captures' units; 0 as ``centre``. Estimated, it is one for all captures of a run."""
    unit_m: float = Field(0.0, ge=0)
    """Metres that a capture's unit is; 0 asks the file, then takes 1."""
    downscale: int = Field(1, ge=1, le=64)
    """Images are made so many times smaller on each side, by means over blocks."""

    @model_validator(mode="after")
    def _whole(self) -> "IngestConfig":
        if len(self.centre) not in (0, 3) or bool(self.centre) != bool(self.half_side):
            raise ValueError(
                f"ingest.centre {list(self.centre)} and ingest.half_side {self.half_side} must be given together: "
                "three numbers and one"
            )
        if self.captions and self.captures and len(self.captions) != len(self.captures):
            raise ValueError(f"{len(self.captions)} captions for {len(self.captures)} captures: give one each, or none")
        return self
