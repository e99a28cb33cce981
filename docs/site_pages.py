"""What the site has beyond the pages of this folder: the reference, and the notebooks as pages. A hook of mkdocs.

Links of a page that lead out of this folder, right in the repository, become the name of the file on the site.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent
REFERENCE: Final = {
    "pipeline.contracts": "Records that cross a process, a file or a stage, and the conventions that they follow.",
    "pipeline.io": "What a run holds, read and written.",
    "rodin_models": "What the packages below share.",
    "rodin_models.field": "Tri-planes, decoder, rays, volume rendering, meshes.",
    "rodin_models.fit": "From photographs to planes.",
    "rodin_models.image": "CLIP, refiner, metrics, features.",
    "rodin_models.diffusion": "The process and its networks.",
}
"""Packages with a page each, and its first line. ``rodin_models`` has those of its own modules, the others all."""
LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for package in REFERENCE:
        files.append(File.generated(config, f"reference/{package}.md", content=reference_page(package)))
    for path in sorted((DOCS / "notebooks").glob("*.ipynb")):
        page = notebook_page(json.loads(path.read_text(encoding="utf-8")), path.name)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name what lies outside the site instead of linking to it."""
    return within(markdown, page.file.src_uri)


def within(markdown: str, page: str) -> str:
    """A page's text with links to files of the repository outside ``docs`` as code; ``page`` is its path there."""

    def named(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link[2]))
        return link[0] if path.startswith("docs/") else f"`{path}`"

    return LINK.sub(named, markdown)


def modules(package: str) -> Iterator[str]:
    """Full names of a package's public modules in alphabetical order."""
    folder = ROOT / Path(*package.split("."))
    found = folder.glob("*.py") if package == "rodin_models" else folder.rglob("*.py")
    for path in sorted(found):
        if not path.stem.startswith("_"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def reference_page(package: str) -> str:
    """Markdown that mkdocstrings makes the docstrings of a package's modules of."""
    return "\n\n".join([f"# {package}", REFERENCE[package], *(f"::: {module}" for module in modules(package))]) + "\n"


def notebook_page(notebook: dict[str, Any], name: str) -> str:
    """A notebook's cells as Markdown: text as it is, code in fences."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    title, rest = parts[0], parts[1:]
    return "\n\n".join([title, f"[The notebook]({name}), to be run from top to bottom.", *rest]) + "\n"
