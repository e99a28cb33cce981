"""Stage ``decoder``: the shared MLP, fitted jointly with the planes of the first avatars, then frozen.

It publishes ``decoder/``: the decoder's weights and the mean of its avatars' planes, from which every later fit
starts. The joint fit checkpoints planes, optimisers and generators, so that a killed one goes on to the same bytes.
``decoder.workers`` processes can share it: each reads and keeps its own avatars only.
"""

import itertools
import time
from dataclasses import asdict

import torch

from pipeline.config.run import RunConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.planes import DecoderReport
from pipeline.contracts.rendering import Split
from pipeline.contracts.stage import Progress
from pipeline.io.files import forget
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import name_decoder
from pipeline.io.publish import empty_folder, publish_folder
from pipeline.machine import package_versions, processor_name
from pipeline.run.run import decoder_sha256
from pipeline.run.start import started_from
from pipeline.stages.context import Alone, Context
from pipeline.stages.device import check_memory, choose_device, seeded, use_threads
from pipeline.stages.fit.checkpoint import load_checkpoint, save_checkpoint
from pipeline.stages.fit.given import take_decoder
from pipeline.stages.fit.settings import decoder_settings, fit_features, fit_settings
from pipeline.stages.views import read_views
from pipeline.stages.work import WorkItem
from rodin_models.checkpoint import save_state
from rodin_models.field.decoder import Decoder
from rodin_models.fit.evaluation import evaluate_views
from rodin_models.fit.joint_fit import JointFit, Share, first_planes
from rodin_models.fit.plane_fit import FitDiverged
from rodin_models.fit.views import Views

CPU = torch.device("cpu")
OWN_COLOURS, *OTHER_COLOURS = itertools.permutations(range(3))
"""Orders of the colour channels: red, green, blue, and the five others."""


def fit_decoder(item: WorkItem, progress: Progress) -> DecoderReport:
    """Fit the shared decoder in this process alone; see :func:`fit_decoder_share`."""
    known = item.published(DecoderReport)
    if known is not None and item.done(known, progress):
        return known
    report = fit_decoder_share(item, Alone(choose_device(item.config), progress))
    assert report is not None
    return report


def fit_decoder_share(item: WorkItem, context: Context) -> DecoderReport | None:
    """One rank's part of fitting the decoder on the avatars that were rendered; rank 0 publishes and returns it.

    A run that starts from given models takes their decoder. Raises ``DataError``, on all ranks, when fewer than
    ``decoder.min_avatars`` are there and when the fit diverges.
    """
    run, layout, config = item.run, item.layout, item.config
    models = started_from(config)
    if models is not None:
        return take_decoder(item, models, context.progress) if context.rank == 0 else None
    assert context.world_size == config.decoder.workers, "the bytes depend on the number of workers"
    started_at, start = time.time(), time.monotonic()
    use_threads(config.decoder.threads)
    sources = run.render_sources()
    avatars = tuple(a for a in config.decoder_avatars() if a in sources)
    if len(avatars) < config.decoder.min_avatars:
        raise DataError(
            f"stage decoder: {len(avatars)} of the first {config.decoder.avatars} avatars are rendered, "
            f"decoder.min_avatars is {config.decoder.min_avatars}; see rodin-pipe inspect for what failed to render"
        )
    check_memory("decoder", config, context.device)
    joint = _joint_fit(item, avatars, context)
    identity = {
        "avatars": list(avatars),
        "sources": [sources[a] for a in avatars],
        "workers": context.world_size,
    }
    checkpoints = layout.work / "decoder" / item.fingerprint
    seconds_before = load_checkpoint(checkpoints, joint, context.rank, context.world_size, identity=identity) or 0.0
    context.goes_on_from(joint.steps_done, joint.total_steps)
    while joint.steps_done < joint.total_steps:
        try:
            joint.run(
                joint.steps_done + config.decoder.checkpoint_every,
                on_step=lambda step, loss: context.progress(step + 1, joint.total_steps),
            )
        except FitDiverged as error:
            raise DataError(
                f"stage decoder: {error}; lower decoder.learning_rate {config.decoder.learning_rate} or "
                f"fit.learning_rate {config.fit.learning_rate}"
            ) from error
        seconds = seconds_before + time.monotonic() - start
        save_checkpoint(checkpoints, joint, context.rank, context.barrier, identity=identity, seconds=seconds)

    mean_planes = joint.mean_planes([i for i in range(len(avatars)) if colour_order(config, i) == OWN_COLOURS])
    psnr_db = _mean_psnr(item, avatars, joint, context)
    if context.rank != 0:
        return None
    staged = empty_folder(layout.work / "decoder" / "publish")
    save_state(
        staged,
        dict(
            settings=asdict(decoder_settings(config)),
            decoder=dict(joint.decoder.state_dict()),
            mean_planes=mean_planes,
        ),
    )
    sha256 = decoder_sha256(staged)
    publish_folder(staged, layout.decoder)
    # Every fit waits for this stage, so nobody else writes to the store now.
    name_decoder(layout.planes, sha256)
    report = DecoderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        avatars=avatars,
        sources={format_avatar(a): sources[a] for a in avatars},
        decoder_sha256=sha256,
        psnr_db=psnr_db,
        steps=joint.total_steps,
        started_at=started_at,
        finished_at=time.time(),
        seconds=round(seconds_before + time.monotonic() - start, 3),
        versions=package_versions(("torch", "numpy", "scipy")),
        processor=processor_name(),
    )
    write_ledger(layout.ledger("decoder", "decoder"), report)
    forget(layout.work / "decoder")
    return report


