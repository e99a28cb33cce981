"""A run: where it lies, how it is configured, and what its ledgers say is there.

A published work item is current while its fingerprint (the configuration) and the hashes of what it read are
those of now. Each item records the avatars that it read, so that extending a run makes nothing stale: a model that
learned from 10 avatars stays what it was when there are 20.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from pipeline.config.run import RunConfig
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.bucket_path import place
from pipeline.contracts.naming import RunLayout, format_avatar, format_shard, parse_avatar, parse_shard
from pipeline.contracts.planes import DecoderReport, FitShardReport, OwnFitReport
from pipeline.contracts.rendering import RenderedShard, RenderReport
from pipeline.contracts.stage import StageReport
from pipeline.io.files import exists
from pipeline.io.ledger import read_entries, read_ledger, read_ledgers
from pipeline.io.publish import sha256_file
from pipeline.run.stage_table import STAGES, single_stages

DECODER_FILES = ("state.safetensors", "state.json")
"""What ``decoder/`` holds: tensors, and everything else."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def _from_ledgers(
    question: "Callable[Concatenate[Run, Given], Answer]",
) -> "Callable[Concatenate[Run, Given], Answer]":
    """A question that a snapshot reads ledgers for once, and answers from what it read after that."""

    @functools.wraps(question)
    def answer(run: "Run", /, *given: Given.args, **named: Given.kwargs) -> Answer:
        if run.known is None:
            return question(run, *given, **named)
        key = (question.__name__, *given, *named.values())
        if key not in run.known:
            run.known[key] = question(run, *given, **named)
        found: Answer = run.known[key]
        return found

    return answer


