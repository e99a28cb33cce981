"""Schedules, predictions, the loss and sampling, against closed forms for Gaussian data."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rodin_models.diffusion.process import MAX_BETA, Denoiser, Diffusion, DiffusionSettings, evaluating, noise_betas

KINDS = ("epsilon", "v", "x0")
SCHEDULES = ("cosine", "linear", "sigmoid")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(batch: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded(3)
    x0 = torch.randn(batch, 2, 5, generator=generator)
    return x0, torch.randn(batch, 2, 5, generator=generator), torch.randint(1000, (batch,), generator=generator)


def gaussian_oracle(diffusion: Diffusion, mean: float, std: float) -> Denoiser:
    """The best denoiser of data that is N(mean, std^2): E[x_0 | x_t], turned into what is predicted."""

    def denoise(noisy: Tensor, time: Tensor) -> Tensor:
        step = (time * diffusion.settings.timesteps).round().long() - 1
        abar = diffusion.abar.double()[step][:, None]
        x = noisy.double()
        x0 = mean + std**2 * abar.sqrt() / (std**2 * abar + 1 - abar) * (x - abar.sqrt() * mean)
        if diffusion.settings.prediction == "x0":
            return x0.float()
        eps = (x - abar.sqrt() * x0) / (1 - abar).sqrt()
        if diffusion.settings.prediction == "epsilon":
            return eps.float()
        return (abar.sqrt() * eps - (1 - abar).sqrt() * x0).float()

    return denoise


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_schedules_fall_from_almost_one_to_almost_zero(schedule: str, steps: int) -> None:
    diffusion = Diffusion(DiffusionSettings(timesteps=steps, schedule=schedule))
    assert (diffusion.abar.diff() < 0).all()
    assert diffusion.abar[0] > 1 - 2 / steps
    assert 0 < diffusion.abar[-1] < 1e-3
    assert diffusion.betas.max() <= MAX_BETA


def test_schedules_meet_their_formulas_half_way() -> None:
    def half(schedule: str) -> float:
        return Diffusion(DiffusionSettings(schedule=schedule)).abar[499].item()

    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert half("cosine") == pytest.approx(math.cos(0.508 / 1.008 * math.pi / 2) ** 2 / start, rel=1e-4)
    assert half("sigmoid") == pytest.approx(0.5, rel=1e-4)
    # log of the product of 1 - beta, beta rising from 1e-4 to about 0.01 in 500 steps: - 500 * 0.00506, second
    # order - 500 * (3.4e-5) / 2.
    assert math.log(half("linear")) == pytest.approx(-500 * 0.00507 - 500 * 3.4e-5 / 2, rel=0.01)


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_input_scale_multiplies_the_snr_by_its_square(scale: float) -> None:
    plain = Diffusion(DiffusionSettings(schedule="linear")).abar.double()
    scaled = Diffusion(DiffusionSettings(schedule="linear", input_scale=scale)).abar.double()
    ratio = (scaled / (1 - scaled)) / (plain / (1 - plain))
    torch.testing.assert_close(ratio[10:], torch.full_like(ratio[10:], scale**2), rtol=2e-3, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_zero_terminal_snr_is_zero_and_keeps_the_first_step(schedule: str) -> None:
    plain = Diffusion(DiffusionSettings(schedule=schedule))
    rescaled = Diffusion(DiffusionSettings(schedule=schedule, zero_terminal_snr=True))
    assert rescaled.abar[-1] == 0
    assert rescaled.abar[0].item() == pytest.approx(plain.abar[0].item(), rel=1e-5)
    assert (rescaled.abar[:-1] > 0).all()


def test_abar_is_what_the_schedulers_use() -> None:
    for sampler in ("ddim", "dpm"):
        diffusion = Diffusion(DiffusionSettings(schedule="sigmoid", input_scale=0.5, sampler=sampler))
        assert torch.equal(diffusion._scheduler().alphas_cumprod, diffusion.abar)


@pytest.mark.parametrize("prediction", KINDS)
def test_the_target_leads_back_to_x0(prediction: str) -> None:
    diffusion = Diffusion(DiffusionSettings(prediction=prediction))
    x0, noise, step = data()
    step = step.clamp(max=900)  # where an epsilon still says something of x_0 in float32
    noisy = diffusion.add_noise(x0, noise, step)
    torch.testing.assert_close(diffusion.to_x0(diffusion.target(x0, noise, step), noisy, step), x0, rtol=0, atol=1e-4)


def test_noise_has_the_variance_of_the_data_it_replaces() -> None:
    diffusion = Diffusion(DiffusionSettings())
    x0 = torch.randn(4000, 10, generator=seeded(0))
    noised = diffusion.draw(x0, seeded(1))
    assert noised.noisy.var().item() == pytest.approx(1.0, abs=0.03)
    assert noised.step.min() < 10 and noised.step.max() > 989
    torch.testing.assert_close(noised.noisy, diffusion.add_noise(x0, noised.noise, noised.step))


@pytest.mark.parametrize("prediction", KINDS)
def test_min_snr_weighs_the_same_error_of_x0_alike(prediction: str) -> None:
    """A network wrong in x_0 by d everywhere has the loss min(SNR, gamma) d^2 whatever it predicts."""
    diffusion = Diffusion(DiffusionSettings(prediction=prediction, min_snr=5.0, schedule="linear"))
    x0, noise, _ = data()
    step = torch.tensor([0, 100, 300, 500, 700, 900])
    noisy = diffusion.add_noise(x0, noise, step)
    off = x0 + 0.1
    signal, spread = diffusion.signal_and_noise(step, x0)
    eps = (noisy - signal * off) / spread
    wrong = {"x0": off, "epsilon": eps, "v": signal * eps - spread * off}[prediction]
    errors = (wrong - diffusion.target(x0, noise, step)).square().flatten(1).mean(1)
    snr = diffusion.abar[step] / (1 - diffusion.abar[step])
    torch.testing.assert_close(diffusion.weight(step) * errors, snr.clamp(max=5.0) * 0.01, rtol=5e-3, atol=1e-6)


def test_loss_is_the_variance_of_what_cannot_be_known() -> None:
    """For x_0 ~ N(0, 1) the best x_0 prediction errs by 1 - abar: the loss is its mean over the steps."""
    diffusion = Diffusion(DiffusionSettings(prediction="x0"))
    losses = diffusion.loss(gaussian_oracle(diffusion, 0.0, 1.0), torch.randn(4000, 8, generator=seeded(0)), seeded(1))
    assert losses["loss"].item() == pytest.approx((1 - diffusion.abar).mean().item(), rel=0.03)
    assert torch.equal(losses["loss"], losses["error"])


@pytest.mark.parametrize("sampler", ["ddim", "dpm"])
@pytest.mark.parametrize(
    ("prediction", "zero_terminal_snr"),
    [("epsilon", False), ("v", False), ("x0", False), ("v", True), ("x0", True)],
)
def test_the_oracle_of_gaussian_data_samples_its_mean_and_deviation(
    sampler: str, prediction: str, zero_terminal_snr: bool
) -> None:
    settings = DiffusionSettings(prediction=prediction, sampler=sampler, zero_terminal_snr=zero_terminal_snr)
    diffusion = Diffusion(settings)
    oracle = gaussian_oracle(diffusion, mean=0.7, std=0.4)
    samples = diffusion.sample(oracle, (2000, 4), 100, seeded(0), torch.device("cpu"))
    # Standard error of the mean 0.4 / sqrt(8000) = 0.0045; 100 steps leave about 2 % of the deviation.
    assert samples.mean().item() == pytest.approx(0.7, abs=0.02)
    assert samples.std().item() == pytest.approx(0.4, rel=0.05)


def test_stochastic_ddim_samples_the_same_distribution_by_other_ways() -> None:
    settings = DiffusionSettings(eta=1.0)
    diffusion = Diffusion(settings)
    oracle = gaussian_oracle(diffusion, mean=-0.3, std=0.5)
    samples = diffusion.sample(oracle, (2000, 4), 250, seeded(0), torch.device("cpu"))
    assert samples.mean().item() == pytest.approx(-0.3, abs=0.02)
    assert samples.std().item() == pytest.approx(0.5, rel=0.05)
    straight = Diffusion(replace(settings, eta=0.0)).sample(oracle, (2000, 4), 250, seeded(0), torch.device("cpu"))
    assert not torch.allclose(samples, straight, atol=0.05)


def test_less_noise_a_step_leaves_less_variance_and_the_same_mean() -> None:
    diffusion = Diffusion(DiffusionSettings(eta=1.0))
    oracle = gaussian_oracle(diffusion, mean=-0.3, std=0.5)

    def drawn(noise: float) -> Tensor:
        return diffusion.sample(oracle, (2000, 4), 100, seeded(0), torch.device("cpu"), noise=noise)

    whole, less = drawn(1.0), drawn(0.9)
    assert drawn(1 - 1e-7).allclose(whole, atol=1e-4), "the same noise by either way"
    assert less.std() < 0.92 * whole.std() and less.mean().item() == pytest.approx(-0.3, abs=0.02)
    assert (
        Diffusion(DiffusionSettings(eta=0.0))
        .sample(oracle, (3, 4), 10, seeded(0), torch.device("cpu"), noise=0.5)
        .equal(Diffusion(DiffusionSettings(eta=0.0)).sample(oracle, (3, 4), 10, seeded(0), torch.device("cpu")))
    )


@pytest.mark.parametrize("sampler", ["ddim", "dpm"])
def test_one_step_of_pure_noise_is_the_prediction(sampler: str) -> None:
    settings = DiffusionSettings(prediction="x0", zero_terminal_snr=True, sampler=sampler)
    target = torch.arange(4.0).view(1, 4)
    samples = Diffusion(settings).sample(
        lambda noisy, time: target.expand_as(noisy), (3, 4), 1, seeded(0), torch.device("cpu")
    )
    torch.testing.assert_close(samples, target.expand(3, 4))


def test_sampling_is_the_generators_doing_alone() -> None:
    diffusion = Diffusion(DiffusionSettings(eta=0.5))
    oracle = gaussian_oracle(diffusion, 0.0, 1.0)
    before = torch.random.get_rng_state()
    first, again, other = (diffusion.sample(oracle, (2, 3), 10, seeded(s), torch.device("cpu")) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_clipping_bounds_the_samples() -> None:
    diffusion = Diffusion(DiffusionSettings(clip=0.5))
    samples = diffusion.sample(gaussian_oracle(diffusion, 0.0, 1.0), (64, 4), 20, seeded(0), torch.device("cpu"))
    assert samples.abs().max() == 0.5


def test_networks_are_told_time_from_just_above_zero_to_one() -> None:
    times: list[float] = []

    def denoise(noisy: Tensor, time: Tensor) -> Tensor:
        times.append(time[0].item())
        return noisy

    Diffusion(DiffusionSettings(timesteps=100)).sample(denoise, (2, 3), 4, seeded(0), torch.device("cpu"))
    assert times == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_a_stride_that_does_not_fit_is_refused() -> None:
    diffusion = Diffusion(DiffusionSettings())
    for num_steps in (3, 0, 1001):
        with pytest.raises(ValueError, match="num_steps"):
            diffusion.sample(lambda noisy, time: noisy, (1, 2), num_steps, seeded(0), torch.device("cpu"))


@pytest.mark.parametrize(
    "change",
    [
        {"zero_terminal_snr": True, "prediction": "epsilon"},
        {"zero_terminal_snr": True, "min_snr": 5.0},
        {"timesteps": 1},
        {"input_scale": 0.0},
        {"eta": 1.0, "sampler": "dpm"},
    ],
)
def test_contradictory_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DiffusionSettings(**change)


@pytest.mark.parametrize(("name", "word"), [("schedule", "sigmiod"), ("sampler", "ddpm"), ("prediction", "eps")])
def test_an_unknown_word_is_refused_and_none_is_taken_for_it(name: str, word: str) -> None:
    settings, x0 = DiffusionSettings(timesteps=4), torch.zeros(2, 3)
    object.__setattr__(settings, name, word)  # past the types that the tests check
    with pytest.raises(ValueError, match=f"unknown .*{name} '{word}'"):
        Diffusion(settings).sample(lambda noisy, time: noisy, (1, 2), 2, seeded(0), torch.device("cpu"))
    if name == "prediction":
        with pytest.raises(ValueError, match=f"unknown prediction '{word}'"):
            Diffusion(settings).target(x0, x0, torch.zeros(2).long())


def test_evaluating_restores_the_mode() -> None:
    model = torch.nn.Linear(1, 1).train()
    with evaluating(model):
        assert not model.training and not torch.is_grad_enabled()
    assert model.training and torch.is_grad_enabled()


def test_betas_are_float32_of_a_float64_schedule() -> None:
    assert noise_betas(DiffusionSettings()).dtype == torch.float32


def test_noise_levels_lie_around_an_snr_of_one() -> None:
    for scale in (1.0, 0.3):
        diffusion = Diffusion(DiffusionSettings(input_scale=scale, snr_spread=0.5))
        x0 = torch.zeros(20_000, 1)
        steps = diffusion.draw(x0, torch.Generator().manual_seed(0)).step
        log_snr = (diffusion.abar / (1 - diffusion.abar)).log()[steps]
        assert log_snr.median().abs() < 0.05
        torch.testing.assert_close(log_snr.abs().mean(), torch.tensor(0.5), rtol=0.05, atol=0)


@pytest.mark.parametrize("prediction", ["x0", "v", "epsilon"])
def test_around_a_centre_a_perfect_network_of_the_rest_is_a_perfect_network(prediction: str) -> None:
    diffusion = Diffusion(DiffusionSettings(prediction=prediction))
    generator = torch.Generator().manual_seed(0)
    x0, centre = (torch.randn(6, 4, generator=generator) for _ in range(2))
    noisy, noise, step = diffusion.draw(x0, generator)
    seen = []

    def network(residual: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append(residual)
        return diffusion.target(x0 - centre, noise, diffusion.step(time))

    found = diffusion.around(network, noisy, diffusion.time(step), centre)
    torch.testing.assert_close(found, diffusion.target(x0, noise, step))
    torch.testing.assert_close(seen[0], diffusion.add_noise(x0 - centre, noise, step))


def test_samples_are_clipped_around_their_centre() -> None:
    diffusion = Diffusion(DiffusionSettings(prediction="x0", clip=1.0))
    centre = torch.full((2, 3), 10.0)

    def sampled(to: float, centre: torch.Tensor | None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return diffusion.sample(
            lambda noisy, time: torch.full_like(noisy, to), (2, 3), 10, generator, torch.device("cpu"), centre
        )

    torch.testing.assert_close(sampled(30.0, centre), centre + 1)
    torch.testing.assert_close(sampled(10.5, centre), centre + 0.5)
    torch.testing.assert_close(sampled(30.0, None), torch.ones(2, 3))


@pytest.mark.parametrize("spread", [None, 0.5])
def test_levels_of_noise_share_the_draws_of_training(spread: float | None) -> None:
    diffusion = Diffusion(DiffusionSettings(timesteps=40, snr_spread=spread))
    times, shares = zip(*diffusion.levels(8), strict=True)
    assert times == tuple((i + 0.5) / 8 for i in range(8)) and sum(shares) == pytest.approx(1)
    drawn = diffusion.draw(torch.zeros(20_000, 1), torch.Generator().manual_seed(0)).step
    counted = torch.bincount(drawn * 8 // 40, minlength=8) / 20_000
    torch.testing.assert_close(counted, torch.tensor(shares), rtol=0, atol=0.015)


def test_a_given_time_is_the_noise_of_all() -> None:
    diffusion = Diffusion(DiffusionSettings(timesteps=40))
    noised = diffusion.draw(torch.zeros(5, 3), torch.Generator().manual_seed(0), 0.5)
    assert noised.step.tolist() == [19] * 5
    assert diffusion.draw(torch.zeros(2, 3), torch.Generator(), 0.001).step.tolist() == [0, 0]
    again = diffusion.draw(torch.zeros(5, 3), torch.Generator().manual_seed(0), 0.1)
    assert torch.equal(noised.noise, again.noise) and not torch.equal(noised.noisy, again.noisy)
