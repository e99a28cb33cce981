"""Docstrings as the site shows them: the roles in which they name others become plain code.

An extension of griffe, which reads our modules for mkdocstrings without importing them.
"""

import re
from typing import Any, Final

import griffe

ROLE: Final = re.compile(r":(?:attr|class|const|data|func|meth|mod):`~?([^`]+)`")


def without_roles(text: str) -> str:
    """``:func:`x``` becomes ```x```."""
    return ROLE.sub(r"`\1`", text)


class PlainRoles(griffe.Extension):
    """Takes the roles out of every docstring that is read."""

    def on_instance(self, *, obj: griffe.Object, **more: Any) -> None:
        """Called with each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = without_roles(obj.docstring.value)
