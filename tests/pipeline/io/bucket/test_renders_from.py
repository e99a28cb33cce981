"""A run that reads the renders of another one in a bucket."""

from pathlib import Path

from support.ledgers import write_render

from pipeline.config.load import load_config
from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.naming import RunLayout
from pipeline.io.publish import publish_text
from pipeline.run.existing import configured, open_run, written_config
from pipeline.run.run import Run


def test_configuration_and_ledgers_are_the_other_runs(root: BucketPath, tmp_path: Path) -> None:
    other = RunLayout(root / "renders-of")
    config = load_config(preset="demo", settings=["render.num_avatars=6", "render.shard_size=2", "seed=5"])
    publish_text(other.config, config.to_toml())
    write_render(other, 1, (2, 3))
    assert written_config(other) == config == open_run(other.root).config
    for layout in (RunLayout(tmp_path / "run"), RunLayout(root / "run")):
        taken = configured(layout, preset="demo", renders=other.root)
        assert (taken.seed, taken.render) == (5, config.render) and taken.renders_from == str(other.root)
        run = Run(layout, taken)
        assert run.rendered == other and run.render_sources() == {2: "s2", 3: "s3"}
        assert run.tar_of(3) == other.shard(1)
