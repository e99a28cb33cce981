"""What a visit is made of, without a Ray session; tests/end_to_end makes whole visits."""

import dataclasses

import numpy as np
import pytest
from support.ledgers import write_decoder, write_fit, write_render

from cluster.dag import Task, TaskFailed, TaskResults, TaskTiming
from cluster.session import SessionInfo
from pipeline.config.load import load_config
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.driver import visit as driver
from pipeline.driver import worker_group
from pipeline.driver.request import Visit
from pipeline.driver.tasks import build_tasks
from pipeline.driver.visit import prepare_plane_store, stage_seconds
from pipeline.driver.worker_group import Group, Node, do_work
from pipeline.io.plane_store import PlaneStore
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.memory import fit_bytes
from pipeline.run.run import Run
from pipeline.run.stage_table import stages_of
from pipeline.stages.work import WorkItem

SETTINGS = (
    "render.num_avatars=9",
    "render.shard_size=2",
    "render.held_out_every=6",
    "train.start_from=",
    "planes.channels=2",
    "planes.resolution=32",
    "planes.base_resolution=32",
)


ALL = stages_of("run")


def visit(root, stages=ALL, *settings):
    return Visit(Run(RunLayout(root), load_config(preset="demo", settings=[*SETTINGS, *settings])), stages, "run")


def session(cpus=2.0, gpus=0.0, address="local"):
    return SessionInfo(address=address, cpus=cpus, gpus=gpus, nodes=1, start_seconds=0.0)


def tasks_of(asked, where):
    return {task.name: task for task in build_tasks(asked, stage_fingerprints(asked.config), where)}


def test_a_fit_waits_for_its_own_render_and_the_decoder_only(tmp_path):
    tasks = tasks_of(visit(tmp_path), session())
    assert tasks["fit/shard-00003"].after == ("render/shard-00003", "decoder")
    # The demo's decoder is for avatars 0 to 3, which are shards 0 and 1.
    assert tasks["decoder"].after == ("render/shard-00000", "render/shard-00001")
    fits = tuple(f"fit/shard-0000{i}" for i in range(5))
    renders = tuple(f"render/shard-0000{i}" for i in range(5))
    assert tasks["clip"].after == renders and tasks["encode"].after == ("clip",)
    assert tasks["latent"].after == tasks["frontal"].after == ("encode",)
    assert tasks["base"].after == tasks["refiner"].after == (*fits, "encode")
    assert set(tasks["generate"].after) == {"base", "upsampler", "latent", "frontal", "head", "refiner"}, (
        "clip and encode come before them"
    )
    assert tasks["evaluate"].after == ("generate",)
    assert [task.total for task in tasks.values() if task.stage == "render"] == [2, 2, 2, 2, 1]


def test_a_task_knows_the_entries_of_all_that_it_comes_after(tmp_path):
    def entries(name):
        return [[str(entry.relative_to(tmp_path / "ledger")) for entry in proofs] for proofs in tasks[name].item.after]

    tasks = tasks_of(visit(tmp_path), session())
    renders = [f"render/shard-0000{i}.json" for i in range(5)]
    assert entries("render/shard-00003") == []
    assert entries("fit/shard-00003") == [[renders[3]], [*renders[:2], "decoder/decoder.json"]]
    assert entries("latent") == [[*renders, "clip/clip.json", "encode/encode.json"]], "it reads who was rendered"


def test_a_decoder_that_is_given_waits_for_no_renders(tmp_path):
    decoder = tasks_of(visit(tmp_path, ALL, "train.start_from=released"), session())["decoder"]
    assert (decoder.after, decoder.total) == ((), 1)


def test_renders_are_released_a_few_at_a_time_on_one_machine(tmp_path):
    here = tasks_of(visit(tmp_path), session(cpus=2.0))
    assert [here[f"render/shard-0000{i}"].after for i in range(5)] == [
        (),
        (),
        (),
        ("render/shard-00000",),
        ("render/shard-00001",),
    ]
    cluster = tasks_of(visit(tmp_path), session(cpus=2.0, address="head:6379"))
    assert all(task.after == () for task in cluster.values() if task.stage == "render")


