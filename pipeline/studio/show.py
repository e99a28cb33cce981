"""What the studio's page says, as HTML: progress, sentences, an avatar live, its settings and downloads."""

import time
from html import escape
from typing import Final

from pipeline.studio.jobs import News, State
from pipeline.studio.shelf import DOWNLOADS, PAGE, Item

STYLE: Final = """
.rp-bar { height: 10px; border-radius: 5px; background: #8883; overflow: hidden; }
.rp-bar > div { height: 100%; background: #4f7cac; transition: width .2s; }
.rp-words { margin: .4em 0 0; }
.rp-sentence { margin: 0; padding: .6em .8em; border-left: 4px solid #c0392b; background: #c0392b18; }
.rp-live { display: block; width: 100%; height: 520px; border: 1px solid #8884; border-radius: 8px; background: #fff; }
.rp-empty { display: flex; align-items: center; justify-content: center; height: 520px; border: 1px dashed #8886;
  border-radius: 8px; color: #888; text-align: center; padding: 2em; }
.rp-take a { display: inline-block; margin: 0 .6em .4em 0; padding: .3em .9em; border-radius: 6px;
  border: 1px solid #4f7cac; color: inherit; text-decoration: none; }
.rp-made { width: 100%; border-collapse: collapse; font-size: .92em; }
.rp-made, .rp-made th, .rp-made td, .rp-made tr { border: 0 !important; text-align: left; }
.rp-made th { font-weight: normal !important; color: #888; padding: 1px 1em 1px 0 !important; white-space: nowrap; }
.rp-made td { width: 100%; padding: 1px 0 !important; }
"""
EMPTY: Final = '<div class="rp-empty">The avatar appears here and can be turned as soon as its planes are there.</div>'


def progress(news: News) -> str:
    """A job's bar and what it does; nothing once it is over."""
    if news.state is State.WAITING:
        words = f"waiting: {counted(news.ahead, 'avatar')} before yours"
        return _bar(0.0, words, news.behind)
    if news.state is State.WORKING:
        return _bar(news.share, news.words or "beginning", news.behind)
    return (
        sentence(news.words) if news.state is State.FAILED else said("stopped") if news.state is State.CANCELLED else ""
    )


def queue_length(length: int) -> str:
    """How long the queue is, for who comes."""
    return said(
        "nobody waits: an avatar is begun at once" if not length else f"the queue is {counted(length, 'avatar')} long"
    )


def sentence(text: str) -> str:
    """What cannot be done, in one sentence."""
    return f'<p class="rp-sentence" role="alert">{escape(text)}</p>'


def said(text: str) -> str:
    """Something in passing."""
    return f'<p class="rp-words">{escape(text)}</p>'


def live(address: str) -> str:
    """A page of an avatar in the page. It may run its scripts and is otherwise a stranger here."""
    return f'<iframe class="rp-live" title="the avatar" sandbox="allow-scripts" src="{escape(address)}"></iframe>'


def live_of(item: Item) -> str:
    """The live view of what is on the shelf."""
    return live(f"/made/{item.name}/{PAGE}")


def described(item: Item) -> str:
    """An avatar's downloads and how it was made."""
    made = item.made
    links = "".join(
        f'<a href="/made/{escape(item.name)}/{file}?download" download="{escape(item.name)}.{file.rpartition(".")[2]}">'
        f"{label}</a>"
        for label, file in item.downloads()
    )
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(made.made_at))
    rows = (
        *made.wish.rows(),
        ("models", made.models),
        ("made", f"{when}, in {made.seconds:.1f} s"),
        ("name", item.name),
    )
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    missing = said(made.left_out) if made.left_out else ""
    return f'<div class="rp-take" id="rp-take">{links}</div>{missing}<table class="rp-made">{table}</table>'


def counted(number: int, noun: str) -> str:
    """``1 avatar``, ``2 avatars``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def media_type(file: str) -> str:
    """Of a download."""
    assert file in dict(DOWNLOADS).values(), "only those are served"
    known = {"html": "text/html; charset=utf-8", "glb": "model/gltf-binary", "mp4": "video/mp4", "gif": "image/gif"}
    return known.get(file.rpartition(".")[2], "image/png" if file.endswith(".png") else "application/octet-stream")


def _bar(share: float, words: str, behind: int) -> str:
    more = f" · {counted(behind, 'avatar')} waiting behind it" if behind else ""
    percent = f"{100 * share:.0f}"
    return (
        f'<div class="rp-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}">'
        f'<div style="width:{percent}%"></div></div>{said(words + more)}'
    )
