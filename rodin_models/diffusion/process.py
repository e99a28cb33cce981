"""Gaussian diffusion in discrete time: noise schedules, what the network predicts, the loss, and sampling.

With abar(t) the share of signal power left at step t = 0 .. T - 1, noise eps ~ N(0, 1):

    x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps                                   (1)  Ho et al. 2020, eq. 4
    v   = sqrt(abar) eps - sqrt(1 - abar) x_0                                   (2)  Salimans and Ho 2022
    x_0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar) = sqrt(abar) x_t - sqrt(1 - abar) v                          (3)
    SNR = abar / (1 - abar)                                                     (4)

Schedules give abar by a continuous time s = (t + 1) / T:

    cosine    cos^2((s + 0.008) / 1.008 * pi / 2), scaled to 1 at s = 0         (5)  Nichol and Dhariwal 2021
    linear    product of 1 - beta, beta linear from 0.1 / T to 20 / T           (6)  Ho et al. 2020
    sigmoid   (sigmoid(3) - sigmoid(6 s - 3)) / (sigmoid(3) - sigmoid(-3))      (7)  Jabri et al. 2022

Tri-planes are large and redundant, so a schedule made for small images leaves them too clean (RodinHD, "more
noise"). ``input_scale`` b shrinks the signal as in Chen 2023, "On the importance of noise scheduling", at constant
variance:

    SNR' = b^2 SNR, so abar' = b^2 abar / (b^2 abar + 1 - abar)                 (8)

Training need not see all steps alike: around an SNR of 1 a network has the most to learn (Hang et al. 2024, "Improved
noise schedule"). With a ``snr_spread`` c, log SNR is drawn from a Laplace distribution of scale c around 0:

    p(t) ~ exp(-|log SNR(t)| / c) |d log SNR / dt|                              (9)

Where something is known of x_0 beforehand, a centre m, the network models what is left over, r = x_0 - m. With
x_t - sqrt(abar) m it sees r noised by the same eps, and its prediction for r is one for x_0:

    x_0 = m + r,    eps = eps_r,    v = v_r - sqrt(1 - abar) m                   (10)

Sampling is done by diffusers' schedulers on our betas. Predictions are turned into x_0 here by (3) and handed over
as such, so that clipping and guidance are the same for all kinds. Nothing here knows what shape data has, or what a
network is: a denoiser is a callable of noisy data and time.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rodin_models.seeding import normal

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Noisy data (batch, ...) and time s in (0, 1] (batch) to the prediction, of the data's shape."""

MAX_BETA = 0.999


@dataclass(frozen=True)
class DiffusionSettings:
    """How data is noised, what is predicted and how samples are drawn.

    Raises ``ValueError`` for values out of their range or that contradict each other.
    """

    timesteps: int = 1000
    """T."""
    schedule: Literal["cosine", "linear", "sigmoid"] = "cosine"
    """Equations (5) to (7)."""
    input_scale: float = 1.0
    """b of equation (8): below 1, more noise."""
    zero_terminal_snr: bool = False
    """Rescale sqrt(abar) so that the last step is pure noise (Lin et al. 2023, algorithm 1)."""
    prediction: Literal["epsilon", "v", "x0"] = "v"
    """What the network gives: eps, v of equation (2), or x_0."""
    min_snr: float | None = None
    """gamma of min-SNR weighting (Hang et al. 2023); None weighs every step's prediction error alike."""
    clip: float | None = None
    """Predicted x_0 is clipped to within ``clip`` of its centre while sampling, in the network's units; None for no
    clipping."""
    sampler: Literal["ddim", "dpm"] = "ddim"
    """DDIM (Song et al. 2021) or second-order DPM-Solver++ (Lu et al. 2022)."""
    eta: float = 0.0
    """Noise of DDIM: 0 deterministic, 1 as in DDPM."""
    snr_spread: float | None = None
    """c of equation (9), 0.5 in that paper; None draws the steps of training uniformly."""

    def __post_init__(self) -> None:
        if self.timesteps < 2:
            raise ValueError(f"timesteps {self.timesteps} must be at least 2")
        if not self.input_scale > 0:
            raise ValueError(f"input_scale {self.input_scale} must be positive")
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise ValueError("a step of pure noise says nothing of x_0 to an epsilon prediction: use v or x0")
        if self.zero_terminal_snr and self.min_snr is not None:
            raise ValueError("min_snr gives a step of pure noise weight 0, so it would never be learned: drop one")
        if self.min_snr is not None and not self.min_snr > 0:
            raise ValueError(f"min_snr {self.min_snr} must be positive")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta {self.eta} is a setting of the ddim sampler")
        if self.snr_spread is not None and not self.snr_spread > 0:
            raise ValueError(f"snr_spread {self.snr_spread} must be positive")