def test_devices_are_asked_for_where_there_are_some_and_they_are_wanted(tmp_path):
    def gpus(*settings, of):
        return {
            t.stage: t.num_gpus for t in tasks_of(visit(tmp_path, ("render", "decoder", "fit"), *settings), of).values()
        }

    assert gpus(of=session()) == {"render": 0, "decoder": 0, "fit": 0}
    assert gpus(of=session(gpus=1.0)) == {"render": 1, "decoder": 1, "fit": 1}
    assert gpus("device=cpu", of=session(gpus=1.0)) == {"render": 1, "decoder": 0, "fit": 0}
    more_threads = tasks_of(visit(tmp_path, ("render",), "render.threads=8"), session(cpus=2.0))
    assert more_threads["render/shard-00000"].num_cpus == 2, "it runs on fewer CPUs than it has threads"


def test_a_task_asks_for_as_many_cpus_as_it_has_threads(tmp_path):
    tasks = tasks_of(visit(tmp_path, stages_of("run"), "fit.threads=3", "decoder.threads=2"), session(cpus=8.0))
    assert tasks["fit/shard-00000"].num_cpus == 3 and tasks["decoder"].num_cpus == 2


def test_a_decoder_of_several_workers_is_a_node_that_holds_no_cpu(tmp_path):
    settings = ("decoder.workers=3", "decoder.threads=2", "decoder.avatars=4", "decoder.steps_per_avatar=10")
    decoder = tasks_of(visit(tmp_path, stages_of("run"), *settings), session(cpus=8.0, gpus=4.0))["decoder"]
    assert (decoder.num_cpus, decoder.num_gpus, decoder.total) == (0, 0, 20), "two avatars for one of them"
    group = decoder.item.group
    assert (group.num_workers, group.cpus_per_worker, group.gpus_per_worker) == (3, 2, 1.0)
    assert decoder.after == ("render/shard-00000", "render/shard-00001")


def test_fits_that_the_memory_does_not_hold_are_refused_before_anything(tmp_path, monkeypatch):
    asked = visit(tmp_path / "run", ("render", "decoder", "fit"), "device=cpu", "fit.threads=1")
    monkeypatch.setattr(driver.os, "sched_getaffinity", lambda pid: set(range(4)))
    monkeypatch.setattr(driver, "check_blender", lambda python: None)
    monkeypatch.setattr(driver, "available_bytes", lambda: 4 * fit_bytes(asked.config))
    states, _ = driver.check(asked)
    driver.require_machine(asked, states)
    monkeypatch.setattr(driver, "available_bytes", lambda: 4 * fit_bytes(asked.config) - 1)
    with pytest.raises(ResourceError, match=r"stage fit: 4 processes of .* on this machine .* raise fit\.threads 1"):
        driver.require_machine(asked, states)
    assert not (tmp_path / "run").exists()
    driver.require_machine(dataclasses.replace(asked, address="head:6379"), states)


def test_a_fit_of_what_is_rendered_already(tmp_path):
    layout = RunLayout(tmp_path)
    with pytest.raises(DataError, match="rodin-pipe render"):
        build_tasks(visit(tmp_path, ("decoder", "fit")), stage_fingerprints(visit(tmp_path).config), session())
    write_render(layout, 0, (0, 1))
    write_render(layout, 3, (6, 7))
    tasks = tasks_of(visit(tmp_path, ("decoder", "fit")), session())
    assert sorted(tasks) == ["decoder", "fit/shard-00000", "fit/shard-00003"]
    assert tasks["decoder"].after == () and tasks["fit/shard-00003"].after == ("decoder",)


def test_what_is_done_is_no_task_and_nothing_waits_for_it(tmp_path):
    asked = visit(tmp_path, ("render", "decoder", "fit"))
    of = stage_fingerprints(asked.config)
    for shard, avatars in ((0, (0, 1)), (1, (2, 3)), (2, (4, 5)), (3, (6,)), (4, (8,))):
        write_render(asked.layout, shard, avatars, fingerprint="other" if shard == 2 else of["render"])
    write_decoder(asked.layout, (0, 1, 2, 3), fingerprint=of["decoder"])
    for shard, avatars in ((0, (0, 1)), (2, (4, 5)), (3, (6,))):
        write_fit(asked.layout, shard, avatars, fingerprint=of["fit"])
    tasks = tasks_of(asked, session())
    assert sorted(name for name, task in tasks.items() if not task.is_done) == [
        "fit/shard-00001",
        "fit/shard-00002",  # done, but of renders that are made again
        "fit/shard-00004",
        "render/shard-00002",
    ]
    assert tasks["fit/shard-00002"].after == ("render/shard-00002",) and tasks["fit/shard-00001"].after == ()
    again = tasks_of(dataclasses.replace(asked, retry_failed=True), session())
    assert not again["render/shard-00003"].is_done, "avatar 7 is listed as failed"
    assert not again["fit/shard-00003"].is_done and again["fit/shard-00003"].after == ("render/shard-00003",)


