"""A finished avatar's folder is adopted only if every byte is what its record says."""

import shutil
from pathlib import Path

import pytest

from pipeline.contracts.errors import DataError
from pipeline.contracts.rendering import AVATAR_JSON, RenderedAvatar, RenderPasses, sample_suffixes
from pipeline.io.avatar_folder import (
    avatar_sha256,
    publish_avatar_folder,
    sample_order,
    verify_avatar_folder,
)
from pipeline.io.publish import sha256_file


@pytest.fixture
def folder(folders: list[Path], tmp_path: Path) -> Path:
    """A copy of the first avatar's folder, to be damaged."""
    return Path(shutil.copytree(folders[0], tmp_path / folders[0].name))


def record(folder: Path) -> RenderedAvatar:
    return RenderedAvatar.from_json((folder / AVATAR_JSON).read_bytes())


def rewrite(folder: Path, **changes: object) -> None:
    (folder / AVATAR_JSON).write_text(record(folder).model_copy(update=changes).to_json())


def test_a_whole_folder_is_verified(folder: Path) -> None:
    rendered = verify_avatar_folder(folder)
    assert rendered.avatar == 3 and len(rendered.files) == 4 * len(sample_suffixes(RenderPasses()))
    assert all(sha256_file(folder / file.name) == file.sha256 for file in rendered.files)
    assert list(rendered.files) == sorted(rendered.files, key=sample_order)
    assert verify_avatar_folder(folder, views=range(4)) == rendered


def test_every_single_damaged_byte_of_any_file_is_found(folder: Path) -> None:
    for file in record(folder).files:
        path = folder / file.name
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        for content in (bytes(damaged), whole[:-1], whole + b"\0", b""):
            path.write_bytes(content)
            with pytest.raises(DataError, match=file.name):
                verify_avatar_folder(folder)
        path.write_bytes(whole)
    verify_avatar_folder(folder)


def test_missing_superfluous_and_unlisted_files_are_found(folder: Path) -> None:
    extra = folder / "a000003_v009.json"
    extra.write_text("{}")
    with pytest.raises(DataError, match="a000003_v009"):
        verify_avatar_folder(folder)
    extra.unlink()
    files = record(folder).files
    rewrite(folder, files=files[1:])
    with pytest.raises(DataError, match="once for each view"):
        verify_avatar_folder(folder)
    rewrite(folder, files=files)
    (folder / files[0].name).unlink()
    with pytest.raises(DataError, match=f"lacks {files[0].name}"):
        verify_avatar_folder(folder)


@pytest.mark.parametrize("name", ["../a000003_v000.json", "a000003_v000.exr", "a000004_v000.json", "a000003_v000"])
def test_a_record_that_lists_foreign_names_is_refused(folder: Path, name: str) -> None:
    first, *rest = record(folder).files
    rewrite(folder, files=(first.model_copy(update={"name": name}), *rest))
    with pytest.raises(DataError, match="delete the folder"):
        verify_avatar_folder(folder)


def test_an_unfinished_a_renamed_and_an_empty_avatar_are_refused(folder: Path) -> None:
    renamed = folder.rename(folder.with_name("a000007"))
    with pytest.raises(DataError, match="not of a000007"):
        verify_avatar_folder(renamed)
    folder = renamed.rename(folder)
    with pytest.raises(DataError, match="4 views, not the 5 asked for"):
        verify_avatar_folder(folder, views=range(5))
    rewrite(folder, files=())
    with pytest.raises(DataError, match="lists no file"):
        verify_avatar_folder(folder)
    (folder / AVATAR_JSON).unlink()
    with pytest.raises(DataError, match="not finished"):
        verify_avatar_folder(folder)


def test_the_hash_is_of_the_files_and_not_of_times_or_order(folder: Path) -> None:
    rendered = record(folder)
    changed = rendered.model_copy(update={"seconds": {"build": 9.0}, "files": rendered.files[::-1]})
    assert avatar_sha256(changed) == avatar_sha256(rendered)
    first, *rest = rendered.files
    other = rendered.model_copy(update={"files": (first.model_copy(update={"sha256": "0" * 64}), *rest)})
    assert avatar_sha256(other) != avatar_sha256(rendered)


def test_a_written_folder_verifies(folder: Path, tmp_path: Path) -> None:
    rendered = record(folder)
    files = [(file.name, (folder / file.name).read_bytes()) for file in rendered.files]
    written = publish_avatar_folder(tmp_path / "into", 3, files, rendered.seconds)
    assert written == rendered == verify_avatar_folder(tmp_path / "into" / "a000003")
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["a000003"]
