"""The configuration of a run: one frozen pydantic tree, written whole into ``run.toml``.

A run's configuration is a preset (``presets/*.toml``), over it a file of the user's, over it ``--set key=value``.
Field defaults are the paper's values where the paper gives one; ``demo`` and ``desk`` only change numbers.

Each stage has a fingerprint (:func:`stage_fingerprints`): a hash of the sections that it reads, its schema
version and the fingerprints of the stages before it. Fields marked ``operational`` say how work is done and not
what comes out, so they are left out of it.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.capture import IngestConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.fixed_spec import parse_specs
from pipeline.contracts.planes import PlaneSpec
from pipeline.contracts.population import PopulationConfig
from pipeline.contracts.record import Record
from pipeline.contracts.rendering import RenderPasses

PRESETS: Final = ("demo", "desk", "paper")
_OPERATIONAL: Final[dict[str, Any]] = {"operational": True}


class RenderConfig(Record):
    """Stage ``render``: the population and its photographs."""

    num_avatars: int = Field(100_000, ge=1, le=10**6, json_schema_extra=_OPERATIONAL)
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
    specs: str = Field("", json_schema_extra=_OPERATIONAL)
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
    threads: int = Field(2, ge=1, json_schema_extra=_OPERATIONAL)
    """CPU threads of one Blender process."""
    device: Literal["auto", "cpu", "cuda", "optix"] = Field("auto", json_schema_extra=_OPERATIONAL)
    """What Cycles renders on; auto takes OptiX, then CUDA, then the CPU."""
    timeout_s: float = Field(300.0, gt=0, json_schema_extra=_OPERATIONAL)
    """A Blender process is killed when no frame appears for so long."""
    python: str = Field("", json_schema_extra=_OPERATIONAL)
    """Interpreter that has bpy; empty means this one."""

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
    checkpoint_every: int = Field(1000, ge=1, json_schema_extra=_OPERATIONAL)
    """Steps between checkpoints of the joint fit."""
    threads: int = Field(2, ge=1)
    """Torch threads. In the fingerprint, because the last bits depend on it."""


class FitConfig(Record):
    """Stage ``fit``: each avatar's planes under the frozen decoder. The joint fit reads it too."""

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
    tv_weight: float = Field(0.1, ge=0)
    """Smooth: total variation of the planes."""
    sparse_weight: float = Field(1e-4, ge=0)
    compact_weight: float = Field(0.3, ge=0)
    plane_noise: float = Field(0.01, ge=0)
    """Standard deviation of the noise added to the features while fitting."""
    rescale_probability: float = Field(0.1, ge=0, le=1)
    """Share of steps in which the planes are resized to a random side and back before rendering."""
    hull_resolution: int = Field(64, ge=8)
    """Cells a side of the visual hull."""
    min_psnr: float = Field(20.0, ge=0)
    """A fit whose held-out PSNR is lower is a failure, and training never reads it."""
    threads: int = Field(2, ge=1)
    """Torch threads of one task. In the fingerprint, because the last bits depend on it."""


class OwnConfig(Record):
    """Stage ``own``: planes and a decoder for each avatar alone. It reads ``decoder`` and ``fit`` too."""

    steps: int = Field(8000, ge=1)
    held_out_views: int = Field(32, ge=1)
    """Most held-out views that are measured, spread evenly over those there are."""
    turntable_views: int = Field(48, ge=2)
    """Frames of the turntable."""
    turntable_side: int = Field(512, ge=16)
    """Most pixels of a side of it; it is no larger than the photographs."""
    checkpoint_every: int = Field(1000, ge=1, json_schema_extra=_OPERATIONAL)
    """Steps between checkpoints; a restart goes on from the last."""


class TrainingConfig(Record):
    """What every training loop has."""

    steps: int = Field(..., ge=1)
    batch: int = Field(..., ge=1)
    """Items a step, over all workers."""
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: int = Field(100, ge=0)
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    checkpoint_every: int = Field(5000, ge=1, json_schema_extra=_OPERATIONAL)
    """Steps between checkpoints; a restart goes on from the last."""
    log_every: int = Field(50, ge=1, json_schema_extra=_OPERATIONAL)
    """Steps between points of the loss curve."""


