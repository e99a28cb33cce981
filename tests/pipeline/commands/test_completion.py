"""What a shell offers is what the commands take."""

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.commands import completion
from pipeline.config.load import load_config
from pipeline.config.presets import PRESETS


def offered(line):
    """What bash would be given at the end of ``line``; a space at its end begins a new word."""
    asked = {
        "_RODIN_PIPE_COMPLETE": "complete_bash",
        "COMP_WORDS": line.rstrip(),
        "COMP_CWORD": str(line.count(" ")),
    }
    return set(CliRunner().invoke(app, [], prog_name="rodin-pipe", env=asked).stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rodin-pipe ge", {"generate"}),
        ("rodin-pipe run --preset ", set(PRESETS)),
        ("rodin-pipe run --redo up", {"upsampler"}),
        ("rodin-pipe train la", {"latent"}),
        ("rodin-pipe evaluate --only port", {"portrait"}),
        ("rodin-pipe fit --set fit.ste", {"fit.steps="}),
    ],
)
def test_a_shell_is_offered_what_the_command_takes(line, expected):
    assert offered(line) == expected


def test_every_setting_that_is_offered_is_there():
    def keys(incomplete):
        for key in completion.settings_of(incomplete):
            yield from keys(key) if key.endswith(".") else (key,)

    config = load_config(preset="demo")
    found = list(keys(""))
    assert {"seed=", "fit.steps=", "base.unet.width="} <= set(found)
    for key in found:
        value = config
        for name in key.removesuffix("=").split("."):
            value = getattr(value, name)
    assert completion.settings_of("fit.steps.x") == () == completion.settings_of("nothing.")
