from dataclasses import replace

from cluster.progress import StageProgress
from pipeline.driver import display as progress
from pipeline.driver.display import simple_progress


def state(done, *, total=10.0, running=("fit",), rate=2.0):
    return StageProgress(
        stage="fit",
        done=done,
        total=total,
        unit="avatar",
        running=running,
        tasks_done=0,
        tasks_failed=0,
        num_tasks=1,
        elapsed_s=1.0,
        rate_per_s=rate,
        eta_s=(total - done) / rate if rate else None,
    )


def test_lines_come_now_and_then_and_at_the_end(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    show = progress._lines()
    show(state(0.0, running=()))  # nothing has begun: nothing to say
    show(state(1.0))
    show(state(2.0))  # too soon
    now[0] = progress.LINE_EVERY_S + 1
    show(state(3.0))
    show(state(10.0))  # the end is told at once
    show(state(10.0))  # and only once
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["1/10", "3/10", "10/10"]
    assert "2 avatars/s, 0:04 left" in lines[1].replace("0:03", "0:04")


def test_numbers_of_a_task_stand_behind_the_time_left(capsys):
    progress._lines()(replace(state(1.0), metrics={"loss": 0.125, "dB on 2 held-out views": 31.5}))
    assert capsys.readouterr().err.rstrip().endswith(" left, loss 0.125, dB on 2 held-out views 31.5")


def test_simple_progress_tells_rate_and_time_left(capsys):
    with simple_progress("generate", "avatar") as show:
        show(1.0, 2.0)
        show(2.0, 2.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "generate" in lines[0]
    assert "1/2 avatars" in lines[0]
