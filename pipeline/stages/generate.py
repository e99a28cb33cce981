"""Stage ``generate``: avatars from noise, a portrait, a sentence, or a portrait with an edit.

The stage makes ``generate.num`` avatars from noise, and one of each other kind from the first held-out avatar's
frontal view and caption; the command ``rodin-pipe generate`` makes whatever is asked for.

Each avatar gets a folder below ``samples/``: ``planes.npy`` (float16, as the plane store holds them), ``latent.npy``,
a turntable, a strip of views rendered and refined, the frontal image, and ``avatar.json`` that says how it was made.
Of several, ``sheet.png`` shows the frontal images side by side, and ``portrait.png`` what was made of a portrait.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pipeline.capture.portrait import Portrait, frontal_frame, read_portrait
from pipeline.config.sampling import Sampling
from pipeline.contracts.camera import turntable_rig
from pipeline.contracts.conventions import PLANE_AXES, PLANE_NAMES, SCHEMA_VERSION, TEXEL_RULE
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.stage import Progress, StageReport
from pipeline.images import encode_png, over_white
from pipeline.io.files import exists, fetched, files_below, forget, names, read_array
from pipeline.io.publish import empty_folder, publish_bytes, publish_folder, sha256_file, temporary_path
from pipeline.report.pictures import contact_sheet, encode_turntable, strip
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.stages.device import choose_device, seeded, use_threads
from pipeline.stages.fit.decoder_file import decoder_digest
from pipeline.stages.sampling.load import load_sampler
from pipeline.stages.sampling.portrait_fit import Face
from pipeline.stages.sampling.progress import SAMPLING_SHARE, as_progress
from pipeline.stages.sampling.sampler import Sampler
from pipeline.stages.views import read_samples
from pipeline.stages.work import Stopwatch, WorkItem, publish_entry
from rodin_models.field.decoder import Decoder
from rodin_models.field.triplane import downsample
from rodin_models.image.clip import encode_images, encode_texts

CPU = torch.device("cpu")
RUN_SAMPLES = ("noise", "portrait", "edit", "text")
"""Folders below ``samples/`` that the stage makes."""
STRIP_VIEWS = 8
TURNTABLE_FPS = 24
ELEVATION_DEG = 5.0
PORTRAIT = "portrait.png"
"""A portrait as given and, beside it, as it is read, where they differ."""
PORTRAIT_TILE = 384
SHEET = "sheet.png"
SHEET_COLUMNS = 8
LIKE_SHARE: Final = 0.5
"""How far somebody like somebody is moved towards somebody else (:meth:`Sampler.near`)."""
WORDS = 60
"""Characters of a request in the name of its folder."""


@dataclass(frozen=True)
class Request:
    """What to generate."""

    num: int
    portrait: Path | None = None
    text: str | None = None
    edit: str | None = None
    seed: int = 0
    name: str | None = None
    as_is: bool = False
    """The portrait is framed as renders are, over white: nothing is done to it."""
    overwrite: bool = False
    """What stands under that name is replaced, if it is avatars."""
    like: Path | None = None
    """Folder of a generated avatar, in place of a portrait: others like it are made, of ``text`` where there is one."""

    @property
    def source(self) -> str:
        """``noise``, ``portrait``, ``edit``, ``text`` or ``like``."""
        if self.like is not None:
            return "like"
        if self.portrait is not None:
            return "portrait" if self.edit is None else "edit"
        return "noise" if self.text is None else "text"

    @property
    def folder_name(self) -> str:
        """Folder below ``samples/``: in words, and by a hash, since other requests may have those words too."""
        if self.name is not None:
            return self.name
        source = self.text or (self.portrait.stem if self.portrait else "like" if self.like else "noise")
        said = unicodedata.normalize("NFC", f"{source} {self.edit or ''}").lower()
        words = re.sub(r"[\W_]+", "-", said).strip("-")[:WORDS].strip("-") or "avatar"
        return f"{words}-seed{self.seed}-{self._sha256()[:6]}"

    def _sha256(self) -> str:
        """Of all that is asked for but the seed and the models."""
        picture = ""
        if self.portrait is not None:
            picture = sha256_file(self.portrait) if exists(self.portrait) else str(self.portrait)
        num = self.num if self.portrait is None else 1
        asked = [num, picture, self.text, self.edit, self.as_is, *([str(self.like)] if self.like else [])]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


@dataclass(frozen=True)
class Drawn:
    """An avatar whose planes are there, before any picture of it."""

    planes: torch.Tensor
    """float16 (3, channel, side, side)."""
    decoder: Decoder
    sampling: Sampling
    record: dict[str, Any]
    """What its ``avatar.json`` will say."""


OnDrawn = Callable[[Drawn], None]


def generate_from_noise(item: WorkItem, progress: Progress) -> StageReport:
    """The run's own samples, in the folders of :data:`RUN_SAMPLES`."""
    run, layout = item.run, item.layout
    known = item.published(StageReport)
    if known is not None and item.done(known, progress):
        return known
    stopwatch = Stopwatch()
    requests = run_requests(run)
    total = sum(request.num for request in requests)
    done = 0
    for request in requests:

        def part(now: float, of: float, before: int = done) -> None:
            del of
            progress(before + now, total)

        generate_request(ModelFolder.of_run(run), request, part, to=layout.samples)
        done += request.num
    made = [path for request in requests for path in files_below(layout.samples / request.folder_name)]
    given = [request.portrait for request in requests if request.portrait is not None]
    return publish_entry(item, stopwatch, avatars=(), outputs=[*given, *made], packages=("torch", "diffusers"))


