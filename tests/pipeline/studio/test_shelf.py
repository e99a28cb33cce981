"""What was made is there again: names, settings, downloads, and a folder that one studio has at a time."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import ConfigError, DataError, ResourceError
from pipeline.studio.shelf import NAME, Shelf
from pipeline.studio.wish import LARGEST_SEED, Made, Wish, wish_of


def made(**asked):
    return Made(schema_version=SCHEMA_VERSION, wish=Wish(**asked), models="released", made_at=1.0, seconds=2.0)


def put(shelf, **asked):
    work = shelf.work / "one"
    work.mkdir(parents=True)
    (work / "planes.npy").write_bytes(b"x")
    return shelf.add(work, made(**asked))


def test_what_is_put_there_is_found_again_the_newest_first(tmp_path):
    for seed in range(11):
        put(Shelf(tmp_path), text="An old woman, grey!", seed=seed)
    again = Shelf(tmp_path)
    items, complaints = again.look()
    assert not complaints
    assert [item.made.wish.seed for item in items] == list(range(10, -1, -1)), "by number, not by letters"
    assert items[-1].name == "0001-an-old-woman-grey"
    assert again.find("0003-an-old-woman-grey").made == made(text="An old woman, grey!", seed=2)
    assert items[0].downloads() == (("planes", "planes.npy"),)


def test_numbers_go_on_after_the_largest(tmp_path):
    shelf = Shelf(tmp_path)
    (tmp_path / "made" / "0041-somebody").mkdir(parents=True)
    assert put(shelf).name == "0042-drawn-from-noise"


@pytest.mark.parametrize("name", ["../../etc", "0001-a/../../x", "0002-nobody", "", "made", ".", "0001-b\n"])
def test_nothing_else_is_ever_found(tmp_path, name):
    put(Shelf(tmp_path), text="b")
    with pytest.raises(DataError, match="no avatar"):
        Shelf(tmp_path).find(name)


def test_damaged_settings_are_told_and_hide_no_other(tmp_path):
    shelf = Shelf(tmp_path)
    for _ in range(2):
        put(shelf, text="b")
    (tmp_path / "made" / "0001-b" / "settings.json").write_text("{")
    (tmp_path / "made" / "holiday").mkdir()
    items, complaints = shelf.look()
    assert [item.name for item in items] == ["0002-b"]
    assert len(complaints) == 2 and "0001-b" in complaints[0] and "holiday" in complaints[1]


def test_a_folder_has_one_studio_and_what_passes_is_gone_before_and_after(tmp_path):
    shelf = Shelf(tmp_path / "new" / "studio")
    (shelf.uploads).mkdir(parents=True)
    (shelf.uploads / "old.png").write_bytes(b"x")
    with shelf.opened():
        assert not list(shelf.uploads.iterdir())
        put(shelf)
        (shelf.uploads / "new.png").write_bytes(b"x")
        with pytest.raises(ResourceError, match="another studio"), Shelf(shelf.root).opened():
            pass
        assert list(shelf.uploads.iterdir()), "who was refused has touched nothing"
    assert not list(shelf.uploads.iterdir()) and len(shelf.look()[0]) == 1


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "studio").write_text("")
    with pytest.raises(ResourceError, match="another --to"), Shelf(tmp_path / "studio").opened():
        pass


@given(title=st.text(max_size=60), seed=st.integers(0, LARGEST_SEED), strength=st.floats(0, 10))
def test_names_and_settings_hold_any_text(title, seed, strength):
    from pipeline.studio.shelf import _words

    assert NAME.fullmatch(f"0001-{_words(title)}")
    record = made(text=title, seed=seed, edit_strength=strength)
    assert Made.from_json(record.to_json()) == record


def test_no_portrait_takes_the_name_of_another_file(tmp_path):
    item = put(Shelf(tmp_path), portrait="settings.json")
    assert item.portrait() == item.folder / "portrait-settings.json"
    with pytest.raises(ConfigError, match="portrait"):
        wish_of(portrait="../a.png")


def test_settings_are_for_other_programs_too(tmp_path):
    item = put(Shelf(tmp_path), text="b", seed=3, steps=10)
    told = json.loads(Path(item.folder / "settings.json").read_text())["wish"]
    assert told["text"] == "b" and told["seed"] == 3 and told["steps"] == 10
    assert dict(item.made.wish.rows())["guidance"] == "the models' own"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**40}, "seed"),
        ({"seed": None}, "seed"),
        ({"text": "x" * 1001}, "text"),
        ({"guidance": float("nan")}, "guidance"),
        ({"text": "a", "portrait": "b.png"}, "exclude each other"),
        ({"edit": "with glasses"}, "an edit changes a portrait"),
    ],
)
def test_what_cannot_be_is_one_line(asked, said):
    with pytest.raises(ConfigError, match=said) as caught:
        wish_of(**asked)
    assert "\n" not in str(caught.value)
