"""Shapes in the signatures of rodin_models are checked at every call of these tests."""

from jaxtyping import install_import_hook

install_import_hook("rodin_models", "beartype.beartype")
