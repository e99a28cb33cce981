"""The joint fit over several ranks, which here are threads; tests/end_to_end has processes."""

import dataclasses
import weakref

import pytest
import torch
from support.ranks import Ranks
from support.textured_ellipsoid import make_views

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.joint_fit import ALONE, JointFit, Share, first_planes
from rodin_models.fit.optimiser import learning_rate_share
from rodin_models.fit.plane_fit import FitDiverged, PlaneFit, carve_hull, fit_planes
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.views import RayPool

pytestmark = pytest.mark.seconds

SETTINGS = FitSettings(
    resolution=12, steps=9, rays=64, samples=4, hull_resolution=16, visit_steps=3, empty_points=32, coarse=((0.5, 2),)
)
DECODER = DecoderSettings(channels=4, hidden=16, colour_hidden=8)


def _generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def avatars():
    """Three avatars: the same scene in three colourings."""
    plain = make_views(6)
    orders = ([0, 1, 2, 3], [2, 0, 1, 3], [1, 2, 0, 3])
    return [dataclasses.replace(plain, rgba=plain.rgba[..., order].contiguous()) for order in orders]


def _fit(avatars, rank=0, world_size=1, average=ALONE.average, views=None, **more):
    decoder = Decoder(DECODER, _generator(0))
    return JointFit(
        views or (lambda i: avatars[i]),
        len(avatars),
        decoder,
        SETTINGS,
        _generator(10 + rank),
        share=Share(rank, world_size, average),
        initial=first_planes(decoder, SETTINGS, _generator(1)),
        **more,
    )


def _shared(avatars, act, world_size=2, **more):
    """``act(fit)`` on every rank."""
    return Ranks(world_size).run(
        lambda context: act(_fit(avatars, context.rank, world_size, context.all_reduce_mean, **more))
    )


def _run(fit):
    fit.run(fit.total_steps)
    return fit


def _weights(fit):
    return torch.cat([parameter.detach().reshape(-1) for parameter in fit.decoder.parameters()])