class ClipConfig(TrainingConfig):
    """Stage ``clip``: the image and text encoder, trained from scratch or pretrained."""

    pretrained: str = ""
    """Path or hub name of a CLIPModel; empty trains our own on renders and captions."""
    steps: int = Field(20_000, ge=1)
    batch: int = Field(256, ge=2)
    image_size: int = Field(128, ge=16)
    patch_size: int = Field(16, ge=2)
    width: int = Field(384, ge=16)
    layers: int = Field(8, ge=1)
    heads: int = Field(6, ge=1)
    latent_dim: int = Field(256, ge=8)
    """Dimension of the shared image and text latent."""
    max_tokens: int = Field(48, ge=8)


class DiffusionConfig(Record):
    """Noise schedule and objective of one diffusion model."""

    timesteps: int = Field(1000, ge=2)
    schedule: Literal["cosine", "linear", "sigmoid"] = "cosine"
    input_scale: float = Field(1.0, gt=0)
    """Factor on the signal's amplitude: below 1, more noise, as large, redundant planes want it."""
    prediction: Literal["epsilon", "v", "x0"] = "v"
    sampler: Literal["ddim", "dpm"] = "ddim"
    clip: float = Field(0.0, ge=0)
    """Predicted x0 is clipped to +-clip standard deviations while sampling; 0 for no clipping."""


class UNetConfig(Record):
    """A UNet over rolled-out planes."""

    width: int = Field(192, ge=8)
    """Channels of the first level."""
    multipliers: tuple[int, ...] = (1, 2, 3, 4)
    """Channels of each level over ``width``."""
    blocks: int = Field(3, ge=1)
    """Residual blocks a level."""
    attention_sides: tuple[int, ...] = (32, 16, 8)
    """Plane sides at which self-attention is used."""
    aware_levels: int = Field(2, ge=0)
    """Highest-resolution levels whose convolutions are 3D-aware."""
    dropout: float = Field(0.1, ge=0, lt=1)


class BaseConfig(TrainingConfig):
    """Stage ``base``: latent-conditioned diffusion of the base planes."""

    steps: int = Field(500_000, ge=1)
    batch: int = Field(32, ge=1)
    unet: UNetConfig = UNetConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    latent_dropout: float = Field(0.2, ge=0, le=1)
    """Share of items whose latent is dropped (0.2 in the paper)."""


class UpsamplerUNetConfig(UNetConfig):
    """The upsampler's UNet: narrower, without attention."""

    width: int = Field(128, ge=8)
    multipliers: tuple[int, ...] = (1, 2, 4)
    attention_sides: tuple[int, ...] = ()
    aware_levels: int = Field(1, ge=0)


class UpsamplerDiffusionConfig(DiffusionConfig):
    """The upsampler's process: few steps, predicting x0."""

    timesteps: int = Field(100, ge=2)
    schedule: Literal["cosine", "linear", "sigmoid"] = "sigmoid"
    prediction: Literal["x0"] = "x0"


class LatentDiffusionConfig(DiffusionConfig):
    """The latent's process."""

    prediction: Literal["epsilon", "v", "x0"] = "x0"


class UpsamplerConfig(TrainingConfig):
    """Stage ``upsampler``: base planes to full planes."""

    steps: int = Field(300_000, ge=1)
    batch: int = Field(8, ge=1)
    unet: UpsamplerUNetConfig = UpsamplerUNetConfig()
    diffusion: UpsamplerDiffusionConfig = UpsamplerDiffusionConfig()
    latent_dropout: float = Field(0.2, ge=0, le=1)
    augment_blur: float = Field(1.0, ge=0)
    """Largest standard deviation in base texels of the blur of the low-resolution condition."""
    augment_noise: float = Field(0.2, ge=0)
    """Largest noise level of the low-resolution condition."""
    image_weight: float = Field(0.1, ge=0)
    """Weight of the image loss on rendered patches."""
    patch: int = Field(64, ge=8)
    """Side of those patches in pixels."""


