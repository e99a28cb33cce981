"""The evaluation, section by section: each is published in ``report/results.json`` when it is done.

The same command goes on after an interruption: pictures that were made are kept, and sections that were measured with
the same models and as many samples are not measured again unless they are asked for by name.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, get_args

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.report.results import SECTIONS, Results, Section, SectionName
from pipeline.evaluation.found import Found
from pipeline.evaluation.subject import Subject, models_sha256
from pipeline.io.files import exists, read_bytes
from pipeline.io.ledger import parse_record
from pipeline.io.publish import publish_text
from pipeline.machine import package_versions, processor_name
from pipeline.report.results_page import results_page
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import Run
from pipeline.stages.device import choose_device, use_threads
from pipeline.stages.sampling.load import load_sampler

MEASURES: Final[dict[SectionName, str]] = {
    "noise": "pipeline.evaluation.sections.noise:measure_noise",
    "faces": "pipeline.evaluation.sections.faces:measure_faces",
    "portrait": "pipeline.evaluation.sections.portrait:measure_portrait",
    "copies": "pipeline.evaluation.sections.copies:measure_copies",
    "text": "pipeline.evaluation.sections.text:measure_text",
    "steps": "pipeline.evaluation.sections.steps:measure_steps",
}
"""By section: the function that measures it."""
OF_PHOTOGRAPHS: Final[frozenset[SectionName]] = frozenset({"text"})
"""Sections that compare with photographs alone, so that they can be measured on people who are not fitted."""
Display = Callable[[str], AbstractContextManager[Callable[[float, float], None]]]
"""Opens the progress of a section by its name."""


def chosen_sections(names: Sequence[str]) -> tuple[SectionName, ...]:
    """Sections by name, all for none; raises ``ConfigError`` for a name that is none."""
    known = get_args(SectionName)
    for name in names:
        if name not in MEASURES:
            raise ConfigError(f"--only {name!r} is no section of the evaluation; known: {', '.join(MEASURES)}")
    return tuple(name for name in known if name in MEASURES and (not names or name in names))


def evaluate_models(
    run: Run, models: ModelFolder, *, only: Sequence[str], samples: int, display: Display, echo: Callable[[str], None]
) -> Results:
    """Measure ``models`` on the people of ``run``, and publish ``report/results.json`` and ``report/results.md``.

    Raises ``DataError`` where models or fits are missing, ``ConfigError`` for a section that is none.
    """
    sections = chosen_sections(only)
    layout = run.layout
    use_threads(models.sampling.threads)
    sampler = load_sampler(models, choose_device(models.sampling))
    sha256 = models_sha256(models)
    path = layout.report / "results.json"
    known: dict[str, Section] = {}
    if exists(path):
        old = parse_record(read_bytes(path), Results, where=str(path), remedy="delete it and evaluate again")
        known = {section.name: section for section in old.sections}
    subject = Subject(run, sampler, sha256, samples, lambda done, total: None)
    # What there is to compare with is found missing before anything is measured.
    num_training, num_held_out = len(subject.training), len(subject.held_out)
    unfitted = [name for name in sections if name not in OF_PHOTOGRAPHS]
    if unfitted and not subject.is_fitted:
        raise DataError(
            f"{layout.root} has no fitted avatars, with which {', '.join(unfitted)} compare: run rodin-pipe fit first, "
            f"or measure --only {' '.join(sorted(OF_PHOTOGRAPHS))}"
        )
    results: Results | None = None
    for name in sections:
        before = known.get(name)
        if not only and before is not None and (before.models_sha256, before.samples) == (sha256, samples):
            echo(f"{name}: measured already; --only {name} measures it again")
        else:
            started = time.monotonic()
            with display(name) as progress:
                found = _measure(name, Subject(run, sampler, sha256, samples, progress))
            known[name] = Section(
                name=name,
                models_sha256=sha256,
                samples=samples,
                finished_at=time.time(),
                seconds=time.monotonic() - started,
                **vars(found),
            )
        results = Results(
            schema_version=SCHEMA_VERSION,
            preset=run.config.preset,
            num_training=num_training,
            num_held_out=num_held_out,
            processor=processor_name(),
            versions=package_versions(("torch", "numpy")),
            sections=tuple(known[section] for section in SECTIONS if section in known),
        )
        publish_text(path, results.to_json())
        publish_text(layout.report / "results.md", results_page(results))
    assert results is not None, "at least one section"
    return results


def _measure(name: SectionName, subject: Subject) -> Found:
    module, _, function = MEASURES[name].partition(":")
    measure: Callable[[Subject], Found] = getattr(importlib.import_module(module), function)
    return measure(subject)
