"""How good fits are: planes with a decoder of their own, planes under the shared one, and what either leaves to wish.

    python -m benchmarks.fit_quality FOLDER [--avatars 12] [--threads 2] [--only own shared forgetting]
                                            [--own steps=3000] [--shared steps=3000] [--own-decoder hidden=64]

FOLDER comes from ``python -m benchmarks.fit_views FOLDER``. Planes are rounded as they are stored and rendered without
a hull, every held-out view at 128 samples a ray; PSNR is over white. Printed are, by avatar and as means:

- the share of the images that is covered, and the PSNR between two renders of the same view with different noise;
- whole image and foreground (true alpha above 0) of both ways, the gap between them, and the whole image of the
  shared way's planes made 64 texels a side and large again;
- over avatars, how the channels' means and deviations spread: planes of one domain differ less between avatars
  than within one;
- what it costs an avatar to come first in a joint fit rather than last (``forgetting``).

Results lie in ``FOLDER/quality``: a killed command goes on with what is missing, and ``NN.png`` there shows avatar NN.
The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fit import changed
from benchmarks.held_out import mean
from benchmarks.quality.cached_fit import Fitted, Recipe, own_fit, shared_fit
from benchmarks.quality.forgetting import forgotten
from benchmarks.quality.pictures import Labelled, picture
from benchmarks.subject import load_subject
from pipeline.config.load import load_config
from pipeline.images import encode_png, over_white, to_uint8
from pipeline.stages.fit.settings import decoder_settings, fit_settings
from rodin_models.field.render import render_image

DESK = load_config(preset="desk")
LONG = fit_settings(DESK, steps=3000)
"""Of both ways. In so many steps, planes may be fine sooner and held less smooth than in a few hundred."""
OWN_DECODER = decoder_settings(DESK)
CPU = torch.device("cpu")


def ceiling(arrays: Any) -> tuple[float, float] | None:
    """Whole-image and foreground PSNR between renders of the same views with different noise, if there are such.

    Both of such a pair are noisy: a fit without any error would be half as far, 3 dB, from either.
    """
    if "held_out_again_rgba" not in arrays:
        return None
    whole, foreground = [], []
    for first, again in zip(arrays["held_out_rgba"], arrays["held_out_again_rgba"], strict=False):
        pair = [over_white(rgba).astype(np.float64) / 255 for rgba in (first, again)]
        error = ((pair[0] - pair[1]) ** 2).mean(-1)
        whole.append(float(-10 * np.log10(error.mean())))
        foreground.append(float(-10 * np.log10(error[first[..., 3] > 0].mean())))
    return mean(whole), mean(foreground)


def domain(fits: Sequence[Fitted]) -> dict[str, Any]:
    """How channels spread: their mean and deviation over texels of each avatar, over avatars."""
    planes = torch.stack([fit.planes for fit in fits]).double().transpose(1, 2).flatten(2)
    means, deviations = planes.mean(-1), planes.std(-1)
    between = float(means.var(0).mean().sqrt())
    within = float(deviations.square().mean().sqrt())
    return {
        "channel_mean": [round(x, 4) for x in means.mean(0).tolist()],
        "channel_deviation": [round(x, 4) for x in deviations.mean(0).tolist()],
        "means": [round(float(means.min()), 4), round(float(means.max()), 4)],
        "deviations": [round(float(deviations.min()), 4), round(float(deviations.max()), 4)],
        "between_over_within": round(between / within, 4),
    }


def show(path: Path, arrays: Any, fits: dict[str, Fitted], samples: int) -> None:
    """Write the picture of an avatar: its frontal view, and the held-out view that is most from behind."""
    behind = int(arrays["held_out_cam2world"][:, 2, 3].argmin())
    labelled, shown = [], []
    for split, number in (("frontal", 0), ("held_out", behind)):
        fields = ("rgba", "segmentation", "landmarks", "cam2world", "intrinsics")
        rgba, classes, marks, *camera = (arrays[f"{split}_{name}"][number] for name in fields)
        labelled.append(Labelled(over_white(rgba), classes, marks))
        size, images = rgba.shape[:2], []
        for fit in fits.values():
            cam2world, pinhole = (torch.from_numpy(part) for part in camera)
            image = render_image(fit.planes, fit.decoder, cam2world, pinhole, *size, samples=samples)
            images.append(to_uint8(image.rgb.numpy()))
        shown.append(images)
    path.write_bytes(encode_png(picture(labelled[0], labelled[1], list(zip(fits, *shown, strict=True)))))


def avatars(given: argparse.Namespace, recipes: dict[str, Recipe]) -> dict[str, Any]:
    """Fit, measure and show the avatars."""
    numbers = range(given.first, given.first + given.avatars)
    folder = given.folder / "quality"
    rows: list[dict[str, float]] = []
    fits: dict[str, list[Fitted]] = {"own": [], "shared": []}
    for number in numbers:
        arrays = np.load(given.folder / f"avatar-{number:02d}.npz")
        name, subject = f"{number:02d}", load_subject(given.folder, f"avatar-{number:02d}", CPU, depth=True)
        found: dict[str, Fitted] = {}
        row: dict[str, float] = {"avatar": number}
        if "own" in given.only:
            found["own"] = own_fit(folder, name, subject, recipes["own"])
        if "shared" in given.only:
            found["shared"] = shared_fit(folder, name, subject, recipes["shared"])
        for way, fit in found.items():
            fits[way].append(fit)
            row |= {
                "coverage": fit.full.coverage,
                f"{way}_whole_db": fit.full.whole_db,
                f"{way}_foreground_db": fit.full.foreground_db,
                f"{way}_small_db": fit.small.whole_db,
                f"{way}_floaters": fit.full.floaters,
                f"{way}_cpu_seconds": fit.seconds,
            }
        if len(found) == 2:
            row["gap_db"] = found["own"].full.whole_db - found["shared"].full.whole_db
        noise = ceiling(arrays)
        if noise is not None:
            row |= {"ceiling_whole_db": noise[0], "ceiling_foreground_db": noise[1]}
        if found and "frontal_segmentation" in arrays:
            show(folder / f"{name}.png", arrays, found, given.render_samples)
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row if name != "avatar"))
    means = {name: mean([row[name] for row in rows if name in row]) for name in names}
    print_table([*rows, {"avatar": -1, **means}])
    summary: dict[str, Any] = {name: round(value, 4) for name, value in means.items()}
    for way, done in fits.items():
        if len(done) > 1:
            summary[f"{way}_domain"] = spread = domain(done)
            ratio = spread["between_over_within"]
            print(f"{way}: channel means {spread['means']}, deviations {spread['deviations']}")
            print(f"{way}: between avatars a channel's mean varies {ratio:.3f} times as much as its texels within one")
    return summary


def print_table(rows: Sequence[dict[str, float]]) -> None:
    """The last row is of means and has all names."""
    names = list(rows[-1])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        first = "mean" if row["avatar"] < 0 else str(int(row["avatar"]))
        cells = [_cell(n, row[n]) if n in row else "" for n in names[1:]]
        print(f"| {first} | " + " | ".join(cells) + " |")


def _cell(name: str, value: float) -> str:
    return f"{value:.4f}" if name == "coverage" or name.endswith("floaters") else f"{value:.2f}"


def forgetting(given: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """What it costs avatars of the decoder to be seen first rather than last."""
    count = len(sorted(given.folder.glob("decoder-??.npz")))
    if not 2 <= given.joint_avatars <= count:
        raise SystemExit(
            f"--joint-avatars is {given.joint_avatars}; give 2 to {count}, the decoder's avatars in {given.folder}"
        )
    subjects = [load_subject(given.folder, f"decoder-{n:02d}", CPU, depth=True) for n in range(given.joint_avatars)]
    found = forgotten(given.folder / "quality", subjects, given.joint_steps, recipe)
    print("| joint fit | first dB | last dB | forgotten dB |\n|---|---|---|---|")
    for name, figures in found.items():
        print(f"| {name} | {figures.first_db:.2f} | {figures.last_db:.2f} | {figures.forgotten_db:.2f} |")
    return {
        name: {key: round(value, 4) for key, value in (asdict(f) | {"forgotten_db": f.forgotten_db}).items()}
        for name, f in found.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    numbers = {"avatars": 12, "first": 0, "threads": 2, "render-samples": 128, "seed": 0}
    for name, value in (numbers | {"joint-avatars": 4, "joint-steps": 150}).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    ways = ("own", "shared", "forgetting")
    parser.add_argument("--only", nargs="*", choices=ways, default=list(ways))
    parser.add_argument("--depth", action=argparse.BooleanOptionalAction, default=True, help="give fits the depth")
    parser.add_argument("--steps", type=int, help="of both ways")
    for way in ("own", "shared", "own-decoder"):
        parser.add_argument(f"--{way}", nargs="*", default=[], metavar="NAME=VALUE", help=f"settings, {way}")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    (given.folder / "quality").mkdir(exist_ok=True)
    steps = [f"steps={given.steps}"] if given.steps else []
    decoder = changed(OWN_DECODER, given.own_decoder)
    recipes = {
        way: Recipe(changed(LONG, [*changes, *steps]), decoder, given.render_samples, given.depth, given.seed)
        for way, changes in (("own", given.own), ("shared", given.shared))
    }
    summary: dict[str, Any] = {"depth": given.depth}
    if {"own", "shared"} & set(given.only):
        summary |= {"avatars": given.avatars, **avatars(given, recipes)}
    if "forgetting" in given.only:
        summary["forgetting"] = forgetting(given, recipes["shared"])
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
