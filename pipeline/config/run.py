"""The configuration of a run: one frozen pydantic tree, written whole into ``run.toml``.

Field defaults are the paper's values where the paper gives one; ``demo`` and ``desk`` only change numbers. What the
models learn by is in ``models``, how a configuration is put together in ``load``, and what of it makes a stage's
output stale in ``run.fingerprint``.
"""

import tomli_w
from pydantic import Field, model_validator

from pipeline.config.models import (
    BaseConfig,
    ClipConfig,
    FrontalConfig,
    HeadConfig,
    LatentConfig,
    RefinerConfig,
    TrainConfig,
    UpsamplerConfig,
)
from pipeline.config.sampling import Sampling
from pipeline.config.setting import OPERATIONAL
from pipeline.config.stages import (
    DecoderConfig,
    EvaluateConfig,
    FitConfig,
    GenerateConfig,
    IngestConfig,
    OwnConfig,
    PlanesConfig,
    RenderConfig,
)
from pipeline.contracts.planes import PlaneSpec
from pipeline.contracts.record import Record


class RunConfig(Record):
    """Everything that a run is."""

    preset: str = Field("paper", json_schema_extra=OPERATIONAL)
    """Name of the preset that it began with."""
    renders_from: str = Field("", json_schema_extra=OPERATIONAL)
    """Another run whose renders this one reads; empty renders its own."""
    seed: int = Field(0, ge=0, lt=2**31)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$", json_schema_extra=OPERATIONAL)
    """Torch device of fits and models; auto takes CUDA where there is one."""
    render: RenderConfig = RenderConfig()
    ingest: IngestConfig = IngestConfig()
    planes: PlanesConfig = PlanesConfig()
    decoder: DecoderConfig = DecoderConfig()
    fit: FitConfig = FitConfig()
    own: OwnConfig = OwnConfig()
    train: TrainConfig = TrainConfig()
    clip: ClipConfig = ClipConfig()
    base: BaseConfig = BaseConfig()
    upsampler: UpsamplerConfig = UpsamplerConfig()
    latent: LatentConfig = LatentConfig()
    frontal: FrontalConfig = FrontalConfig()
    head: HeadConfig = HeadConfig()
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
        if self.fit.start == "predicted" and (self.is_ingested or not self.train.start_from):
            raise ValueError(
                "fit.start is predicted, which takes a frontal picture and the linear model of train.start_from"
                + (": captures have none" if self.is_ingested else ": set train.start_from to a folder of models")
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
        for name in ("clip", "base", "upsampler", "latent", "frontal", "head", "refiner"):
            model = getattr(self, name)
            if not model.held_out_every and (model.keep == "best" or model.patience or model.ema_lengths):
                raise ValueError(
                    f"{name}.keep {model.keep}, {name}.patience {model.patience} and {name}.ema_lengths "
                    f"{list(model.ema_lengths)} go by the held-out loss: set {name}.held_out_every, the steps between "
                    "its measurements, above 0"
                )
            if not all(0.03 <= length <= 0.2 for length in model.ema_lengths):
                raise ValueError(f"{name}.ema_lengths {list(model.ema_lengths)} must lie in 0.03 to 0.2")
        for name in ("base", "upsampler", "latent", "frontal", "head"):
            process, steps = getattr(self, name).diffusion, getattr(self.generate, f"{name}_steps")
            if steps > process.timesteps or (steps and process.sampler == "ddim" and process.timesteps % steps):
                raise ValueError(
                    f"generate.{name}_steps {steps} must divide {name}.diffusion.timesteps {process.timesteps}"
                )
            if process.zero_terminal_snr and process.prediction == "epsilon":
                raise ValueError(
                    f"{name}.diffusion.zero_terminal_snr ends in pure noise, which says nothing of x0 to "
                    f"{name}.diffusion.prediction epsilon: use v or x0"
                )
            if process.zero_terminal_snr and process.min_snr:
                raise ValueError(
                    f"{name}.diffusion.min_snr {process.min_snr} gives the pure noise of "
                    f"{name}.diffusion.zero_terminal_snr no weight, so it would never be learned: drop one"
                )
            if process.eta and process.sampler != "ddim":
                raise ValueError(
                    f"{name}.diffusion.eta {process.eta} is a setting of sampler ddim, and {name}.diffusion.sampler "
                    f"is {process.sampler}"
                )
        for name, unet, side in (
            ("base", self.base.unet, self.planes.base_resolution),
            ("upsampler", self.upsampler.unet, self.planes.resolution),
            ("frontal", self.frontal.unet, self.frontal.side),
            ("head", self.head.unet, self.head.side),
        ):
            what = "pictures" if name in ("frontal", "head") else "planes"
            if side % unet.patch:
                raise ValueError(f"{name}.unet.patch {unet.patch} does not divide the {what}' side {side}")
            if side // unet.patch % 2 ** (len(unet.multipliers) - 1):
                of = f" in patches of {unet.patch}" if unet.patch > 1 else ""
                raise ValueError(
                    f"{name}.unet.multipliers has {len(unet.multipliers)} levels, but {what} of side {side}{of} "
                    f"cannot be halved {len(unet.multipliers) - 1} times"
                )
        if self.generate.frontal_steps and not (self.base.linear and self.generate.portrait_steps):
            raise ValueError(
                f"generate.frontal_steps {self.generate.frontal_steps} draws pictures for planes to be fitted to: that "
                "takes base.linear and generate.portrait_steps, or set it to 0"
            )
        if self.generate.head_steps:
            self._head_fits()
        return self

    def _head_fits(self) -> None:
        """Raises ``ValueError`` where a head that is to be drawn again has no picture to lie in."""
        head, side, (left, top) = self.head, self.frontal.side, self.head_corner()
        if not self.generate.frontal_steps:
            raise ValueError(
                f"generate.head_steps {self.generate.head_steps} draws the head of a frontal picture again: that takes "
                "generate.frontal_steps, or set it to 0"
            )
        if min(left, top) < 0 or max(left, top) + head.side > side:
            raise ValueError(
                f"head.side {head.side} around head.middle {list(head.middle)} leaves the picture of "
                f"frontal.side {side}"
            )
        if head.coarse_side >= side:
            raise ValueError(f"head.coarse_side {head.coarse_side} makes nothing small: frontal.side is {side}")

    @property
    def is_ingested(self) -> bool:
        """Whether captures stand in place of renders."""
        return bool(self.ingest.sha256)

    def is_held_out(self, avatar: int) -> bool:
        """Whether an avatar, by index, is kept from every decoder, CLIP, statistic and model."""
        every = self.render.held_out_every
        return avatar % every == every - 1

    def head_corner(self) -> tuple[int, int]:
        """Column and row of the frontal picture where the square around its head begins."""
        across, down = (int(share * self.frontal.side - self.head.side / 2) for share in self.head.middle)
        return across, down

    def training_avatars(self) -> tuple[int, ...]:
        """Indices of the avatars that are not held out."""
        return tuple(i for i in range(self.render.num_avatars) if not self.is_held_out(i))

    def decoder_avatars(self) -> tuple[int, ...]:
        """Indices of the avatars that the shared decoder is fitted on; none where ``train.start_from`` gives it."""
        return () if self.train.start_from else self.training_avatars()[: self.decoder.avatars]

    def plane_spec(self) -> PlaneSpec:
        """Shape and meaning of the run's planes."""
        return PlaneSpec(
            resolution=self.planes.resolution,
            base_resolution=self.planes.base_resolution,
            channels=self.planes.channels,
            extent_m=self.render.extent_m,
        )

    def sampling(self) -> Sampling:
        """What generation goes by."""
        return Sampling(
            seed=self.seed,
            device=self.device,
            threads=self.fit.threads,
            planes=self.plane_spec(),
            distance=self.render.distance,
            fov_deg=self.render.fov_deg,
            generate=self.generate,
        )

    def to_toml(self) -> str:
        """The whole tree as TOML, as ``run.toml`` holds it."""
        return tomli_w.dumps(self.model_dump(mode="json"))
