"""``docs/results.md`` and its pictures from the results that ``rodin-pipe evaluate --samples`` left in a run.

    python docs/results.py runs/released

Nothing on the page is written by hand: every figure is one of ``report/results.json``.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from pipeline.contracts.report.results import Results
from pipeline.report.results_page import results_page

DOCS: Final = Path(__file__).parent


def write_page(run: Path, docs: Path) -> None:
    """Write ``results.md`` and copy the pictures into ``docs/results/``."""
    report = run / "report"
    results = Results.from_json((report / "results.json").read_bytes())
    (docs / "results").mkdir(exist_ok=True)
    for section in results.sections:
        for picture in section.pictures:
            shutil.copyfile(report / picture.path, docs / "results" / Path(picture.path).name)
    (docs / "results.md").write_text(results_page(results), encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]), DOCS)
