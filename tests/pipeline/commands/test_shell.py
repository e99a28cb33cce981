"""What a file system refuses, and Ctrl-C, as the command line tells them."""

import errno
import os
import signal
import time

import pytest
import typer

from pipeline.commands.shell import for_the_user


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EROFS, "copy the run"),
        (errno.ENOSPC, "make room"),
        (errno.ENOLCK, "no locks"),
        (errno.EIO, "see to it"),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, number, told):
    with pytest.raises(SystemExit) as caught, for_the_user():
        raise OSError(number, os.strerror(number), "/run/x")
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and len(lines) == 1
    assert lines[0].startswith(f"rodin-pipe: /run/x: {os.strerror(number)}; ") and told in lines[0]


def test_ctrl_c_pressed_often_is_one_interrupt(capsys):
    ended = []
    try:
        with pytest.raises(typer.Exit) as caught, for_the_user():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            finally:
                for _ in range(3):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.01)
                ended.append("in order")
        assert caught.value.exit_code == 130 and ended == ["in order"]
        assert capsys.readouterr().err == "interrupted; the same command goes on from here\n"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "until the process has ended"
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with for_the_user():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
