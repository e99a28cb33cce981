"""A file is one idea, and a folder one reads at a glance."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "blender_scripts", "rodin_models", "cluster")
MOST_LINES = 400
MOST_MODULES = 14
"""Of a folder, beside its ``__init__.py``."""


def too_long(root: Path, folders: tuple[str, ...]) -> list[str]:
    """Files of more lines than one idea takes, each with its number of lines."""
    files = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    lines = {str(path.relative_to(root)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return [f"{name} has {count} lines" for name, count in lines.items() if count > MOST_LINES]


def too_full(root: Path, folders: tuple[str, ...]) -> list[str]:
    """Folders of more modules than one reads at a glance, each with their number."""
    modules = [path for folder in folders for path in (root / folder).rglob("*.py") if path.name != "__init__.py"]
    counts: dict[Path, int] = {}
    for path in modules:
        counts[path.parent] = counts.get(path.parent, 0) + 1
    return [
        f"{folder.relative_to(root)} has {count} modules"
        for folder, count in sorted(counts.items())
        if count > MOST_MODULES
    ]


def test_no_file_is_too_long() -> None:
    assert not too_long(ROOT, (*PACKAGES, "benchmarks", "docs", "tests"))


def test_no_folder_is_too_full() -> None:
    assert not too_full(ROOT, PACKAGES)


def test_what_is_too_large_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "package" / "inner"
    inner.mkdir(parents=True)
    for name in ("__init__", *(f"module_{number}" for number in range(MOST_MODULES))):
        (inner / f"{name}.py").write_text("\n" * MOST_LINES)
    assert too_long(tmp_path, ("package",)) == too_full(tmp_path, ("package",)) == []
    (inner / "one_more.py").write_text("\n" * (MOST_LINES + 1))
    assert too_long(tmp_path, ("package",)) == ["package/inner/one_more.py has 401 lines"]
    assert too_full(tmp_path, ("package",)) == ["package/inner has 15 modules"]