def run_requests(run: Run) -> list[Request]:
    """What a run generates by itself."""
    requests = [Request(num=run.config.generate.num, name="noise", overwrite=True)]
    held_out = [a for a in sorted(run.render_sources()) if run.config.is_held_out(a)]
    if not held_out:
        return requests
    (sample,) = read_samples(run, held_out[0], ("frontal",))
    portrait = run.layout.samples / f"portrait-{format_avatar(held_out[0])}.png"
    publish_bytes(portrait, encode_png(over_white(sample.rgba)))
    return [
        *requests,
        Request(num=1, portrait=portrait, name="portrait", as_is=True, overwrite=True),
        Request(num=1, portrait=portrait, edit="with glasses", name="edit", as_is=True, overwrite=True),
        Request(num=1, text=sample.record.caption, name="text", overwrite=True),
    ]


def generate_request(
    models: ModelFolder, request: Request, progress: Callable[[float, float], None], *, to: Path
) -> Path:
    """Make what is asked for and publish it as ``to/<name>``, whole or not at all; returns that folder.

    Raises ``DataError`` for a portrait that is no image or shows no face, a model that is not there, or a folder of
    that name that is there already or holds something else, ``ConfigError`` for a request that cannot be,
    ``ResourceError`` for a package that preparing a portrait takes.
    """
    portrait = _checked(request, models.sampling, to)
    use_threads(models.sampling.threads)
    sampler = load_sampler(models, choose_device(models.sampling))
    return _published(sampler, request, portrait, progress, to, lambda drawn: None)


def generate_with(
    sampler: Sampler, request: Request, progress: Callable[[float, float], None], on_drawn: OnDrawn, *, to: Path
) -> Path:
    """:func:`generate_request` by models that are loaded; ``on_drawn`` is told of each avatar as soon as it has planes.

    What ``progress``, ``on_drawn`` or the sampler's ``on_step`` raises ends it, and nothing is published.
    """
    portrait = _checked(request, sampler.sampling, to)
    use_threads(sampler.sampling.threads)
    return _published(sampler, request, portrait, progress, to, on_drawn)


def _checked(request: Request, sampling: Sampling, to: Path) -> Portrait | None:
    """The request's portrait, after all that can be refused before any work."""
    portrait = _portrait(request, sampling)
    if not re.fullmatch(r"[\w.-]+", request.folder_name) or request.folder_name.startswith("."):
        raise DataError(f"--name {request.folder_name!r} is no plain folder name: letters, digits, . _ and - make one")
    final = to / request.folder_name
    if exists(final) and not names(final, "avatar-*/avatar.json"):
        raise DataError(f"{final} is there and holds no avatars: it is left alone; give another --name")
    if exists(final) and not request.overwrite:
        raise DataError(f"{final} is there already: --overwrite replaces it, or give another --name")
    return portrait