class LatentConfig(TrainingConfig):
    """Stage ``latent``: diffusion of the image latent, with the caption's latent as a condition."""

    steps: int = Field(100_000, ge=1)
    batch: int = Field(256, ge=1)
    width: int = Field(1024, ge=16)
    layers: int = Field(8, ge=1)
    diffusion: LatentDiffusionConfig = LatentDiffusionConfig()
    text_dropout: float = Field(0.2, ge=0, le=1)


class RefinerConfig(TrainingConfig):
    """Stage ``refiner``: rendered image to refined image."""

    steps: int = Field(200_000, ge=1)
    batch: int = Field(16, ge=1)
    width: int = Field(64, ge=16, multiple_of=16)
    """Channels at the input's resolution."""
    input_side: int = Field(256, ge=16)
    """Side of the rendered image."""
    scale: int = Field(4, ge=1)
    """Output side over input side (1024 from 256)."""
    multipliers: tuple[int, ...] = (1, 2, 4)
    """Channels of each level of the U-Net over ``width``."""
    blocks: int = Field(2, ge=1)
    """Residual blocks a level."""
    views_per_avatar: int = Field(300, ge=1)
    """Training views of an avatar that it learns from, and the frontal one."""
    perceptual_weight: float = Field(0.1, ge=0)
    """Weight of the distance of CLIP's feature maps on patches."""


class TrainConfig(Record):
    """Where training runs."""

    workers: int = Field(1, ge=1)
    """Ray Train workers a model."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPUs and torch threads of a worker."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the networks' forward pass; weights stay float32."""


class GenerateConfig(Record):
    """Stage ``generate``."""

    num: int = Field(8, ge=1)
    """Avatars made from noise by ``run``."""
    base_steps: int = Field(100, ge=1)
    upsampler_steps: int = Field(50, ge=1)
    latent_steps: int = Field(50, ge=1)
    guidance: float = Field(2.0, ge=0)
    """Classifier-free guidance weight; 1 is none."""
    edit_strength: float = Field(1.0, ge=0)
    """Factor on the difference of text latents that an edit adds."""
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


