import pickle

import pytest

from cluster.progress import NODE_DEATH_KNOWN_S, Letter, Mailbox, ProgressBoard, StageProgress, TaskProgress


def board() -> ProgressBoard:
    return ProgressBoard(
        [("render/0", "render", "avatar", 4.0), ("render/1", "render", "avatar", 6.0), ("fit/0", "fit", "avatar", 4.0)]
    )


def letter(done: float | None, total: float = 4.0, attempt: str = "one", node: str = "", **metrics: float) -> Letter:
    return Letter(attempt, done, total, metrics, node)


def stage(progress: ProgressBoard, name: str, now: float) -> StageProgress:
    return {snapshot.stage: snapshot for snapshot in progress.stages(now)}[name]


def test_a_stage_sums_its_tasks() -> None:
    progress = board()
    progress.update({"render/0": letter(1.0), "render/1": letter(2.0, 6.0)}, now=10.0)
    render = stage(progress, "render", 10.0)
    assert (render.done, render.total) == (1.0 + 2.0, 4.0 + 6.0)
    assert render.running == ("render/0", "render/1")
    assert stage(progress, "fit", 10.0).running == ()


def test_rate_and_time_left_are_those_of_the_window() -> None:
    progress = board()
    progress.update({"render/0": letter(None)}, now=100.0)
    assert stage(progress, "render", 100.0).rate_per_s is None
    progress.update({"render/0": letter(2.0)}, now=104.0)
    render = stage(progress, "render", 104.0)
    assert render.rate_per_s == 2.0 / 4.0
    assert render.eta_s == (10.0 - 2.0) / (2.0 / 4.0)
    assert render.elapsed_s == 4.0
    # Nothing happens for four seconds more: the rate falls.
    assert stage(progress, "render", 108.0).rate_per_s == 2.0 / 8.0


def test_what_was_done_before_counts_and_no_rate_knows_it() -> None:
    progress = ProgressBoard([(f"render/{i}", "render", "avatar", 5.0) for i in range(4)])
    progress.begin_with(["render/0", "render/1", "render/2"])
    (render,) = progress.moved(0.0)
    assert (render.done, render.total, render.tasks_done, render.ended) == (15.0, 20.0, 3, False)
    progress.update({"render/3": letter(None, 5.0)}, now=100.0)
    progress.update({"render/3": letter(2.0, 5.0)}, now=104.0)
    assert stage(progress, "render", 104.0).rate_per_s == 2.0 / 4.0
    assert stage(progress, "render", 104.0).eta_s == (20.0 - 17.0) / (2.0 / 4.0)
    progress.ended("render/3", failed=False, now=110.0)
    assert stage(progress, "render", 110.0).ended and stage(progress, "render", 110.0).done == 20.0


def test_old_changes_leave_the_window() -> None:
    progress = ProgressBoard([("t", "train", "step", 2000.0)])
    progress.update({"t": letter(None, 2000.0)}, now=0.0)
    for second in range(1, 101):  # one step a second for 100 s, then ten a second for 100 s
        progress.update({"t": letter(float(second), 2000.0)}, now=float(second))
    for second in range(101, 201):
        progress.update({"t": letter(100.0 + 10.0 * (second - 100), 2000.0)}, now=float(second))
    assert stage(progress, "train", 200.0).rate_per_s == pytest.approx(10.0)


def test_a_task_that_begins_again_starts_from_nothing() -> None:
    progress = board()
    progress.update({"render/0": letter(3.0)}, now=1.0)
    progress.update({"render/0": letter(None, attempt="two")}, now=2.0)
    assert stage(progress, "render", 2.0).done == 0.0
    progress.update({"render/0": letter(1.0, attempt="two")}, now=4.0)
    assert stage(progress, "render", 4.0).rate_per_s == 1.0 / 2.0


def test_what_an_attempt_found_done_counts_and_no_rate_knows_it() -> None:
    progress, wire = ProgressBoard([("t", "train", "step", 1000.0)]), Wire()

    def hear(task: TaskProgress, *calls: float, now: float) -> StageProgress:
        for done in calls:
            task._told_at = float("-inf")
            task(done, 1000.0)
        progress.update({"t": wire.sent[-1]}, now=now)
        return stage(progress, "train", now)

    first = TaskProgress("t", wire)
    first.begin()
    progress.update({"t": wire.sent[-1]}, now=0.0)
    assert hear(first, 10.0, 40.0, now=10.0).rate_per_s == 40.0 / 10.0
    second = TaskProgress("t", wire)
    second.begin()
    progress.update({"t": wire.sent[-1]}, now=20.0)
    second.goes_on_from(30.0, 1000.0)
    # The letter that says so alone may be overtaken by the next one, which says it too.
    train = hear(second, 42.0, now=24.0)
    assert (train.done, train.rate_per_s) == (42.0, (42.0 - 30.0) / 4.0)
    assert train.eta_s == (1000.0 - 42.0) / 3.0
    progress.ended("t", failed=False, now=30.0)
    assert stage(progress, "train", 30.0).done == 1000.0