def noise_betas(settings: DiffusionSettings) -> Float[Tensor, "step"]:
    """beta(t) = 1 - abar(t) / abar(t - 1) in float32: equations (5) to (8), capped at 0.999 but for a zero SNR.

    Raises ``ValueError`` for an unknown schedule.
    """
    steps = settings.timesteps
    s = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    if settings.schedule == "cosine":
        abar = torch.cos((s + 0.008) / 1.008 * (math.pi / 2)) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    elif settings.schedule == "linear":
        betas = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64)
        abar = (1 - betas.clamp(max=MAX_BETA)).cumprod(0)
    elif settings.schedule == "sigmoid":
        top, bottom = torch.sigmoid(torch.tensor([3.0, -3.0], dtype=torch.float64))
        abar = (top - torch.sigmoid(6 * s - 3)) / (top - bottom)
    else:
        raise ValueError(f"unknown noise schedule {settings.schedule!r}: cosine, linear or sigmoid")
    abar = abar.clamp(0, 1)
    scale = settings.input_scale**2
    abar = scale * abar / (scale * abar + 1 - abar)
    if settings.zero_terminal_snr:
        root = abar.sqrt()
        abar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    betas = 1 - abar / torch.cat((torch.ones(1, dtype=torch.float64), abar[:-1]))
    if settings.zero_terminal_snr:
        betas[:-1].clamp_(max=MAX_BETA)
    else:
        betas.clamp_(max=MAX_BETA)
    return betas.float()


def step_chances(abar: Float[Tensor, "step"], spread: float) -> Float[Tensor, "step"]:
    """Chance of each step by equation (9); they sum to 1."""
    power = abar.double().clamp(1e-12, 1 - 1e-12)
    log_snr = (power / (1 - power)).log()
    (slope,) = torch.gradient(log_snr)
    chances = torch.exp(-log_snr.abs() / spread) * slope.abs()
    return (chances / chances.sum()).float()


class Noised(NamedTuple):
    """A training draw: noisy data by equation (1), the noise in it, and its step."""

    noisy: Tensor
    """(batch, ...), x_t."""
    noise: Tensor
    """(batch, ...), eps."""
    step: Tensor
    """(batch), t from 0."""