def _published(
    sampler: Sampler,
    request: Request,
    portrait: Portrait | None,
    progress: Callable[[float, float], None],
    to: Path,
    on_drawn: OnDrawn,
) -> Path:
    final = to / request.folder_name
    # Beside its place, since a folder may be a link to another file system; its own, since two commands may make it.
    staged = empty_folder(temporary_path(final))
    try:
        _make(sampler, request, portrait, staged, progress, on_drawn)
        publish_folder(staged, final, replace=request.overwrite)
    except FileExistsError:
        raise DataError(
            f"{final} was made by another command meanwhile, left alone: --overwrite replaces it, or give another "
            "--name"
        ) from None
    finally:
        forget(staged)
    return final


def _make(
    sampler: Sampler,
    request: Request,
    portrait: Portrait | None,
    staged: Path,
    progress: Callable[[float, float], None],
    on_drawn: OnDrawn,
) -> None:
    """Write all that is asked for into ``staged``."""
    sampling = sampler.sampling
    done = portrait.done if portrait is not None else ""
    num = 1 if portrait is not None else request.num
    progress(0, num)
    if portrait is not None and portrait.is_changed:
        pair = contact_sheet((portrait.before, portrait.rgb), columns=2, tile=PORTRAIT_TILE, labels=("given", "read"))
        (staged / PORTRAIT).write_bytes(encode_png(pair))
    size = sampling.generate.batch

    def watched(first: int) -> Sampler:
        """The sampler whose steps, for the batch that begins with ``first``, are progress too."""
        count = min(size, num - first)
        return replace(sampler, on_step=as_progress(sampler.on_step, first, count, num, progress))

    latents, fitted = _asked(watched(0), request, portrait, num)
    cameras = turntable_rig(
        sampling.generate.views,
        elevation_deg=ELEVATION_DEG,
        distance=sampling.distance,
        fov_deg=sampling.fov_deg,
        size=sampling.generate.image_side,
    )
    fronts = []
    for first in range(0, num, size):
        batch = latents[first : first + size]
        generator = seeded(sampling, first, f"generate planes {request.seed}", CPU)
        drawn = watched(first).planes(batch, generator, None if fitted is None else fitted[first : first + len(batch)])
        progress(first + SAMPLING_SHARE * len(batch), num)
        for offset, planes in enumerate(drawn):
            index = first + offset
            record = _record(sampler, request, done, index, planes)
            on_drawn(Drawn(planes, sampler.decoder, sampling, record))
            images = 0

            def on_image(before: float = first + SAMPLING_SHARE * len(batch) + (1 - SAMPLING_SHARE) * offset) -> None:
                nonlocal images
                images += 1
                progress(before + (1 - SAMPLING_SHARE) * images / len(cameras), num)

            rendered, refined = sampler.images(planes, latents[index], cameras, on_image)
            folder = staged / f"avatar-{index:03d}"
            folder.mkdir()
            _write_avatar(folder, record, planes, latents[index], rendered, refined)
            fronts.append(refined[0][..., :3])
    if num > 1:
        sheet = contact_sheet(fronts, columns=min(SHEET_COLUMNS, math.ceil(math.sqrt(num))), tile=fronts[0].shape[0])
        (staged / SHEET).write_bytes(encode_png(sheet))
    progress(num, num)


def _portrait(request: Request, sampling: Sampling) -> Portrait | None:
    if request.portrait is None:
        return None
    frame = None if request.as_is else frontal_frame(sampling.distance, sampling.fov_deg)
    return read_portrait(fetched(request.portrait), frame)


