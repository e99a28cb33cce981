"""Commands and snippets of a page, and what each needs to be run, as an HTML comment above it says.

    <!-- run: small-run -->                             what has to be there before: see NEEDS
    <!-- run: docs, capture; with --set own.steps=20 -->    takes long; every rodin-pipe of it gets these options too
    <!-- not run: it needs a bucket -->                 a machine cannot, or something else does

What a fence of ``text`` right below holds is what it prints; ``...`` there stands for anything, or nothing. The fences
of a page are run one after another in one folder.
"""

import re
import shlex
from dataclasses import dataclass, field

LANGUAGES = ("bash", "python", "sh", "console", "shell")
"""Fences of these have a mark."""
NEEDS = ("fast", "docs", "small-run", "capture", "portrait")
"""``fast``: nothing. ``docs``: over some seconds. ``small-run``: a small run at ``runs/demo``. ``capture``:
photographs in the NeRF layout at ``captures/egg``. ``portrait``: a photograph of a person, ``photograph.jpg``."""
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (?P<not>not )?run: (?P<said>[^\n]+?) -->\n\s*\Z")
_COMMAND = re.compile(
    r"^(?: {4}|\t)\s*(?:\$ )?(?:\S*rodin-pipe|python|pip|make|docker|kubectl|ray|sbatch) \S", re.MULTILINE
)


class BadMark(ValueError):
    """A fence without a mark, or with one that says nothing."""


@dataclass(frozen=True)
class Fence:
    """A command or a snippet."""

    language: str
    text: str
    line: int
    """Of the page, from 1."""
    needs: frozenset[str]
    """Empty where it is not run."""
    options: tuple[str, ...] = ()
    """That each ``rodin-pipe`` of it gets too."""
    reason: str = ""
    """Why it is not run."""
    prints: str | None = field(default=None)
    """What it prints, where the page says so."""

    @property
    def slow(self) -> bool:
        """Whether it is run only where time is."""
        return "docs" in self.needs


def fences(page: str) -> list[Fence]:
    """All commands and snippets of a page's Markdown. Raises :class:`BadMark` with the line of one that has no mark."""
    if bare := _COMMAND.search(_FENCE.sub("", page)):
        raise BadMark(f"{bare[0].strip()!r} stands indented: commands stand in fences with a mark")
    found: list[Fence] = []
    blocks = list(_FENCE.finditer(page))
    for block, after in zip(blocks, [*blocks[1:], None], strict=False):
        if block["language"] not in LANGUAGES:
            continue
        line = page.count("\n", 0, block.start()) + 1
        mark = _MARK.search(page[: block.start()])
        if mark is None:
            raise BadMark(f"line {line}: no mark above it says what it needs")
        expected = None
        if after is not None and after["language"] == "text" and not page[block.end() : after.start()].strip():
            expected = after["text"]
        found.append(_marked(block, mark, line, expected))
    return found


def _marked(block: re.Match[str], mark: re.Match[str], line: int, expected: str | None) -> Fence:
    language, text = block["language"], block["text"]
    if mark["not"]:
        return Fence(language, text, line, frozenset(), reason=mark["said"])
    needs, _, options = mark["said"].partition("; with ")
    words = frozenset(word.strip() for word in needs.split(","))
    if unknown := words.difference(NEEDS):
        raise BadMark(f"line {line}: {sorted(unknown)} is none of {', '.join(NEEDS)}")
    return Fence(language, text, line, words, tuple(shlex.split(options)), prints=expected)


def agrees(printed: str, expected: str) -> bool:
    """Whether something was printed as a page says it; runs of blanks are one, ``...`` stands for anything."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in expected.split("..."))
    pattern = pattern.replace(r"\ ", " ").replace(" .*", ".*").replace(".* ", ".*")
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None
