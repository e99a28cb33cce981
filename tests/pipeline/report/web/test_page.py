"""The page: one file that asks nobody for anything."""

import base64
import gzip
import json
import re

import pytest
from support.web_fields import blob, unpacked

from pipeline.report.web.field import packed
from pipeline.report.web.page import LiveAvatar, StartCamera, web_page


@pytest.fixture(scope="module")
def field():
    return blob(channels=4, side=8)[2]


def avatar(field, name="a000000", caption="an old man", made=(("seed", "0"),)):
    return LiveAvatar(name, caption, made, b"\xff\xd8 no picture", StartCamera(4.6, 30.0, 10.0, -5.0), field)


def test_it_holds_everything_and_names_no_other_file(field):
    page = web_page([avatar(field)], "t")
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)|url\(([^)]*)\)|(?:import|from)\s+["']([^"']*)""", page)
    assert [first[:5] for first, *_ in links] == ["data:"], "the poster alone"
    assert "http" not in page.replace("http-equiv", ""), "no address at all"
    assert "{{" not in page


def test_what_it_carries_is_the_field_and_the_words(field):
    page = web_page([avatar(field), avatar(field, "b", "a woman")], "t")
    entries = json.loads(re.search(r'id="avatars">(.*?)</script>', page, re.DOTALL).group(1))
    assert [(e["name"], e["caption"], e["made"]) for e in entries] == [
        ("a000000", "an old man", [["seed", "0"]]),
        ("b", "a woman", [["seed", "0"]]),
    ]
    assert entries[0]["camera"] == {"distance": 4.6, "fovDeg": 30.0, "azimuthDeg": 10.0, "elevationDeg": -5.0}
    head, data = packed(field)
    assert entries[1]["head"] == json.loads(json.dumps(head))
    assert base64.b64decode(re.search(r'id="bytes-1">([^<]*)<', page).group(1)) == data
    assert unpacked(head, gzip.decompress(data))["planes"].shape == (3, 4, 8, 8)


def test_words_of_people_are_words(field):
    said = '</script><script>alert(1)</script> {{script}} & "q"'
    page = web_page([avatar(field, said, said, ((said, said),))], said)
    assert page.count("<script>") == 1 and "alert(1)</script>" not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page


def test_a_page_of_nobody():
    with pytest.raises(ValueError, match="at least one"):
        web_page([], "t")
