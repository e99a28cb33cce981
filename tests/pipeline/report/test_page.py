import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from pipeline.contracts.report.page import (
    DistanceRow,
    FailureRow,
    FitPair,
    FitRow,
    GeneratedAvatar,
    LossCurve,
    Picture,
    ReportData,
    StageTime,
    TrainedModel,
)
from pipeline.report.page import referenced_files, render_page

VOID = {"meta", "img", "input", "line", "rect", "circle", "polyline"}
HOSTILE = "<script>alert('x')</script> & \"quotes\""


class _Page(HTMLParser):
    """Checks that tags nest, and collects texts, titles and what the page would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.documents: list[str] = []
        self.titles: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.sources += [values["src"] or ""] if "src" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        self.documents += [values["srcdoc"] or ""] if "srcdoc" in values else []
        self.titles += [values["title"] or ""] if "title" in values else []
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def _report(**changes: object) -> ReportData:
    picture = Picture(path="renders/a000000.png", label="a000000", caption="an old woman")
    fields: dict[str, object] = {
        "schema_version": 1,
        "run_name": "my run",
        "preset": "demo",
        "created_at": 0.0,
        "processor": "some processor",
        "device": "CPU",
        "versions": {"torch": "9.8.7"},
        "wall_seconds": 455.0,
        "ray_start_s": 6.9,
        "ray_stop_s": 3.2,
        "stages": (
            StageTime(name="render", seconds=141.3, starts_at_s=7.0, done=11, failed=1, note="a note"),
            StageTime(name="fit", seconds=98.6, starts_at_s=90.0),
        ),
        "num_avatars": 12,
        "num_held_out": 2,
        "views_per_avatar": 27,
        "resolution": 128,
        "failures": (FailureRow(stage="render", avatar_id="a000007", reason="no frame for 300 s"),),
        "renders": (picture,),
        "fits": (
            FitRow(
                avatar_id="a000000",
                held_out=False,
                psnr_db=30.26,
                psnr_foreground_db=26.0,
                ssim=0.931,
                coverage=0.42,
                seconds=24.5,
            ),
            FitRow(
                avatar_id="a000005",
                held_out=True,
                psnr_db=32.24,
                psnr_foreground_db=None,
                ssim=0.951,
                coverage=0.44,
                seconds=20.5,
            ),
        ),
        "fit_pairs": (
            FitPair(
                avatar_id="a000000",
                view=24,
                truth=Picture(path="fits/t.png"),
                fit=Picture(path="fits/f.png"),
                error=Picture(path="fits/e.png"),
                psnr_db=29.87,
                live="live/a000000.html",
            ),
        ),
        "models": (
            TrainedModel(
                name="base",
                steps=60,
                seconds=24.2,
                batch=2,
                parameters=2_510_000,
                curves=(
                    LossCurve(name="loss", points=((0, 1.0), (30, 0.5), (60, 0.25))),
                    LossCurve(name="held_out", points=((0, 1.0), (30, 0.75), (60, 0.875))),
                ),
                levels=(LossCurve(name="held_out_0.06", points=((0, 1.5), (30, 0.625), (60, 0.6875))),),
            ),
        ),
        "generated": (
            GeneratedAvatar(
                name="sample 0",
                source="text",
                prompt="a young man",
                turntable="../samples/0.mp4",
                refined_turntable="../samples/0_refined.gif",
                strip=Picture(path="../samples/0.png"),
                live="live/noise avatar-000.html",
                live_poster="../samples/0 frontal.png",
            ),
        ),
        "distances": (
            DistanceRow(
                name="with refiner",
                num_real=24,
                num_generated=6,
                num_features=64,
                fid=None,
                fid_withheld="6 images < 64 features",
                kid=0.01234,
                kid_deviation=0.00211,
            ),
            DistanceRow(
                name="rendered",
                num_real=240,
                num_generated=100,
                num_features=64,
                fid=17.25,
                kid=None,
                kid_deviation=None,
                kid_withheld="1 < 2 images",
            ),
        ),
        "encoder_sha256": "ef88468f" * 8,
        "encoder": "small CLIP",
        "config_toml": "[render]\nnum_avatars = 12\n",
    }
    return ReportData.model_validate({**fields, **changes})


def test_page_says_every_number() -> None:
    text = _Page(render_page(_report())).text
    for shown in (
        *("my run", "demo", "some processor", "CPU", "9.8.7", "7 min 35 s", "6.9", "3.2"),
        *("render", "141.3", "98.6", "a note", "12", "27", "128 × 128", "2 held out, 1 failed"),
        *("a000007", "no frame for 300 s"),
        *("30.3", "26.0", "0.931", "0.42", "24.5", "32.2", "0.951", "held out", "29.9 dB"),
        "31.2 dB",  # the mean of 30.26 and 32.24
        *("trained for 24 s, 60 steps", "batch 2", "2.51 M parameters", "expect noise, not people"),
        *("from a text", "a young man"),
        *("withheld: 6 images < 64 features", "12.34 ± 2.11", "17.25", "withheld: 1 < 2 images", "240"),
        *("ef88468f" * 8, "small CLIP", "num_avatars = 12"),
    ):
        assert shown in text, shown


def test_page_loads_what_is_listed_and_nothing_from_elsewhere() -> None:
    data = _report()
    html = render_page(data)
    page = _Page(html)
    framed = [link for document in page.documents for link in (*_Page(document).sources, *_Page(document).links)]
    assert {unquote(source) for source in (*page.sources, *framed)} == set(referenced_files(data))
    assert len(referenced_files(data)) == 10 == len(set(referenced_files(data)))
    assert not re.search(r"https?:|//|@import|url\(", html)
    assert "script" not in page.tags and "link" not in page.tags
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    within = [_Page(document) for document in page.documents]
    assert [document.links for document in within] == [["live/a000000.html"], ["live/noise%20avatar-000.html"]]
    assert [document.sources for document in within] == [["fits/f.png"], ["../samples/0%20frontal.png"]]


def test_page_escapes_every_text() -> None:
    picture = Picture(path="r.png", label=HOSTILE, caption=HOSTILE)
    data = _report(
        run_name=HOSTILE,
        preset=HOSTILE,
        processor=HOSTILE,
        device=HOSTILE,
        versions={HOSTILE: HOSTILE},
        stages=(StageTime(name=HOSTILE, seconds=1.0, note=HOSTILE),),
        failures=(FailureRow(stage=HOSTILE, avatar_id=HOSTILE, reason=HOSTILE),),
        renders=(picture,),
        models=(
            TrainedModel(
                name=HOSTILE, steps=1, seconds=1.0, note=HOSTILE, curves=(LossCurve(name=HOSTILE, points=((0, 1.0),)),)
            ),
        ),
        generated=(GeneratedAvatar(name=HOSTILE, source="edit", prompt=HOSTILE, turntable="t.gif", strip=picture),),
        encoder=HOSTILE,
        config_toml=HOSTILE,
    )
    page = _Page(render_page(data))
    assert "script" not in page.tags
    assert HOSTILE in page.titles
    # name and note or the like of: header (4) and title, versions (2), stage (2), failure (3), render label,
    # model (2) and its curve on two axes, generated name, prompt and strip, the warning's model name, encoder, config
    assert page.text.count(HOSTILE) == 4 + 1 + 2 + 2 + 3 + 1 + 2 + 2 + 3 + 1 + 1 + 1


def test_file_names_are_quoted_in_links() -> None:
    page = _Page(render_page(_report(renders=(Picture(path="my renders/50% #1.png"),))))
    assert "my%20renders/50%25%20%231.png" in page.sources


def test_an_empty_run_has_a_page() -> None:
    empty = dict.fromkeys(
        ("stages", "failures", "renders", "fits", "fit_pairs", "models", "generated", "distances"), ()
    )
    data = _report(**empty, wall_seconds=None, ray_start_s=None, ray_stop_s=None)
    text = _Page(render_page(data)).text
    assert "No stage has run yet." in text and "Nothing has been generated." in text
    assert referenced_files(data) == ()


def test_bars_stand_in_time() -> None:
    html = render_page(_report(wall_seconds=200.0, ray_start_s=None, ray_stop_s=None))
    # render begins at 7 of 200 s; fit ends at 90 + 98.6 of 200 s
    assert "margin-left:3.50%;width:70.65%" in html
    assert "margin-left:45.00%;width:49.30%" in html


def test_long_training_is_not_called_noise() -> None:
    model = TrainedModel(name="base", steps=10**6, seconds=90_000.0, curves=())
    text = _Page(render_page(_report(models=(model,)))).text
    assert "expect noise" not in text
    assert "1 d 1 h" in text and "1,000,000 steps" in text


def test_models_that_know_people_before_they_are_trained_are_not_called_noise() -> None:
    assert "expect noise" in render_page(_report())
    assert "expect noise" not in render_page(_report(linear=True))
    html = render_page(_report(started_from="the <released> models"))
    assert "expect noise" not in html and "the &lt;released&gt; models, continued here: base 24 s" in html


def test_what_continuing_did_to_the_held_out_loss_is_told() -> None:
    taken = TrainedModel(name="clip", steps=0, seconds=1.0, curves=())
    base = TrainedModel(name="base", steps=60, seconds=24.0, held_out_before=0.75, held_out_after=0.7421, curves=())
    page = _Page(render_page(_report(models=(taken, base))))
    assert "taken as it was" in page.text and "trained for 24 s, 60 steps" in page.text
    assert "held-out loss 0.7421, 0.7500 before" in page.text and page.text.count("before") == 1


def test_report_survives_json() -> None:
    data = _report()
    assert ReportData.from_json(data.to_json()) == data


@pytest.mark.parametrize("path", ["/etc/passwd.png", "https://host/x.png", "a\\b.png", "page.html", "picture"])
def test_pictures_are_relative_files(path: str) -> None:
    with pytest.raises(ValidationError, match="no relative path"):
        Picture(path=path)