class Diffusion:
    """The noise process of one :class:`DiffusionSettings`, and sampling back through it."""

    def __init__(self, settings: DiffusionSettings) -> None:
        self.settings = settings
        self.betas = noise_betas(settings)
        # As diffusers computes it, so that training and sampling agree to the last bit.
        self.abar = torch.cumprod(1.0 - self.betas, dim=0)
        self.chances = None if settings.snr_spread is None else step_chances(self.abar, settings.snr_spread)

    def time(self, step: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Continuous time s = (t + 1) / T, what networks are told."""
        return (step + 1).float() / self.settings.timesteps

    def step(self, time: Float[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """The inverse of :meth:`time`."""
        return (time * self.settings.timesteps).round().long() - 1

    def signal_and_noise(
        self, step: Int[Tensor, "batch"], like: Float[Tensor, "batch *data"]
    ) -> tuple[Float[Tensor, "batch *ones"], Float[Tensor, "batch *ones"]]:
        """sqrt(abar) and sqrt(1 - abar), shaped to multiply ``like``."""
        abar = self.abar.to(like.device)[step].view(-1, *[1] * (like.ndim - 1))
        return abar.sqrt().to(like.dtype), (1 - abar).sqrt().to(like.dtype)

    def add_noise(
        self, x0: Float[Tensor, "batch *data"], noise: Float[Tensor, "batch *data"], step: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch *data"]:
        """Equation (1)."""
        signal, spread = self.signal_and_noise(step, x0)
        return signal * x0 + spread * noise

    def levels(self, count: int) -> tuple[tuple[float, float], ...]:
        """The middles of ``count`` equal bins of time, each with the share of training's draws in it."""
        steps = self.settings.timesteps
        chances = torch.full((steps,), 1 / steps) if self.chances is None else self.chances
        bins = torch.zeros(count).index_add(0, torch.arange(steps) * count // steps, chances)
        return tuple(((i + 0.5) / count, share) for i, share in enumerate(bins.tolist()))

    def draw(self, x0: Float[Tensor, "batch *data"], generator: torch.Generator, time: float | None = None) -> Noised:
        """Noise ``x0`` at steps drawn uniformly, or by equation (9); all at the step of ``time`` where one is given."""
        count, batch, device = self.settings.timesteps, x0.shape[0], generator.device
        if time is not None:
            steps = self.step(torch.full((batch,), time)).clamp(min=0).to(x0.device)
        elif self.chances is None:
            steps = torch.randint(count, (batch,), generator=generator, device=device).to(x0.device)
        else:
            steps = torch.multinomial(self.chances.to(device), batch, replacement=True, generator=generator).to(
                x0.device
            )
        noise = normal(x0, generator)
        return Noised(self.add_noise(x0, noise, steps), noise, steps)

    def around(
        self,
        network: Denoiser,
        noisy: Float[Tensor, "batch *data"],
        time: Float[Tensor, "batch"],
        centre: Float[Tensor, "batch *data"],
    ) -> Float[Tensor, "batch *data"]:
        """The prediction for x_0 of a ``network`` that models what is left over of it around ``centre``: (10)."""
        signal, spread = self.signal_and_noise(self.step(time), noisy)
        prediction = network(noisy - signal * centre, time)
        if self.settings.prediction == "x0":
            return prediction + centre
        return prediction - spread * centre if self.settings.prediction == "v" else prediction

    def target(
        self, x0: Float[Tensor, "batch *data"], noise: Float[Tensor, "batch *data"], step: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch *data"]:
        """What the network should predict: eps, v of equation (2), or x_0.

        Raises ``ValueError`` for an unknown prediction.
        """
        if self.settings.prediction == "x0":
            return x0
        if self.settings.prediction == "epsilon":
            return noise
        if self.settings.prediction == "v":
            signal, spread = self.signal_and_noise(step, x0)
            return signal * noise - spread * x0
        raise ValueError(f"unknown prediction {self.settings.prediction!r}: epsilon, v or x0")

    def to_x0(
        self, prediction: Float[Tensor, "batch *data"], noisy: Float[Tensor, "batch *data"], step: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch *data"]:
        """The x_0 that a prediction stands for, equation (3). Raises ``ValueError`` for an unknown prediction."""
        if self.settings.prediction == "x0":
            return prediction
        signal, spread = self.signal_and_noise(step, noisy)
        if self.settings.prediction == "epsilon":
            return (noisy - spread * prediction) / signal
        if self.settings.prediction == "v":
            return signal * noisy - spread * prediction
        raise ValueError(f"unknown prediction {self.settings.prediction!r}: epsilon, v or x0")

    def weight(self, step: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Weight of a step's squared prediction error: 1, or min-SNR's.

        min(SNR, gamma) weighs the error of x_0; an error of eps is SNR times as large, one of v SNR + 1 times.
        """
        gamma = self.settings.min_snr
        if gamma is None:
            return torch.ones(step.shape, device=step.device)
        abar = self.abar.to(step.device)[step]
        snr = abar / (1 - abar)
        per_x0_error = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[self.settings.prediction]
        return snr.clamp(max=gamma) / per_x0_error

    def loss(
        self,
        denoise: Denoiser,
        x0: Float[Tensor, "batch *data"],
        generator: torch.Generator,
        time: float | None = None,
        of_values: Float[Tensor, "*data"] | None = None,
    ) -> dict[str, Tensor]:
        """One draw of the training loss: ``loss`` is weighted, ``error`` is the plain mean squared error.

        Steps are drawn, unless ``time`` says at which noise the loss is asked for. ``of_values`` weighs the squared
        error of each value of an item.
        """
        noisy, noise, step = self.draw(x0, generator, time)
        prediction = denoise(noisy, self.time(step)).float()
        squares = (prediction - self.target(x0, noise, step)).square()
        plain = squares.flatten(1).mean(1)
        errors = plain if of_values is None else (of_values * squares).flatten(1).mean(1)
        return {"loss": (self.weight(step) * errors).mean(), "error": plain.mean().detach()}

    def sample(
        self,
        denoise: Denoiser,
        shape: tuple[int, ...],
        num_steps: int,
        generator: torch.Generator,
        device: torch.device,
        centre: Float[Tensor, "batch *data"] | None = None,
        on_step: Callable[[], None] = lambda: None,
        *,
        noise: float = 1.0,
    ) -> Float[Tensor, "batch *data"]:
        """Samples of ``shape`` in ``num_steps`` calls of ``denoise``; x_0 is clipped around a ``centre``, 0 by default.

        The noise that steps of DDIM with eta above 0 add is ``noise`` times what it should be (S_noise of Karras et
        al. 2022): below 1 less of what the network cannot take away again is left, and less variety.
        ``on_step`` is called after each of them; what it raises ends the sampling. DDIM steps through T in equal
        strides, so for it ``num_steps`` must divide T. Raises ``ValueError`` where it does not, and for an unknown
        sampler.
        """
        scheduler = self._scheduler()
        if not 1 <= num_steps <= self.settings.timesteps:
            raise ValueError(f"num_steps {num_steps} must lie in 1 .. {self.settings.timesteps}")
        if self.settings.sampler == "ddim" and self.settings.timesteps % num_steps:
            raise ValueError(f"num_steps {num_steps} must divide timesteps {self.settings.timesteps} for ddim")
        scheduler.set_timesteps(num_steps, device=device)
        extra = {"eta": self.settings.eta} if self.settings.sampler == "ddim" else {}
        scaled = noise != 1 and extra.get("eta", 0.0) > 0
        x = normal(torch.empty(shape, device=device), generator)
        for timestep in scheduler.timesteps:
            step = timestep.long().expand(shape[0])
            x0 = self.to_x0(denoise(x, self.time(step)).float(), x, step)
            if self.settings.clip is not None:
                middle = 0.0 if centre is None else centre
                x0 = middle + (x0 - middle).clamp(-self.settings.clip, self.settings.clip)
            added = {"variance_noise": noise * normal(x, generator)} if scaled else {"generator": generator}
            x = scheduler.step(x0, timestep, x, return_dict=False, **added, **extra)[0]
            on_step()
        return x

    def takes(self, num_steps: int) -> bool:
        """Whether :meth:`sample` can go in so many steps."""
        timesteps = self.settings.timesteps
        return 1 <= num_steps <= timesteps and (self.settings.sampler != "ddim" or timesteps % num_steps == 0)

    def _scheduler(self) -> Any:
        """diffusers' scheduler of our betas, fed with x_0. Imported here because it takes seconds."""
        common: dict[str, Any] = {
            "num_train_timesteps": self.settings.timesteps,
            "trained_betas": self.betas.tolist(),
            "prediction_type": "sample",
            "timestep_spacing": "trailing",
        }
        if self.settings.sampler == "ddim":
            from diffusers.schedulers.scheduling_ddim import DDIMScheduler

            return DDIMScheduler(**common, clip_sample=False)
        if self.settings.sampler == "dpm":
            from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

            # Its rescaling leaves a terminal SNR of zero as it is, and then keeps the first sigma finite.
            return DPMSolverMultistepScheduler(**common, rescale_betas_zero_snr=self.settings.zero_terminal_snr)
        raise ValueError(f"unknown sampler {self.settings.sampler!r}: ddim or dpm")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode and no gradients are kept; its mode is restored."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
