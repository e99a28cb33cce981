"""Sections of the configuration that say how models are built and trained; see ``config`` for the whole tree."""

from typing import Literal

from pydantic import Field

from pipeline.config.setting import OPERATIONAL
from pipeline.contracts.record import Record


class TrainingConfig(Record):
    """What every training loop has."""

    steps: int = Field(..., ge=1)
    batch: int = Field(..., ge=1)
    """Items that go through the model at once, over all workers; with fewer avatars than that, some are in it again."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged in a step, which then sees ``batch`` times as many items in the memory of
    one batch. Noise is drawn batch by batch; CLIP compares within a batch."""
    learning_rate: float = Field(1e-4, gt=0)
    optimiser: Literal["adamw", "muon"] = "adamw"
    """What moves the weights: AdamW all of them, or Muon the kernels inside of the network and AdamW the rest."""
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: int = Field(100, ge=0)
    """First steps, over which the learning rate rises."""
    decay_share: float = Field(0.0, ge=0, le=1)
    """Share of the steps, at the end, over which the learning rate falls linearly to about 0; at 0 it holds."""
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    """Of the averaged weights, which are measured and published."""
    ema_lengths: tuple[float, ...] = ()
    """Further averages, by power functions (EDM2), of which the one with the lowest held-out loss is published if it is
    lower than theirs: lengths as a share of the training, 0.03 to 0.2. Until the end this takes 16 times the disk of
    the weights."""
    checkpoint_every: int = Field(5000, ge=1, json_schema_extra=OPERATIONAL)
    """Steps between checkpoints; a restart goes on from the last."""
    log_every: int = Field(50, ge=1, json_schema_extra=OPERATIONAL)
    """Steps between points of the loss curve."""
    held_out_every: int = Field(0, ge=0)
    """Steps between measurements of the loss on held-out avatars, with averaged weights, without dropout, at the same
    noise every time; 0 for none. No weight learns from them: at most they decide which weights are kept."""
    held_out_avatars: int = Field(32, ge=1)
    """Most held-out avatars that it is measured on: the first ones."""
    keep: Literal["last", "best"] = "last"
    """Which averaged weights are published: the last ones, or those with the lowest held-out loss."""
    patience: int = Field(0, ge=0)
    """Measurements without a lower held-out loss after which the training ends early; 0 for never."""


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
    picture_weight: float = Field(0.0, ge=0)
    """Weight of how well an image's latent draws the small frontal picture of its person, linearly."""
    likeness: int = Field(0, ge=0)
    """Principal components of small frontal pictures that are the image latent, in place of CLIP's own, which knows a
    few hundred people by heart and says less of strangers; 0 for none. Texts are CLIP's in either case."""
    sentences: int = Field(0, ge=0)
    """People who are drawn and never rendered, about whom the text encoder reads sentences in everyday words beside
    each batch of pairs, and learns to tell what they look like; 0 for none."""
    sentence_weight: float = Field(1.0, gt=0)
    """Weight of how unexpected their looks are, in nats a sentence."""
    lock_image: bool = False
    """The text encoder of the CLIP that a run starts from learns on, its image encoder stays what it is; at false, the
    whole of it stays."""
    augment_exposure: float = Field(0.0, ge=0, le=3)
    """Pictures that it learns from are lighter or darker by up to so many stops; photographs are less foreign then."""
    augment_white_balance: float = Field(0.0, ge=0, le=2)
    """Warmer or colder by up to so many stops of red against blue."""
    augment_gamma: float = Field(0.0, ge=0, le=2)
    """Colours to the power of 2 ** +-gamma."""
    augment_contrast: float = Field(0.0, ge=0, lt=1)
    """Contrast of 1 +- this."""
    augment_shift: float = Field(0.0, ge=0, le=1)
    """Moved by up to this share of half a side, each way."""
    augment_scale: float = Field(0.0, ge=0, le=2)
    """Larger or smaller by a factor of up to 1 + scale."""
    augment_rotation_deg: float = Field(0.0, ge=0, le=180)
    """Turned by up to so many degrees, either way."""
    augment_background: float = Field(0.0, ge=0, le=1)
    """Share of pictures before a random colour or gradient instead of white."""
    augment_blur: float = Field(0.0, ge=0, le=10)
    """Blurred by a Gaussian of up to so many hundredths of a side."""
    augment_jpeg: float = Field(0.0, ge=0, le=10)
    """Compressed by up to this times the steps of JPEG's quality 50."""


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
    zero_terminal_snr: bool = False
    """The last step is pure noise (Lin et al. 2023, algorithm 1); for predictions v and x0."""
    min_snr: float = Field(0.0, ge=0)
    """gamma of min-SNR weighting (Hang et al. 2023), 5 in that paper; 0 weighs the error of every step alike."""
    eta: float = Field(0.0, ge=0, le=1)
    """Noise of sampler ddim: 0 deterministic, 1 as in DDPM."""
    snr_spread: float = Field(0.0, ge=0)
    """Noise levels of training lie around SNR 1, log SNR this far on average (Hang et al. 2024: 0.5); 0 draws steps
    uniformly."""


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
    patch: int = Field(1, ge=1)
    """Texels a side that are one position of the first level: at 2, planes of twice the side cost hardly more."""
    bypass: bool = False
    """Whether the noisy planes also reach the output directly, by a learned gain: for patches of more channels than
    ``width``."""
    dropout: float = Field(0.1, ge=0, lt=1)
    recompute: bool = Field(False, json_schema_extra=OPERATIONAL)
    """Compute blocks again in the backward pass instead of keeping their activations: less memory, more time."""