def _joint_fit(item: WorkItem, avatars: tuple[int, ...], context: Context) -> JointFit:
    """This rank's joint fit before its first step. Ranks share the first planes and differ in their generators."""
    config, device = item.config, context.device
    decoder = Decoder(decoder_settings(config), seeded(config, 0, "decoder weights", CPU)).to(device)
    settings = fit_settings(config, steps=config.decoder.steps_per_avatar)
    generator = seeded(config, 0, "decoder", device)
    initial = first_planes(decoder, settings, generator)
    return JointFit(
        lambda position: _views(item, avatars, position, "train", device),
        num_avatars=len(avatars),
        decoder=decoder,
        settings=settings,
        generator=generator if context.rank == 0 else seeded(config, context.rank, "decoder", device),
        features=fit_features(config, device),
        pools_in_memory=config.decoder.avatars_in_memory,
        share=Share(context.rank, context.world_size, context.all_reduce_mean),
        initial=initial,
    )


def _views(item: WorkItem, avatars: tuple[int, ...], position: int, split: Split, device: torch.device) -> Views:
    """What the joint fit sees of the avatar in a position."""
    views = read_views(item.run, avatars[position], (split,), device)
    order = colour_order(item.config, position)
    return views if order == OWN_COLOURS else views.recoloured(order)


def colour_order(config: RunConfig, position: int) -> tuple[int, ...]:
    """In which order the joint fit sees the colour channels of the avatar in a position."""
    every = config.decoder.recolour_every
    if not every or position % every != every - 1:
        return OWN_COLOURS
    return OTHER_COLOURS[position // every % len(OTHER_COLOURS)]


def _mean_psnr(item: WorkItem, avatars: tuple[int, ...], joint: JointFit, context: Context) -> float:
    """Mean over all avatars of their held-out PSNR, in dB; each rank measures its own."""
    psnrs = []
    for position in joint.own:
        held_out = _views(item, avatars, position, "held_out", context.device)
        quality = evaluate_views(
            joint.planes_of(position), joint.decoder, held_out, samples=item.config.fit.render_samples
        )
        psnrs.append(sum(quality.psnr_db) / len(quality.psnr_db))
    total = torch.tensor(sum(psnrs), dtype=torch.float64, device=context.device)
    return float(context.all_reduce_mean(total)) * context.world_size / len(avatars)
