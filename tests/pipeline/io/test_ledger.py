"""Ledger entries: absent, whole or an error, never silently anything else."""

import json
from pathlib import Path

import pytest
from support.ledgers import write_render

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.planes import FitReport, FitShardReport
from pipeline.contracts.rendering import RenderedShard, RenderReport
from pipeline.io.ledger import forget_ledgers, read_ledger, read_ledgers, write_ledger


def entry(shard: int = 0) -> FitShardReport:
    fit = FitReport(
        avatar=1,
        source_sha256="ab",
        psnr_db=0.1 + 0.2,
        psnr_foreground_db=None,
        ssim=1e-17,
        coverage=None,
        steps=3,
        seconds=0.5,
        planes_sha256="cd",
    )
    return FitShardReport(
        schema_version=SCHEMA_VERSION,
        fingerprint="f",
        shard=shard,
        decoder_sha256="ef",
        fits=(fit,),
        failures=(),
        started_at=1.5,
        finished_at=2.5,
        versions={"numpy": "1"},
        processor="p",
    )


def test_an_entry_comes_back_and_a_missing_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "fit" / "shard-00000.json"
    assert read_ledger(path, FitShardReport) is None
    write_ledger(path, entry())
    assert read_ledger(path, FitShardReport) == entry()


def test_all_entries_of_a_stage_in_order(tmp_path: Path) -> None:
    assert read_ledgers(tmp_path / "none", FitShardReport) == {}
    for shard in (10, 2, 0):
        write_ledger(tmp_path / f"shard-{shard:05d}.json", entry(shard))
    (tmp_path / ".shard-00003.json.1-2.partial").write_text("{")
    read = read_ledgers(tmp_path, FitShardReport)
    assert list(read) == ["shard-00000", "shard-00002", "shard-00010"]
    assert [report.shard for report in read.values()] == [0, 2, 10]


def test_forgotten_entries_count_as_not_done(tmp_path: Path) -> None:
    write_ledger(tmp_path / "a.json", entry())
    forget_ledgers(tmp_path)
    forget_ledgers(tmp_path / "none")
    assert read_ledger(tmp_path / "a.json", FitShardReport) is None


def test_an_entry_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    data = entry().to_json().encode()
    for length in range(len(data) - 1):  # the last byte is the final newline
        path.write_bytes(data[:length])
        with pytest.raises(DataError) as caught:
            read_ledger(path, FitShardReport)
        assert str(path) in str(caught.value) and "delete it" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_another_schema_is_named_before_its_fields_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"schema_version": 99, "unheard_of": 1}))
    with pytest.raises(DataError, match=f"schema version 99, and this program reads version {SCHEMA_VERSION}"):
        read_ledger(path, FitShardReport)


@pytest.mark.parametrize("text", ["[]", "3", '{"schema_version": 1}', '{"shard": "0"}', "\xff"])
def test_json_that_is_no_entry_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.json"):
        read_ledger(path, FitShardReport)


def rendered(tmp_path: Path) -> tuple[Path, RenderReport]:
    layout = RunLayout(tmp_path)
    write_render(layout, 0, (0, 1))
    path = layout.ledger("render", "shard-00000")
    whole = read_ledger(path, RenderReport)
    assert whole is not None and len(whole.specs) == 2
    return path, whole


def test_who_was_drawn_is_left_unread_however_it_is_written(tmp_path: Path) -> None:
    path, whole = rendered(tmp_path)
    expected = {name: value for name, value in whole if name != "specs"}
    assert dict(read_ledger(path, RenderedShard) or ()) == expected
    text = path.read_text()
    as_written = json.loads(text)
    first = {"specs": as_written["specs"], **as_written}
    for other in (
        text.replace("\n", " "),
        json.dumps(as_written),
        json.dumps(first, indent=1),
        json.dumps({**as_written, "specs": []}, indent=1),
        json.dumps({**as_written, "specs": [], "rejections": []}, indent=1),
    ):
        path.write_text(other)
        assert dict(read_ledger(path, RenderedShard) or ()) == expected
    specs = text.index('"caption"')
    path.write_text(text[:specs] + "nonsense" + text[specs:])
    assert dict(read_ledger(path, RenderedShard) or ()) == expected, "it is not looked at"
    with pytest.raises(DataError, match="is no JSON"):
        read_ledger(path, RenderReport)


def test_an_entry_that_was_cut_off_is_damaged_whatever_is_read_of_it(tmp_path: Path) -> None:
    path, _ = rendered(tmp_path)
    text = path.read_text()
    for end in (10, text.index('"specs"') + 20, text.index("\n ]", text.index('"specs"')) + 3, len(text) - 3):
        path.write_text(text[:end])
        with pytest.raises(DataError, match="is no JSON"):
            read_ledger(path, RenderedShard)
    path.write_text(text.replace('"shard": 0', '"shard": 0, "colour": 1'))
    with pytest.raises(DataError, match="colour"):
        read_ledger(path, RenderedShard)
    path.write_text(text.replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    with pytest.raises(DataError, match="schema version 99"):
        read_ledger(path, RenderedShard)
