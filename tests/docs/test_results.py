"""docs/results.md is made by a script of what an evaluation left in a run."""

import importlib.util
from pathlib import Path

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Results, Section

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("results_script", ROOT / "docs" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_its_pictures_come_from_the_run(tmp_path):
    report, docs = tmp_path / "run" / "report", tmp_path / "docs"
    (report / "results").mkdir(parents=True)
    docs.mkdir()
    (report / "results" / "noise.png").write_bytes(b"picture")
    section = Section(
        name="noise",
        title="From noise",
        tables=(),
        pictures=(Picture(path="results/noise.png", caption="Samples"),),
        models_sha256="a" * 64,
        samples=4,
        finished_at=0.0,
        seconds=1.0,
    )
    results = Results(
        schema_version=SCHEMA_VERSION,
        preset="released",
        num_training=10,
        num_held_out=2,
        processor="P",
        versions={},
        sections=(section,),
    )
    (report / "results.json").write_text(results.to_json())
    script().write_page(tmp_path / "run", docs)
    assert "![Samples](results/noise.png)" in (docs / "results.md").read_text()
    assert (docs / "results" / "noise.png").read_bytes() == b"picture"
