"""The site is built without a warning, has every public function, and needs nothing from elsewhere."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.docs import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site_pages():
    return load_script("site_pages")


def public(module):
    """Functions and classes of a module that have no underscore before their name."""
    tree = ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_text())
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def loaded(page):
    """Addresses that a browser asks for when it opens a page: scripts, pictures, style sheets, fonts."""
    tags = re.findall(r"<(?:script|img|iframe|link)\b[^>]*>", page)
    wanted = [tag for tag in tags if not re.search(r'rel="?(?:canonical|next|prev)', tag)]
    return [address for tag in wanted for address in re.findall(r"\b(?:src|href)=\"?([^\" >]+)", tag)]


def test_what_a_page_loads_is_found():
    page = '<script src="a.js"></script><link rel="stylesheet" href="https://b/c.css"><link href=d.css rel=stylesheet>'
    page += '<a href="https://e">f</a><link rel="canonical" href="https://g"><img alt="" src=h.png>'
    assert loaded(page) == ["a.js", "https://b/c.css", "d.css", "h.png"]


@pytest.mark.docs
def test_the_site_is_built_and_has_every_public_function(site_pages, tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    missing = []
    for package in site_pages.REFERENCE:
        text = (tmp_path / "site" / "reference" / f"{package}.html").read_text()
        assert ":func:" not in text and ":class:" not in text
        missing += [
            f"{module}.{name}"
            for module in site_pages.modules(package)
            for name in public(module)
            if f'id="{module}.{name}"' not in text
        ]
    assert not missing
    pages = {page: page.read_text() for page in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 15
    assert not [(page, address) for page, text in pages.items() for address in loaded(text) if "//" in address]


def test_links_that_leave_the_site_become_names(site_pages):
    page = "[a](../cluster/aws.yaml), [b](scale.md#x), ![c](c.jpg), [d](https://d.e), [f](../EXPERIMENTS.md#g)"
    inside = "`cluster/aws.yaml`, [b](scale.md#x), ![c](c.jpg), [d](https://d.e), `EXPERIMENTS.md`"
    assert site_pages.within(page, "clusters.md") == inside
    assert (
        site_pages.within("[a](../scale.md) [b](../../README.md)", "notebooks/a.md") == "[a](../scale.md) `README.md`"
    )


def test_a_notebook_is_a_page_of_its_cells(site_pages):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["print(1)\n", "print(2)"]},
    ]
    page = site_pages.notebook_page({"cells": cells}, "a.ipynb")
    assert page.startswith("# Title\ntext\n\n[The notebook](a.ipynb)")
    assert page.endswith("```python\nprint(1)\nprint(2)\n```\n")


def test_reference_pages_leave_out_what_is_private(site_pages):
    assert "rodin_models.field.triplane" in list(site_pages.modules("rodin_models.field"))
    assert "pipeline.contracts.report.page" in list(site_pages.modules("pipeline.contracts"))
    names = list(site_pages.modules("rodin_models"))
    assert "rodin_models.checkpoint" in names and not [name for name in names if "__" in name or name.count(".") > 1]


def test_roles_become_code():
    assert (
        load_script("roles").without_roles("see :func:`a.b` and :class:`~c.D`, ``e``") == "see `a.b` and `c.D`, ``e``"
    )