class RunConfig(Record):
    """Everything that a run is."""

    preset: str = "paper"
    """Name of the preset that it began with."""
    renders_from: str = ""
    """Another run whose renders this one reads; empty renders its own."""
    seed: int = Field(0, ge=0, lt=2**31)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$", json_schema_extra=_OPERATIONAL)
    """Torch device of fits and models; auto takes CUDA where there is one."""
    render: RenderConfig = RenderConfig()
    ingest: IngestConfig = IngestConfig()
    planes: PlanesConfig = PlanesConfig()
    decoder: DecoderConfig = DecoderConfig()
    fit: FitConfig = FitConfig()
    own: OwnConfig = OwnConfig()
    train: TrainConfig = Field(TrainConfig(), json_schema_extra=_OPERATIONAL)
    clip: ClipConfig = ClipConfig()
    base: BaseConfig = BaseConfig()
    upsampler: UpsamplerConfig = UpsamplerConfig()
    latent: LatentConfig = LatentConfig()
    refiner: RefinerConfig = RefinerConfig()
    generate: GenerateConfig = GenerateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        if self.decoder.min_avatars > self.decoder.avatars:
            raise ValueError(
                f"decoder.min_avatars {self.decoder.min_avatars} is more than decoder.avatars {self.decoder.avatars}"
            )
        if len(self.training_avatars()) < self.decoder.avatars:
            raise ValueError(
                f"decoder.avatars is {self.decoder.avatars}, but render.num_avatars {self.render.num_avatars} "
                f"leaves only {len(self.training_avatars())} that are not held out"
            )
        refined = self.refiner.input_side * self.refiner.scale
        if refined > self.render.resolution and not self.is_ingested:  # no model is trained on captures
            raise ValueError(
                f"refiner.input_side {self.refiner.input_side} times refiner.scale {self.refiner.scale} is {refined}, "
                f"more than render.resolution {self.render.resolution}: there is no such sharp image to learn from"
            )
        if self.clip.image_size % self.clip.patch_size or self.clip.width % self.clip.heads:
            raise ValueError(
                f"clip.patch_size {self.clip.patch_size} must divide clip.image_size {self.clip.image_size}, "
                f"and clip.heads {self.clip.heads} clip.width {self.clip.width}"
            )
        for name in ("base", "upsampler", "latent"):
            process, steps = getattr(self, name).diffusion, getattr(self.generate, f"{name}_steps")
            if steps > process.timesteps or (process.sampler == "ddim" and process.timesteps % steps):
                raise ValueError(
                    f"generate.{name}_steps {steps} must divide {name}.diffusion.timesteps {process.timesteps}"
                )
        for name, unet, side in (
            ("base", self.base.unet, self.planes.base_resolution),
            ("upsampler", self.upsampler.unet, self.planes.resolution),
        ):
            if side % 2 ** (len(unet.multipliers) - 1):
                raise ValueError(
                    f"{name}.unet.multipliers has {len(unet.multipliers)} levels, but planes of side {side} "
                    f"cannot be halved {len(unet.multipliers) - 1} times"
                )
        return self

    @property
    def is_ingested(self) -> bool:
        """Whether captures stand in place of renders."""
        return bool(self.ingest.sha256)

    def is_held_out(self, avatar: int) -> bool:
        """Whether an avatar, by index, is kept from every decoder, CLIP, statistic and model."""
        every = self.render.held_out_every
        return avatar % every == every - 1

    def training_avatars(self) -> tuple[int, ...]:
        """Indices of the avatars that are not held out."""
        return tuple(i for i in range(self.render.num_avatars) if not self.is_held_out(i))

    def decoder_avatars(self) -> tuple[int, ...]:
        """Indices of the avatars that the shared decoder is fitted on."""
        return self.training_avatars()[: self.decoder.avatars]

    def plane_spec(self) -> PlaneSpec:
        """Shape and meaning of the run's planes."""
        return PlaneSpec(
            resolution=self.planes.resolution,
            base_resolution=self.planes.base_resolution,
            channels=self.planes.channels,
            extent_m=self.render.extent_m,
        )

    def to_toml(self) -> str:
        """The whole tree as TOML, as ``run.toml`` holds it."""
        return tomli_w.dumps(self.model_dump(mode="json"))


STAGE_SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "render": ("render",),
    "decoder": ("planes", "decoder", "fit"),
    "fit": ("planes", "fit"),
    "own": ("planes", "decoder", "fit", "own"),
    "clip": ("clip",),
    "encode": (),
    "base": ("base",),
    "upsampler": ("upsampler",),
    "latent": ("latent",),
    "refiner": ("refiner",),
    "generate": ("generate",),
    "evaluate": ("evaluate",),
}
"""Stages in order, and the sections of the configuration that each reads itself."""

RUN_STAGES: Final = tuple(stage for stage in STAGE_SECTIONS if stage != "own")
"""The stages of ``rodin-pipe run``; ``own`` is for those who ask for it."""

INGESTED_SECTIONS: Final = {"ingest": (), "render": ("extent_m", "held_out_every", "shard_size")}
"""What an ingested run's renders depend on: sections, and fields of a section where it is not all of them."""

NOT_READ: Final = {
    ("decoder", "fit"): ("steps", "min_psnr", "render_samples", "threads"),
    ("own", "planes"): ("base_resolution",),
    ("own", "decoder"): ("avatars", "min_avatars", "steps_per_avatar", "threads"),
    ("own", "fit"): ("steps", "min_psnr"),
}
"""Fields of a section that a stage, unlike the section's own, does not read."""

MODELS: Final = ("clip", "encode", "base", "upsampler", "latent", "refiner")
"""The stages that ``rodin-pipe train`` runs; ``--redo train`` names them all."""

