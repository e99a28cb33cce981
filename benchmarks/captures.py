"""What ``ingest`` and ``fit --own-decoder`` make of captures with nothing said but a budget: PSNR and SSIM by minutes.

    python -m benchmarks.captures FOLDER [FOLDER ...] --work WORK [--minutes 1 2 5 10 20] [--set KEY=VALUE ...]

Both commands run as a user gives them, one budget after another, into ``WORK/<capture>-<minutes>``; what is finished
there already is only read. A budget is a number of steps (``own.steps``), so figures do not depend on what else the
machine does; wall seconds do. Prints a Markdown table and, last, one JSON object.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path


def fitted(capture: Path, minutes: float, work: Path, settings: list[str]) -> dict[str, float]:
    """Held-out quality of one capture after one budget."""
    run = work / f"{capture.name}-{minutes:g}"
    metrics = run / "own" / "a000000" / "metrics.json"
    if not metrics.exists():
        chosen = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "pipeline.cli"]
        if not (run / "run.toml").exists():
            subprocess.run([*command, "ingest", str(capture), "--out", str(run), *chosen], check=True)
        budget = ["--minutes", f"{minutes:g}"]
        subprocess.run([*command, "fit", "--own-decoder", "--out", str(run), *budget, *chosen], check=True)
    return json.loads(metrics.read_text())  # type: ignore[no-any-return]


def main() -> None:
    """Fit, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2, 5, 10, 20])
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    for capture in chosen.captures:
        for minutes in chosen.minutes:
            found = fitted(capture, minutes, chosen.work, chosen.settings)
            kept = {key: found[key] for key in ("psnr_db", "psnr_foreground_db", "ssim", "steps", "seconds")}
            results.setdefault(capture.name, {})[f"{minutes:g}"] = kept
    print("| object | " + " | ".join(f"{minutes:g} min" for minutes in chosen.minutes) + " |")
    print("|---|" + "---|" * len(chosen.minutes))
    for name, by_minutes in results.items():
        cells = (f"{r['psnr_db']:.2f} dB, {r['ssim']:.4f}" for r in by_minutes.values())
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