def _asked(
    sampler: Sampler, request: Request, portrait: Portrait | None, num: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Image latents of what is asked for, (num, latent), and base planes fitted to a portrait."""
    if portrait is not None:
        rgb = torch.from_numpy(portrait.rgb.copy()).permute(2, 0, 1).float().to(sampler.device) / 255
        known = None if portrait.is_known is None else torch.from_numpy(portrait.is_known).to(sampler.device)
        found = encode_images(sampler.clip, rgb[None])
        faces = (Face(rgb, known, is_photograph=portrait.is_changed),)
        if request.edit is None:
            return found, sampler.fitted(found, faces)
        edited = sampler.edited(found, request.edit)

        def noise() -> torch.Generator:
            return seeded(sampler.sampling, 0, f"generate edit {request.seed}", CPU)

        return edited, sampler.fitted_edited(found, edited, faces, noise)
    text = None
    if request.text is not None:
        text = encode_texts(sampler.clip, sampler.tokenizer, [request.text])
    drawn = sampler.latents(num, text, seeded(sampler.sampling, 0, f"generate latents {request.seed}", CPU))
    return (drawn, None) if request.like is None else _like(sampler, request.like, drawn)


def _like(sampler: Sampler, folder: Path, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Latents near that of a generated avatar, and its base planes moved accordingly; raises ``DataError``."""
    try:
        latent, planes = (torch.from_numpy(read_array(folder / name)) for name in ("latent.npy", "planes.npy"))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder} is no generated avatar ({' '.join(str(error).split())}): choose another") from None
    spec = sampler.sampling.planes
    if latent.shape != drawn.shape[1:] or planes.shape != (3, spec.channels, spec.resolution, spec.resolution):
        raise DataError(f"{folder} was made by other models than these: others like it take those")
    found = latent.to(sampler.device).expand(len(drawn), -1)
    near = sampler.near(found, drawn, LIKE_SHARE)
    if sampler.linear is None:
        return near, None
    low = downsample(planes.to(sampler.device).float(), spec.base_resolution).expand(len(drawn), -1, -1, -1, -1)
    return near, sampler.moved(low, found, near)


def _write_avatar(
    folder: Path,
    record: dict[str, Any],
    planes: torch.Tensor,
    latent: torch.Tensor,
    rendered: npt.NDArray[np.uint8],
    refined: npt.NDArray[np.uint8],
) -> None:
    stored = planes.cpu().numpy()
    for name, array in (("planes.npy", stored), ("latent.npy", latent.cpu().numpy())):
        buffer = BytesIO()
        np.save(buffer, array, allow_pickle=False)
        (folder / name).write_bytes(buffer.getvalue())
    chosen = np.linspace(0, len(rendered), min(STRIP_VIEWS, len(rendered)), endpoint=False).astype(int)
    (folder / "strip.png").write_bytes(encode_png(strip([rendered[i][..., :3] for i in chosen])))
    (folder / "strip_refined.png").write_bytes(encode_png(strip([refined[i][..., :3] for i in chosen])))
    (folder / "frontal.png").write_bytes(encode_png(rendered[0][..., :3]))
    (folder / "frontal_refined.png").write_bytes(encode_png(refined[0][..., :3]))
    for name, frames in (("turntable", rendered), ("turntable_refined", refined)):
        video = encode_turntable([frame[..., :3] for frame in frames], fps=TURNTABLE_FPS)
        (folder / f"{name}{video.suffix}").write_bytes(video.data)
    (folder / "avatar.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _record(sampler: Sampler, request: Request, prepared: str, index: int, planes: torch.Tensor) -> dict[str, Any]:
    """How an avatar was made, for its ``avatar.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "source": request.source,
        "prompt": request.text or request.edit or "",
        "portrait": str(request.portrait) if request.portrait else None,
        "portrait_prepared": prepared,
        "seed": request.seed,
        "index": index,
        "guidance": sampler.sampling.generate.guidance,
        "planes": {
            "file": "planes.npy",
            "axes": "plane, channel, row, column",
            "plane_names": PLANE_NAMES,
            "plane_axes": PLANE_AXES,
            "texel_rule": TEXEL_RULE,
            "extent_m": sampler.sampling.planes.extent_m,
            "decoder_sha256": decoder_digest(sampler.decoder),
            "sha256": hashlib.sha256(planes.cpu().numpy().tobytes()).hexdigest(),
        },
    }