def test_alone_it_is_the_plain_loop(avatars):
    """Written out: visits in a random order, one Adam for the planes of each avatar and one for the decoder."""
    generator = _generator(1)
    decoder = Decoder(DECODER, _generator(0))
    initial = first_planes(decoder, SETTINGS, generator)
    adam = torch.optim.AdamW(
        decoder.parameters(), lr=SETTINGS.decoder_learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    hulls = [carve_hull(views, SETTINGS) for views in avatars]
    fits = [PlaneFit(initial, hull, SETTINGS) for hull in hulls]
    pools = [RayPool.around(views, hull) for views, hull in zip(avatars, hulls, strict=True)]
    step, steps = 0, 3 * SETTINGS.steps
    while step < steps:
        for avatar in torch.randperm(3, generator=generator).tolist():
            for _ in range(min(SETTINGS.visit_steps, steps - step)):
                fits[avatar].loss(pools[avatar], decoder, generator).backward()
                share = learning_rate_share(step, steps, SETTINGS.learning_rate_end)
                adam.param_groups[0]["lr"] = SETTINGS.decoder_learning_rate * share
                adam.step()
                adam.zero_grad()
                fits[avatar].step(fits[avatar].table.grad, share)
                step += 1
    joint = JointFit(lambda i: avatars[i], 3, Decoder(DECODER, _generator(0)), SETTINGS, _generator(1))
    _run(joint)
    assert torch.equal(_weights(joint), torch.cat([p.detach().reshape(-1) for p in decoder.parameters()]))
    assert torch.equal(joint.planes, torch.stack([fit.planes for fit in fits]))
    assert torch.equal(joint.mean_planes(), torch.stack([fit.planes for fit in fits]).mean(0))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_end_with_one_decoder_and_every_avatar_has_all_its_steps(avatars, world_size):
    asked = []

    def views(avatar):
        asked.append(avatar)
        return avatars[avatar]

    def act(fit):
        losses = []
        fit.run(fit.total_steps, lambda _, loss: losses.append(loss))
        return fit, losses, (fit.mean_planes(), fit.mean_planes([0, 1]))

    ended = _shared(avatars, act, world_size, views=views)
    fits = [fit for fit, _, _ in ended]
    assert [fit.own for fit in fits] == ([(0, 2), (1,)] if world_size == 2 else [(0,), (1,), (2,)])
    assert sorted(asked) == [0, 1, 2], "each avatar's photographs are read by its own rank, once"
    for fit in fits:
        assert torch.equal(_weights(fit), _weights(fits[0]))
        assert fit.total_steps == SETTINGS.steps * (2 if world_size == 2 else 1)
        assert fit.avatars_begun == fit.own
        assert all(fit.avatar_state(avatar)["steps_done"] == SETTINGS.steps for avatar in fit.own)
    assert all(losses == ended[0][1] for _, losses, _ in ended)
    planes = torch.stack([fits[avatar % world_size].planes_of(avatar) for avatar in range(3)])
    assert not torch.equal(planes[0], planes[1])
    for _, _, means in ended:
        for mean, chosen, first in zip(means, (planes, planes[:2]), ended[0][2], strict=True):
            assert torch.allclose(mean, chosen.mean(0), atol=1e-6)
            assert torch.equal(mean, first)


def test_a_step_takes_the_mean_gradient_of_the_avatars_visited(avatars):
    """Two ranks with three avatars: in the round's second visit rank 1 has nothing to add."""

    def act(fit):
        given, used = {}, []
        for index, parameter in enumerate(fit.decoder.parameters()):
            parameter.register_hook(lambda grad, index=index: given.update({index: grad.clone()}))
        fit._adam.register_step_pre_hook(
            lambda adam, *_: used.extend(parameter.grad.clone() for parameter in adam.param_groups[0]["params"])
        )
        fit.step()
        fit.run(SETTINGS.visit_steps)
        given.clear()
        used_first = used[: len(list(fit.decoder.parameters()))]
        used.clear()
        fit.step()
        return used_first, [gradient for _, gradient in sorted(given.items())], used

    fits = [_fit(avatars, rank, 2) for rank in range(2)]
    alone = []
    for fit in fits:  # the first step of each rank by itself, nothing averaged
        grads = []
        fit._averaged = lambda tensors, place, grads=grads: (grads.extend(t.clone() for t in tensors[1:]), tensors)[1]
        fit.step()
        alone.append(grads)
    (first, own, second), (first_there, nothing, second_there) = _shared(avatars, act)
    for mean, there, *both in zip(first, first_there, *alone, strict=True):
        assert torch.equal(mean, there)
        assert torch.allclose(mean, sum(both) / 2, rtol=1e-5, atol=1e-10)
    assert not nothing, "rank 1 computed no gradient"
    for mean, there in zip(second, second_there, strict=True):
        assert torch.equal(mean, there)
    assert any(gradient.abs().max() > 0 for gradient in second)
    for mean, mine in zip(second, own, strict=True):
        assert torch.equal(mean, mine), "the mean over the one avatar that was visited"


@pytest.mark.parametrize("stop", [2, 10])
def test_ranks_that_were_stopped_go_on_to_the_same_bytes(avatars, stop):
    through = _shared(avatars, _run)

    def begin(fit):
        fit.run(stop)
        state = fit.state()
        fit.run(stop + 2)  # what happens later must not reach the state that was given
        return state

    states = _shared(avatars, begin)

    def go_on(context):
        fit = _fit(avatars, context.rank, 2, context.all_reduce_mean)
        fit.load_state(states[context.rank])
        return _run(fit)

    for resumed, undisturbed in zip(Ranks(2).run(go_on), through, strict=True):
        assert torch.equal(_weights(resumed), _weights(undisturbed))
        assert torch.equal(resumed.planes, undisturbed.planes)


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_photographs_are_held_than_may_be(avatars, limit):
    alive, most = weakref.WeakSet(), []

    def views(avatar):
        read = dataclasses.replace(avatars[avatar], rgba=avatars[avatar].rgba.clone())
        alive.add(read.rgba)
        most.append(len(alive))
        return read

    _run(_fit(avatars, views=views, pools_in_memory=limit))
    assert len(most) > 3, "some were read again"
    assert max(most) == limit and len(alive) <= limit


def test_a_loss_that_is_no_number_ends_the_fit_on_all_ranks(avatars):
    broken = _broken(avatars[1])
    told = []

    def act(fit):
        with pytest.raises(FitDiverged) as caught:
            _run(fit)
        told.append(caught.value.step)

    _shared([avatars[0], broken, avatars[2]], act)
    assert told[0] == told[1] < SETTINGS.steps


def test_a_frozen_fit_whose_loss_is_no_number_ends_soon(avatars):
    settings = dataclasses.replace(SETTINGS, steps=500)
    steps = []
    with pytest.raises(FitDiverged, match="not finite at step 19"):
        fit_planes(
            _broken(avatars[0]),
            Decoder(DECODER, _generator(0)).requires_grad_(False),
            settings,
            _generator(3),
            initial=torch.zeros(3, 4, 12, 12),
            on_step=lambda step, loss: steps.append(step),
        )
    assert len(steps) == 19


def _broken(views):
    """The same photographs, their colours no numbers."""
    rgba = views.rgba.float() / 255
    rgba[..., :3] = torch.nan
    return dataclasses.replace(views, rgba=rgba)