class BaseConfig(TrainingConfig):
    """Stage ``base``: latent-conditioned diffusion of the base planes."""

    steps: int = Field(500_000, ge=1)
    batch: int = Field(32, ge=1)
    unet: UNetConfig = UNetConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    latent_dropout: float = Field(0.2, ge=0, le=1)
    """Share of items whose latent is dropped (0.2 in the paper)."""
    early_share: float = Field(0.0, ge=0, lt=1)
    """Averaged weights after this share of the steps are published beside the others, for ``generate.autoguidance``
    (about 1/16 in Karras et al. 2024); 0 publishes none."""
    linear: bool = False
    """The model stands on a linear prediction from the latent (eigen-planes and a ridge regression, published with it)
    and learns what is left over."""
    components: int = Field(340, ge=1)
    """Most eigen-planes of that prediction."""
    shown_share: float = Field(0.0, ge=0, le=1)
    """Share of the loss that weighs texels by how much they show in pictures; the rest weighs all alike."""


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
    residual: bool = False
    """What is diffused is what bicubic enlargement leaves over, texel by texel."""
    image_weight: float = Field(0.1, ge=0)
    """Weight of the image loss on rendered patches."""
    perceptual_weight: float = Field(0.0, ge=0)
    """Weight of the distance of CLIP's feature maps on them; 0 for none."""
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
    sentences: int = Field(0, ge=0)
    """Sentences about each avatar, in everyday words and in part, that it learns from beside the caption."""
    drawn_people: int = Field(0, ge=0)
    """People who are drawn and never rendered, whose latents are taken to be what their looks make one expect."""
    drawn_share: float = Field(0.7, ge=0, le=1)
    """Share of a batch that is about them, where there are some."""


class FrontalUNetConfig(UNetConfig):
    """The frontal model's UNet, over a picture in squares of 2 x 2 pixels."""

    width: int = Field(128, ge=8)
    multipliers: tuple[int, ...] = (1, 2, 3)
    attention_sides: tuple[int, ...] = (16,)
    aware_levels: Literal[0] = 0
    patch: int = Field(2, ge=1)
    bypass: bool = True