def test_an_ended_task_is_complete_and_hears_no_late_letter() -> None:
    progress = board()
    progress.ended("fit/0", failed=False, now=5.0)
    progress.update({"fit/0": letter(1.0)}, now=6.0)
    fit = stage(progress, "fit", 7.0)
    assert (fit.done, fit.total, fit.running, fit.ended, fit.eta_s) == (4.0, 4.0, (), True, None)


def test_a_failed_task_counts_as_ended_but_not_as_done() -> None:
    progress = board()
    progress.update({"render/0": letter(1.0)}, now=1.0)
    progress.ended("render/0", failed=True, now=2.0)
    progress.ended("render/1", failed=False, now=3.0)
    render = stage(progress, "render", 9.0)
    assert (render.done, render.tasks_done, render.tasks_failed, render.ended) == (1.0 + 6.0, 1, 1, True)
    assert render.elapsed_s == 3.0 - 1.0  # the clock of an ended stage stands


def test_only_stages_that_moved_are_told() -> None:
    progress = board()
    progress.ended("fit/0", failed=False, now=1.0)
    assert [snapshot.stage for snapshot in progress.moved(1.0)] == ["fit"]
    assert progress.moved(2.0) == ()
    progress.update({"render/1": letter(None, 6.0)}, now=3.0)
    assert [snapshot.stage for snapshot in progress.moved(3.0)] == ["render"]
    assert [snapshot.stage for snapshot in progress.moved(4.0)] == ["render"]  # under way: its clock runs


def test_metrics_travel_with_the_progress() -> None:
    progress = board()
    progress.update({"fit/0": letter(1.0, loss=0.5)}, now=1.0)
    assert stage(progress, "fit", 1.0).metrics == {"loss": 0.5}


def test_the_mailbox_keeps_the_newest_and_drops_the_dead() -> None:
    mailbox = Mailbox()
    mailbox.put("t", letter(None, attempt="one"))
    mailbox.put("t", letter(2.0, attempt="one"))
    mailbox.put("t", letter(None, attempt="two"))
    mailbox.put("t", letter(3.0, attempt="one"))  # sent by a worker that has died since
    assert mailbox.take() == {"t": letter(None, attempt="two")}
    assert mailbox.take() == {}


class Wire:
    """Stands for the actor: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Letter] = []
        self.put = self

    def remote(self, task: str, sent: Letter) -> None:
        self.sent.append(sent)


def test_a_task_tells_rarely_but_always_its_end() -> None:
    wire = Wire()
    progress = TaskProgress("t", wire)
    progress.report({"loss": 1.0})
    for step in range(1, 1001):
        progress(step, 1000)
    assert len(wire.sent) < 100
    assert wire.sent[-1].done == 1000
    assert wire.sent[-1].metrics == {"loss": 1.0}
    assert [sent.done for sent in wire.sent] == sorted(sent.done for sent in wire.sent if sent.done is not None)


def test_progress_pickles_and_needs_no_listener() -> None:
    copy = pickle.loads(pickle.dumps(TaskProgress("t", None)))
    copy.begin()
    copy(1.0, 2.0)


def test_a_dead_node_cut_off_what_ran_there_and_what_has_begun_again_since() -> None:
    progress = board()
    progress.update({name: letter(1.0, node="a") for name in ("render/0", "render/1", "fit/0")}, now=0.0)
    progress.ended("fit/0", failed=False, now=1.0)
    assert progress.lost_with("a", now=2.0) == ("render/0", "render/1")
    # One of them is at work elsewhere, and even done, before anybody knows that the node is dead.
    progress.update({"render/0": letter(None, attempt="two", node="b")}, now=3.0)
    progress.ended("render/0", failed=False, now=4.0)
    assert progress.lost_with("a", now=5.0) == ("render/0", "render/1")
    assert progress.lost_with("b", now=5.0) == ()
    assert progress.lately_left(now=5.0) == {"a"}
    # A task that moved long before lost nothing with this death.
    assert progress.lost_with("a", now=3.0 + NODE_DEATH_KNOWN_S) == ("render/1",)
    assert progress.lately_left(now=3.0 + NODE_DEATH_KNOWN_S) == set()


def test_a_dead_node_cut_off_what_has_ended_elsewhere_before_it_told_anything() -> None:
    progress = board()
    progress.update({name: letter(1.0, node="a") for name in ("render/0", "render/1")}, now=0.0)
    progress.ended("render/0", failed=False, now=1.0, node="b")
    progress.ended("render/1", failed=False, now=1.0, node="a")
    assert progress.lost_with("a", now=2.0) == ("render/0",)


def test_a_dead_node_is_known_however_often_its_task_has_moved_since() -> None:
    progress = board()
    for now, node in enumerate("abc"):
        progress.update({"render/0": letter(None, attempt=node, node=node)}, now=float(now))
    assert progress.lost_with("a", now=3.0) == progress.lost_with("b", now=3.0) == ("render/0",)
