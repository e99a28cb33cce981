"""Checkpoints of a joint fit that several ranks share, written so that a kill at any moment leaves a usable set.

    FOLDER/step-00000200/rank-000/common        decoder, its moments, generator, order of visits
    FOLDER/step-00000200/rank-000/avatar-00003  planes, moments and grids of one of the rank's avatars

Each rank publishes its own folder by rename; a step is usable once all ranks are there, and the step before it is
removed only after that. Avatars are written and read one at a time, so that a checkpoint needs no second copy of them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.io.files import exists, forget, make_folder, names
from pipeline.io.publish import empty_folder, publish_folder
from pipeline.stages.weights import read_state
from rodin_models.checkpoint import save_state
from rodin_models.fit.joint_fit import JointFit


def save_checkpoint(
    folder: Path,
    joint: JointFit,
    rank: int,
    barrier: Callable[[], None],
    *,
    identity: dict[str, Any],
    seconds: float,
) -> None:
    """Publish this rank's part of the present step; all ranks call it at the same step."""
    step = folder / f"step-{joint.steps_done:08d}"
    staged = empty_folder(folder / f"rank-{rank:03d}.new")
    for avatar in joint.avatars_begun:
        save_state(make_folder(staged / f"avatar-{avatar:05d}"), joint.avatar_state(avatar))
    save_state(
        make_folder(staged / "common"), {"identity": identity, "seconds": seconds, "joint": joint.common_state()}
    )
    make_folder(step)
    publish_folder(staged, step / f"rank-{rank:03d}")
    barrier()
    if rank == 0:
        for old in names(folder, "step-????????"):
            if old != step:
                forget(old)


def load_checkpoint(
    folder: Path, joint: JointFit, rank: int, world_size: int, *, identity: dict[str, Any]
) -> float | None:
    """Go on from the last step that all ranks published; returns the seconds it took, ``None`` if there is none.

    A checkpoint of another ``identity`` (avatars, their renders, ranks) is none. Raises ``DataError`` for one that is
    damaged.
    """
    for step in reversed(names(folder, "step-????????")):
        if not all(exists(step / f"rank-{other:03d}") for other in range(world_size)):
            continue
        mine = step / f"rank-{rank:03d}"
        told = {"what": "a checkpoint", "remedy": f"delete {step} and give the command again"}
        common = read_state(mine / "common", ("identity", "seconds", "joint"), **told)
        if common["identity"] != identity:
            continue
        joint.load_common_state(common["joint"])
        for path in names(mine, "avatar-*"):
            joint.load_avatar_state(int(path.name.removeprefix("avatar-")), read_state(path, (), **told))
        return float(common["seconds"])
    return None