def test_the_renders_that_are_left_are_released_a_few_at_a_time(tmp_path):
    asked = visit(tmp_path, ("render",), "render.num_avatars=14")
    for shard in (0, 1, 3):
        write_render(
            asked.layout, shard, (2 * shard, 2 * shard + 1), fingerprint=stage_fingerprints(asked.config)["render"]
        )
    tasks = tasks_of(asked, session(cpus=2.0))
    assert {name: task.after for name, task in tasks.items() if not task.is_done} == {
        "render/shard-00002": (),
        "render/shard-00004": (),
        "render/shard-00005": (),
        "render/shard-00006": ("render/shard-00002",),
    }


def fill(store, avatar):
    store.write(avatar, np.ones((3, 2, 32, 32), np.float16), np.ones((3, 2, 32, 32), np.float16))


def test_the_store_keeps_what_published_fits_and_parts_of_killed_ones_tell_of(tmp_path):
    asked = visit(tmp_path)
    layout = asked.layout
    write_decoder(layout, (0,))
    prepare_plane_store(asked)
    store = PlaneStore.open(layout.planes, asked.config.plane_spec(), "d")
    assert store.num_avatars == 9
    fill(store, 1)
    part = layout.parts("fit", 0) / "a000001.json"
    part.parent.mkdir(parents=True)
    part.write_text("{}")

    prepare_plane_store(visit(tmp_path, stages_of("run"), "render.num_avatars=12"))
    store = PlaneStore.open(layout.planes)
    assert store.num_avatars == 12 and store.read(1).min() == 1

    part.unlink()
    part.parent.rmdir()
    part.parent.parent.rmdir()
    write_fit(layout, 0, (1,))
    prepare_plane_store(asked)
    assert PlaneStore.open(layout.planes).read(1).min() == 1


def test_a_store_that_nothing_tells_of_is_made_anew(tmp_path):
    asked = visit(tmp_path)
    prepare_plane_store(asked)
    fill(PlaneStore.open(asked.layout.planes), 1)
    prepare_plane_store(asked)
    with pytest.raises(DataError, match="fit it first"):
        PlaneStore.open(asked.layout.planes).read(1)


def test_parts_of_planes_of_another_shape_go_with_their_store(tmp_path):
    prepare_plane_store(visit(tmp_path))
    part = RunLayout(tmp_path).parts("fit", 0) / "a000001.json"
    part.parent.mkdir(parents=True)
    part.write_text("{}")
    changed = visit(tmp_path, stages_of("run"), "planes.channels=3")
    prepare_plane_store(changed)
    assert PlaneStore.open(changed.layout.planes).spec == changed.config.plane_spec() and not part.exists()


def test_no_model_learns_from_what_a_failed_task_left(tmp_path):
    item = WorkItem(visit(tmp_path).run, "base", "f")
    node = Node(item, Group(1, 1, 0.0, tmp_path, 0.0))
    lost = TaskFailed("fit/shard-00002", "out of memory", "")
    with pytest.raises(DataError, match="stage base waits for fit/shard-00002, which failed: out of memory"):
        do_work(node, ("fine", lost), lambda done, total: None)


def test_what_can_do_without_a_failed_task_goes_on(tmp_path, monkeypatch):
    asked = visit(tmp_path)
    monkeypatch.setattr(worker_group, "_named", lambda function: lambda item, progress: (function, item.name))
    node = Node(WorkItem(asked.run, "fit", "f", 2))
    lost = TaskFailed("render/shard-00001", "no bpy", "")
    assert do_work(node, (lost,), print) == ("pipeline.stages.fit.planes:fit_shard", "shard-00002")


def test_a_stage_takes_from_its_first_begin_to_its_last_end():
    tasks = [Task(name, name[0], function=print, item=None) for name in ("a1", "a2", "b1", "c1")]
    results = TaskResults()
    for name, begun, ended in (("a1", 10.0, 20.0), ("a2", 15.0, 32.5), ("b1", 16.0, 17.0)):
        results.timings[name] = TaskTiming(begun, ended, "127.0.0.1")
    assert stage_seconds(tasks, results) == {"a": 22.5, "b": 1.0}
