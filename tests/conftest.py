"""Shapes in the signatures of rodin_models are checked at every call of every test.

Here and not beside the tests of rodin_models: the hook works only on modules that are not imported yet.
"""

from jaxtyping import install_import_hook

install_import_hook("rodin_models", "beartype.beartype")