class FrontalDiffusionConfig(DiffusionConfig):
    """The frontal picture's process."""

    input_scale: float = Field(0.4, gt=0)
    clip: float = Field(4.0, ge=0)
    eta: float = Field(1.0, ge=0, le=1)


class FrontalConfig(TrainingConfig):
    """Stage ``frontal``: diffusion of the frontal picture of whom an image latent stands for."""

    steps: int = Field(100_000, ge=1)
    batch: int = Field(64, ge=1)
    side: int = Field(128, ge=32, multiple_of=32)
    """Pixels a side."""
    latent_noise: float = Field(0.0, ge=0, le=2)
    """Latents that it learns from are off by up to so many deviations: drawn ones are never quite somebody's."""
    unet: FrontalUNetConfig = FrontalUNetConfig()
    diffusion: FrontalDiffusionConfig = FrontalDiffusionConfig()
    latent_dropout: float = Field(0.1, ge=0, le=1)
    """Share of items whose latent is dropped."""


class HeadUNetConfig(FrontalUNetConfig):
    """The head model's UNet, over single pixels."""

    patch: int = Field(1, ge=1)


class HeadConfig(TrainingConfig):
    """Stage ``head``: diffusion of the square around the head of a frontal picture, which is drawn again by it."""

    steps: int = Field(100_000, ge=1)
    batch: int = Field(64, ge=1)
    side: int = Field(64, ge=8)
    """Pixels a side of the square; the picture's are ``frontal.side``."""
    middle: tuple[float, float] = (0.5, 0.4)
    """Where its middle is, as shares of the picture's side: from the left, from the top."""
    coarse_side: int = Field(32, ge=4)
    """Pixels a side to which a picture is made small for what is shown of it."""
    noise: float = Field(0.05, gt=0, le=1)
    """Deviation of the most noise of the small picture: what is drawn first is never quite right."""
    unet: HeadUNetConfig = HeadUNetConfig()
    diffusion: FrontalDiffusionConfig = FrontalDiffusionConfig()


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
    samples: int = Field(48, ge=1)
    """Samples a ray of the rendered images that it learns from; those it refines have ``generate.samples``."""
    from_base: float = Field(0.0, ge=0, le=1)
    """Share of the pictures it learns from that are rendered from base planes, enlarged and with people's mean detail:
    as soft as what is generated, which is what it has to refine. The others are rendered from fitted planes."""
    blend: float = Field(0.0, ge=0, lt=0.5)
    """Largest weight of somebody else's base planes in those: generated people are a little of several."""
    perceptual_weight: float = Field(0.1, ge=0)
    """Weight of the distance of CLIP's feature maps on patches."""
    adversarial_weight: float = Field(0.0, ge=0)
    """Weight of a patch discriminator's judgement, which is trained beside the refiner; at 0 there is none."""
    patch: int = Field(64, ge=16)
    """Side in pixels of the patches of refined images that both of these see, at most the image's."""


class TrainConfig(Record):
    """Where training runs, and in which arithmetic."""

    workers: int = Field(1, ge=1, json_schema_extra=OPERATIONAL)
    """Ray Train workers a model."""
    cpus_per_worker: int = Field(1, ge=1, json_schema_extra=OPERATIONAL)
    """CPUs and torch threads of a worker. The last bits depend on both, but a training may go on with others."""
    start_from: str = Field("", json_schema_extra=OPERATIONAL)
    """Decoder and models that are taken up: a run, a folder of ``export models``, or "released" for those that come
    with this installation. Decoder, CLIP and eigen-planes stay as they are, the other models go on from them. Empty
    begins from nothing."""
    start_from_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Of their content; filled in when the configuration is made."""
    mirror: bool = False
    """Mirrored avatars are learned from too, by all models on planes or latents: twice as many people."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Arithmetic of the networks' forward pass; weights stay float32. auto takes bfloat16 on CUDA and on a CPU that
    multiplies in it (AMX, AVX512-BF16); other CPUs take twenty times as long by it, and auto takes float32 there."""
