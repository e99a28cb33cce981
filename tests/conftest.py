"""Shapes in the signatures of rodin_models are checked at every call of every test.

Here and not beside the tests of rodin_models: the hook works only on modules that are not imported yet.
"""

import signal

from jaxtyping import install_import_hook

install_import_hook("rodin_models", "beartype.beartype")

# A shell that starts the tests in the background has SIGINT ignored, and every process below would inherit that:
# tests that interrupt a process need it as it is in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
