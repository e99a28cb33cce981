import pytest
from support.commands import rodin_passes, rodin_refuses

from pipeline.contracts.errors import DataError
from pipeline.contracts.report.results import Results
from pipeline.evaluation import attributes, evaluation
from pipeline.evaluation.evaluation import chosen_sections, evaluate_models
from pipeline.evaluation.sections import consistency, noise, portrait, steps, text
from pipeline.run.model_folder import ModelFolder

pytestmark = pytest.mark.seconds


SMALL = (
    (noise, "RESAMPLES", 4),
    (portrait, "SAMPLES", 2),
    (attributes, "EPOCHS", 2),
    (text, "EPOCHS", 2),
    (consistency, "VIEWS", 3),
    (steps, "REFITTED", 1),
    (steps, "STEPS", (2, 4)),
    (steps, "GUIDANCE", (1.0, 2.0)),
)
"""As little work as goes through everything."""


class Display:
    """Notes which sections were measured, and how far each went."""

    def __init__(self):
        self.seen = {}

    def __call__(self, name):
        self.name = name
        return self

    def __enter__(self):
        return lambda done, total: self.seen.__setitem__(self.name, (done, total))

    def __exit__(self, *error):
        return None


def evaluate(made, only=(), samples=4):
    display, said = Display(), []
    models = ModelFolder.of_run(made.run)
    results = evaluate_models(made.run, models, only=only, samples=samples, display=display, echo=said.append)
    return results, display.seen, said


@pytest.mark.parametrize(
    "sections", [("noise", "faces"), pytest.param(tuple(evaluation.MEASURES), marks=pytest.mark.slow)]
)
def test_every_section_is_measured_once_and_its_pictures_are_not_made_again(evaluated, monkeypatch, sections):
    monkeypatch.setattr(evaluation, "MEASURES", {name: evaluation.MEASURES[name] for name in sections})
    (evaluated.layout.report / "results.json").unlink(missing_ok=True)
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    results, seen, _ = evaluate(evaluated)
    assert list(seen) == list(evaluation.MEASURES) == [section.name for section in results.sections]
    for done, total in seen.values():
        assert done == total
    report = evaluated.layout.report
    assert Results.from_json((report / "results.json").read_text()) == results
    page = (report / "results.md").read_text()
    for section in results.sections:
        assert section.title in page
        for picture in section.pictures:
            assert (report / picture.path).read_bytes().startswith(b"\x89PNG")
    pictures = {path: path.stat().st_mtime_ns for path in evaluated.layout.evaluation.rglob("*.png")}
    assert pictures

    again, seen, said = evaluate(evaluated)
    assert not seen and len(said) == len(results.sections)
    assert [section.tables for section in again.sections] == [section.tables for section in results.sections]

    repeated, seen, _ = evaluate(evaluated, only=("noise",))
    assert list(seen) == ["noise"]
    assert {path: path.stat().st_mtime_ns for path in evaluated.layout.evaluation.rglob("*.png")} == pictures
    assert repeated.sections[0].tables == results.sections[0].tables, "from pictures that were kept, the same figures"
    assert repeated.sections[1:] == again.sections[1:]


def test_people_who_are_not_fitted_are_compared_by_their_photographs(evaluated, tmp_path, monkeypatch):
    bare = evaluated.copy_to(tmp_path / "run", "fit", settings=("render.held_out_every=3",))
    models, display = ModelFolder.of_run(evaluated.run), Display()
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)

    def measure(*only):
        return evaluate_models(bare.run, models, only=only, samples=2, display=display, echo=lambda line: None)

    with pytest.raises(DataError, match=r"no fitted avatars, with which noise, faces compare.*--only text"):
        measure("text", "faces", "noise")
    assert not hasattr(display, "name"), "before anything is measured"
    (section,) = (section for section in measure("text").sections if section.name == "text")
    assert display.name == "text" and all(bar.figure.n for bar in section.bars)


def test_sections_are_known_by_name():
    assert chosen_sections(("faces", "noise")) == ("noise", "faces")
    assert set(chosen_sections(())) == set(evaluation.MEASURES)


def test_bad_input_is_one_line(evaluated, tmp_path):
    run = evaluated.layout.root
    assert "'hair'" in rodin_refuses("evaluate", "--out", run, "--only", "hair")
    assert "--redo" in rodin_refuses("evaluate", "--out", run, "--samples", "4", "--redo", "evaluate")
    assert "holds no models" in rodin_refuses("evaluate", "--out", run, "--model", tmp_path)
    assert "1 fitted held-out avatars" in rodin_refuses(
        "evaluate", "--out", run, "--samples", "4", "--set", "render.held_out_every=6"
    )


def test_the_command_says_what_was_reached(evaluated):
    said = rodin_passes("evaluate", "--out", evaluated.layout.root, "--only", "faces", "--samples", "4")
    assert "over that of held-out photographs" in said and "results.md" in said