STAGE_INPUTS: Final[dict[str, tuple[str, ...]]] = {
    "render": (),
    "decoder": ("render",),
    "fit": ("decoder",),
    "own": ("render",),
    "clip": ("render",),
    "encode": ("clip",),
    "base": ("fit", "encode"),
    "upsampler": ("fit", "encode"),
    "latent": ("encode",),
    "refiner": ("fit", "encode"),
    "generate": ("base", "upsampler", "latent", "refiner"),
    "evaluate": ("generate",),
}
"""The stages whose output each stage reads."""


def stage_fingerprints(config: RunConfig) -> dict[str, str]:
    """Hash of what each stage's output depends on, per stage: 16 hex digits."""
    dumped = config.model_dump(mode="json")
    fingerprints: dict[str, str] = {}
    for stage in STAGE_SECTIONS:
        facts: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "seed": config.seed,
            "sections": {
                section: {name: dumped[section][name] for name in names}
                for section, names in fields_read(stage, config).items()
            },
            "inputs": {name: fingerprints[name] for name in STAGE_INPUTS[stage]},
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        fingerprints[stage] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return fingerprints


def stages_after(stage: str) -> tuple[str, ...]:
    """The stage itself and all that depend on it, in order."""
    found = {stage}
    for name, inputs in STAGE_INPUTS.items():
        if found.intersection(inputs):
            found.add(name)
    return tuple(name for name in STAGE_SECTIONS if name in found)


def load_config(
    *,
    run_toml: Path | None = None,
    preset: str | None = None,
    file: Path | None = None,
    settings: Sequence[str] = (),
    renders: Path | None = None,
) -> RunConfig:
    """Compose a configuration; raises ``ConfigError`` with one line for whatever is wrong.

    ``preset`` or ``file`` start afresh; without both, ``run_toml`` (an existing run's own configuration) is the
    ground that ``settings`` change. ``renders`` is another run: its population is taken over with its renders.
    """
    tree: dict[str, Any] = {}
    if preset is None and file is None and run_toml is not None:
        tree = _read_toml(run_toml)
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
        text = (Path(__file__).parent / "presets" / f"{preset}.toml").read_text("utf-8")
        tree = {"preset": preset, **tomllib.loads(text)}
    if file is not None:
        tree = _merged(tree, _read_toml(file))
    for setting in settings:
        tree = _merged(tree, _parse_setting(setting))
    if renders is not None:
        other = _read_toml(renders / "run.toml")
        tree |= {"renders_from": str(renders.resolve()), "seed": other["seed"], "render": other["render"]}
        tree["ingest"] = other.get("ingest", {})
    try:
        # Through JSON: there, arrays become tuples while everything else stays strict.
        config = RunConfig.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None
    return _with_specs(config)


def read_specs(config: RunConfig) -> tuple[AvatarSpec, ...]:
    """The avatars that ``render.specs`` fixes; raises ``ConfigError`` with one line for whatever is wrong with it."""
    where = f"spec file {config.render.specs}"
    text = _spec_text(config)
    if hashlib.sha256(text.encode()).hexdigest() != config.render.specs_sha256:
        raise ConfigError(f"{where} is not what it was when the run was configured; start the command again")
    return parse_specs(text, where, config.seed, config.render.population)


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
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"configuration file {path} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"configuration file {path} is no valid TOML: {error}") from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def fields_read(stage: str, config: RunConfig) -> dict[str, tuple[str, ...]]:
    """Sections that a stage's output depends on, and their fields that enter its fingerprint."""
    if stage == "render" and config.is_ingested:
        return {section: names or lasting_fields(stage, section) for section, names in INGESTED_SECTIONS.items()}
    return {section: lasting_fields(stage, section) for section in STAGE_SECTIONS[stage]}


def lasting_fields(stage: str, section: str) -> tuple[str, ...]:
    """Names of the fields of a section that enter a stage's fingerprint."""
    unread = NOT_READ.get((stage, section), ())
    annotation = RunConfig.model_fields[section].annotation
    assert isinstance(annotation, type) and issubclass(annotation, Record)
    return tuple(
        name
        for name, field in annotation.model_fields.items()
        if name not in unread
        and not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("operational"))
    )


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, _all_keys(RunConfig), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(_siblings(first['loc']))}"
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
