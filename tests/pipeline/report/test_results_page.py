import re

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Figure, Results, Row, Section, Table
from pipeline.report.results_page import figure_text, results_page

FID = Figure(name="FID", value=12.345, low=11.0, high=13.5, n=100)
NONE = Figure(name="FID", value=None, n=3, withheld="24 images < 64 features")


def results():
    section = Section(
        name="noise",
        title="From noise",
        notes=("Measured so.",),
        tables=(
            Table(title="Features", rows=(Row(name="generated", figures=(FID,)), Row(name="floor", figures=(NONE,)))),
        ),
        bars=(
            Bar(text="reached one", figure=FID, bound=13.0, at_least=False),
            Bar(text="missed one", figure=FID, bound=13.0, at_least=True),
            Bar(text="unknown one", figure=NONE, bound=13.0, at_least=True),
        ),
        pictures=(Picture(path="results/noise.png", caption="Samples"),),
        models_sha256="0123456789abcdef",
        samples=200,
        finished_at=0.0,
        seconds=120.0,
    )
    return Results(
        schema_version=SCHEMA_VERSION,
        preset="released",
        num_training=1000,
        num_held_out=100,
        processor="P",
        versions={"torch": "2"},
        sections=(section,),
    )


def test_a_figure_is_shown_with_its_interval_or_with_why_there_is_none():
    assert figure_text(FID) == "12.35 [11.00, 13.50]" or figure_text(FID) == "12.34 [11.00, 13.50]"
    assert figure_text(NONE) == "24 images < 64 features"


def test_every_bar_is_reached_or_not():
    page = results_page(results())
    lines = {
        word: next(line for line in page.splitlines() if word in line) for word in ("reached one", "missed", "unk")
    }
    assert lines["reached one"].endswith("| at most 13 | reached |")
    assert lines["missed"].endswith("| at least 13 | **not reached** |")
    assert lines["unk"].endswith("| no figure |")
    assert "1 of 3 are." in page


def test_every_figure_of_the_page_is_one_of_the_file():
    given = results()
    page = results_page(given, pictures="../x/")
    assert "(../x/results/noise.png)" in page and "1970-01-01" in page
    known = set(re.findall(r"\d+(?:\.\d+)?", given.to_json())) | {
        "12.35",
        "12.34",
        "11.00",
        "13.50",
        "95",
        "2",
        "13",
        "1970",
        "01",
        "1",
    }
    assert set(re.findall(r"\d+(?:\.\d+)?", page)) <= known | {"0123456789"}


def test_results_survive_json():
    assert Results.from_json(results().to_json()) == results()
