"""``docs/results.md`` and its pictures from the results that ``rodin-pipe evaluate --samples`` left in a run.

    python docs/results.py runs/released [MODELS [OTHER]]

Every figure is one of ``report/results.json``; what the models were made from is told by the run's ledgers, or by the
card of MODELS, where ``evaluate --model`` measured such a folder on the run's people. Sections that were measured on
the people of another run OTHER, more of whom may be rendered than one would fit, stand in place of the run's own. What
people saw on the sheet of samples stands in ``docs/results/seen.toml``, for the models that they looked at: ``models``
is what the page calls them, ``of`` how many samples they looked at, ``note`` what else is to be said, ``[defects]`` how
many have which.
"""

import io
import sys
import tomllib
from pathlib import Path
from typing import Final

from PIL import Image

from pipeline.commands.export.card import made_from
from pipeline.contracts.report.results import SECTIONS, Results, Section
from pipeline.evaluation.subject import models_sha256
from pipeline.report.results_page import results_page
from pipeline.run.existing import open_run
from pipeline.run.model_folder import open_models

DOCS: Final = Path(__file__).parent
MOST_BYTES: Final = 400_000
"""Of a picture."""
SEEN: Final = "seen.toml"


def write_page(root: Path, docs: Path, models: Path | None = None, other: Path | None = None) -> None:
    """Write ``results.md``, and the pictures as JPEG to ``docs/results/``; ``models`` are those that were measured."""
    results, places = measured(root, other)
    made = made_from(open_run(root)) if models is None else carded(models, results)
    folder = docs / "results"
    folder.mkdir(exist_ok=True)
    sections = []
    for section in results.sections:
        pictures = []
        for picture in section.pictures:
            name = f"{Path(picture.path).stem}.jpg"
            (folder / name).write_bytes(jpeg(places[section.name] / picture.path))
            pictures.append(picture.model_copy(update={"path": f"results/{name}"}))
        sections.append(section.model_copy(update={"pictures": tuple(pictures)}))
    page = results_page(results.model_copy(update={"sections": tuple(sections)}))
    faces = next((section for section in results.sections if section.name == "faces"), None)
    seen = "" if faces is None else "\n" + looked_at(faces, folder / SEEN)
    text = f"{page}{seen}\n# The models\n\n{made}"
    (docs / "results.md").write_text(text, encoding="utf-8")


def measured(root: Path, other: Path | None) -> tuple[Results, dict[str, Path]]:
    """A run's results, with the sections of another's in their place, and the report that each section is from."""
    results = Results.from_json((root / "report" / "results.json").read_bytes())
    sections = {section.name: section for section in results.sections}
    places = dict.fromkeys(map(str, sections), root / "report")
    if other is not None:
        instead = Results.from_json((other / "report" / "results.json").read_bytes())
        people = f"On {instead.num_held_out} other held-out people, beside {instead.num_training} to learn from."
        for section in instead.sections:
            sections[section.name] = section.model_copy(update={"notes": (people, *section.notes)})
            places[section.name] = other / "report"
    return results.model_copy(update={"sections": tuple(sections[n] for n in SECTIONS if n in sections)}), places


def carded(models: Path, results: Results) -> str:
    """What the card of a folder says of data and training; raises ``ValueError`` if other models were measured."""
    sha256 = models_sha256(open_models(models))
    other = [section.name for section in results.sections if section.models_sha256 != sha256]
    if other:
        raise ValueError(f"section {other[0]} was measured with other models than those of {models}")
    card = (models / "README.md").read_text(encoding="utf-8")
    return card[card.index("## Data") : card.index("## Bytes")]


def looked_at(faces: Section, seen: Path) -> str:
    """Defects of the samples, counted by kind, if these are the models that somebody looked at."""
    lines = ["## Looked at", ""]
    record = tomllib.loads(seen.read_text(encoding="utf-8")) if seen.exists() else {}
    if record.get("models") != faces.models_sha256[:12]:
        return "\n".join([*lines, "Nobody has counted the defects of the samples of these models yet."]) + "\n"
    lines += [
        f"Every sample of the sheet, enlarged, by eye; one with several defects counts under each. {record['note']}",
        "",
        f"| seen in | of {record['of']} samples |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| {kind} | {count} |" for kind, count in record["defects"].items())]) + "\n"


def jpeg(path: Path) -> bytes:
    """A picture in at most :data:`MOST_BYTES`: as good as that allows, smaller where it has to be."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    while True:
        for quality in (90, 80, 70):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, optimize=True)
            if len(buffer.getvalue()) <= MOST_BYTES:
                return buffer.getvalue()
        image = image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    write_page(Path(sys.argv[1]), DOCS, *map(Path, sys.argv[2:]))
