"""Names: format and parse are exact inverses, and nothing else parses."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import (
    RunLayout,
    format_avatar,
    format_sample,
    format_shard,
    num_shards,
    parse_avatar,
    parse_sample,
    parse_shard,
    shard_avatars,
)

avatars = st.integers(0, 10**6 - 1)
near_names = st.from_regex(r"\A(shard-|a)?[0-9٣]{3,7}(_?v?[0-9]{2,4})?\n?\Z") | st.text(max_size=12)


@given(avatars, st.integers(0, 999))
def test_names_come_back(avatar: int, view: int) -> None:
    assert parse_avatar(format_avatar(avatar)) == avatar
    assert parse_sample(format_sample(avatar, view)) == (avatar, view)
    assert "." not in format_sample(avatar, view)


@given(st.integers(0, 10**5 - 1))
def test_shard_names_come_back(shard: int) -> None:
    assert parse_shard(format_shard(shard)) == shard


@given(near_names)
def test_what_parses_is_what_format_writes(text: str) -> None:
    for parse, write in (
        (parse_avatar, format_avatar),
        (parse_shard, format_shard),
        (parse_sample, lambda pair: format_sample(*pair)),
    ):
        try:
            value = parse(text)
        except DataError as error:
            assert repr(text) in str(error)
        else:
            assert write(value) == text


@pytest.mark.parametrize("name", ["a٣٣٣٣٣٣", "a000012\n", "a00012", "a0000012", "A000012", " a000012", "a000012.json"])
def test_names_that_int_would_take_but_format_never_writes(name: str) -> None:
    with pytest.raises(DataError, match="is not an avatar id such as a000012"):
        parse_avatar(name)


@given(avatars, avatars)
def test_order_of_names_is_order_of_indices(a: int, b: int) -> None:
    assert (format_avatar(a) < format_avatar(b)) == (a < b)


@pytest.mark.parametrize(("write", "bad"), [(format_avatar, -1), (format_avatar, 10**6), (format_shard, 10**5)])
def test_indices_that_no_name_can_carry_are_refused(write, bad: int) -> None:
    with pytest.raises(DataError, match=str(bad)):
        write(bad)


def test_a_view_above_999_is_refused() -> None:
    with pytest.raises(DataError, match="1000"):
        format_sample(0, 1000)


@given(st.integers(0, 200), st.integers(1, 40))
def test_shards_share_out_all_avatars_in_order(num_avatars: int, shard_size: int) -> None:
    shards = [shard_avatars(s, shard_size, num_avatars) for s in range(num_shards(num_avatars, shard_size))]
    assert [avatar for shard in shards for avatar in shard] == list(range(num_avatars))
    assert all(len(shard) == shard_size for shard in shards[:-1])
    assert all(shards)


def test_everything_of_a_run_lies_in_it_under_different_names() -> None:
    layout = RunLayout(Path("/runs/one"))
    paths = [getattr(layout, name) for name, value in vars(RunLayout).items() if isinstance(value, property)]
    paths += [layout.shard(3), layout.parts("render", 3), layout.attempts("render", "shard-00003")]
    paths += [layout.model("base"), layout.ledger("render", "shard-00003")]
    assert all(path.is_relative_to(layout.root) and path != layout.root for path in paths)
    assert layout.scratch == layout.work, "they part in a bucket only"
    assert len(set(paths)) == len(paths) - 1
    assert parse_shard(layout.shard(3).stem) == 3