@dataclass(frozen=True)
class Run:
    """A run folder with its configuration; what its ledgers say is read anew at each question.

    Of a :meth:`snapshot`, once. What it answers is not to be changed.
    """

    layout: RunLayout
    config: RunConfig
    known: dict[Hashable, Any] | None = field(default=None, compare=False, repr=False)
    """Answers of a snapshot, by question; ``None`` in a run that reads anew."""

    def snapshot(self) -> "Run":
        """This run as its ledgers are now: each is read once, at the first question about it.

        Whoever publishes or forgets something, or waits for others that do, takes another one afterwards.
        """
        return Run(self.layout, self.config, {})

    def read_ahead(self) -> "Run":
        """This snapshot, with the entries of all stages that are one piece of work read, several at a time.

        For whoever will ask for all of them: of a run in a bucket each is on its way for a while.
        """
        assert self.known is not None, "of a snapshot"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.stage_report, single_stages()))
        return self

    def __reduce__(self) -> tuple[type["Run"], tuple[RunLayout, RunConfig]]:
        """Another process, which begins later, reads for itself."""
        return Run, (self.layout, self.config)

    @property
    def rendered(self) -> RunLayout:
        """The run whose renders are read: this one, or the one that ``renders_from`` names."""
        return RunLayout(place(self.config.renders_from)) if self.config.renders_from else self.layout

    def tar_of(self, avatar: int) -> Path:
        """The shard that holds an avatar's photographs."""
        return self.rendered.shard(self.config.render.shard_of(avatar))

    @_from_ledgers
    def render_reports(self) -> dict[int, RenderedShard]:
        """Published render ledgers, by shard; who was drawn, :meth:`specs` tells."""
        shards = [format_shard(shard) for shard in range(self.config.render.num_shards)]
        found = read_entries(self.rendered.ledgers("render"), shards, RenderedShard)
        return {parse_shard(shard): report for shard, report in found.items()}

    def render_report(self, shard: int) -> RenderedShard | None:
        """The render ledger of a shard, if it is published.

        A snapshot that was asked for all has it from them; else a task of one shard would read those of thousands.
        """
        if self.known is not None and ("render_reports",) in self.known:
            return self.render_reports().get(shard)
        return self._render_report(shard)

    @_from_ledgers
    def _render_report(self, shard: int) -> RenderedShard | None:
        return read_ledger(self.rendered.ledger("render", format_shard(shard)), RenderedShard)

    @_from_ledgers
    def fit_reports(self) -> dict[int, FitShardReport]:
        """Published fit ledgers, by shard."""
        shards = [format_shard(shard) for shard in range(self.config.render.num_shards)]
        found = read_entries(self.layout.ledgers("fit"), shards, FitShardReport)
        return {parse_shard(shard): report for shard, report in found.items()}

    @_from_ledgers
    def own_reports(self) -> dict[int, OwnFitReport]:
        """Published ledgers of fits with a decoder of their own, by avatar; only those of the run's avatars."""
        found = read_ledgers(self.layout.ledgers("own"), OwnFitReport)
        reports = {parse_avatar(name): report for name, report in found.items()}
        return {avatar: report for avatar, report in reports.items() if avatar < self.config.render.num_avatars}

    @_from_ledgers
    def decoder_report(self) -> DecoderReport | None:
        """The decoder's ledger, if it is published."""
        return read_ledger(self.layout.ledger("decoder", "decoder"), DecoderReport)

    @_from_ledgers
    def stage_report(self, stage: str) -> StageReport | None:
        """The ledger of a stage that is one piece of work, if it is published."""
        return read_ledger(self.layout.ledger(stage, stage), StageReport)

    @_from_ledgers
    def render_sources(self) -> dict[int, str]:
        """Hash of each rendered avatar's files, by index."""
        sources: dict[int, str] = {}
        for report in self.render_reports().values():
            sources |= {avatar: report.avatar_sha256[format_avatar(avatar)] for avatar in report.done}
        return sources

    def render_source(self, avatar: int) -> str | None:
        """Hash of a rendered avatar's files; its shard's ledger alone is read."""
        report = self.render_report(self.config.render.shard_of(avatar))
        return report.avatar_sha256.get(format_avatar(avatar)) if report is not None else None

    @_from_ledgers
    def specs(self) -> dict[int, AvatarSpec]:
        """Spec of each avatar of the published shards, failed ones too, by index."""
        shards = [format_shard(shard) for shard in range(self.config.render.num_shards)]
        found = read_entries(self.rendered.ledgers("render"), shards, RenderReport)
        specs: dict[int, AvatarSpec] = {}
        for shard, report in found.items():
            specs |= dict(zip(self.config.render.avatars_of(parse_shard(shard)), report.specs, strict=False))
        return specs

    @_from_ledgers
    def plane_sources(self) -> dict[int, str]:
        """Hash of each fitted avatar's planes, by index; failed fits are not in it."""
        return {fit.avatar: fit.planes_sha256 for report in self.fit_reports().values() for fit in report.fits}

    def inputs_of(self, stage: str, avatars: Iterable[int]) -> dict[str, str]:
        """Hashes of what a stage that is one piece of work reads, of the given avatars, as they are now.

        Of what is not there, an empty text.
        """
        avatars = tuple(avatars)
        inputs: dict[str, str] = {}
        for name in STAGES[stage].reads:
            if not STAGES[name].wanted(self.config):
                continue
            if name == "render":
                inputs["renders"] = digest(self.render_sources(), avatars)
            elif name == "fit":
                inputs["planes"] = digest(self.plane_sources(), avatars)
            elif name == "decoder":
                decoder = self.decoder_report()
                inputs["decoder"] = decoder.decoder_sha256 if decoder else ""
            else:
                report = self.stage_report(name)
                inputs[name] = _outputs_hash(report) if report else ""
        return inputs


def digest(sources: Mapping[int, str], avatars: Iterable[int]) -> str:
    """One hash over the hashes of the given avatars; an avatar that is not there counts as such."""
    text = json.dumps([[avatar, sources.get(avatar)] for avatar in sorted(avatars)])
    return hashlib.sha256(text.encode()).hexdigest()


def decoder_sha256(folder: Path) -> str:
    """Hash over the files of a published or staged decoder; of a missing one, something that nothing equals."""
    files = [folder / name for name in DECODER_FILES]
    if not all(exists(file) for file in files):
        return "missing"
    return hashlib.sha256("".join(sha256_file(file) for file in files).encode()).hexdigest()


def _outputs_hash(report: StageReport) -> str:
    return hashlib.sha256(json.dumps(sorted(report.outputs.items())).encode()).hexdigest()
