"""What each stage's output depends on: sections of the configuration, and the stages before it.

A stage's fingerprint is a hash of the fields that it reads, its schema version and the fingerprints before it. Fields
marked ``OPERATIONAL`` say how work is done and not what comes out, so they are left out.
"""

import hashlib
import json
from typing import Any, Final

from pipeline.config import RunConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.record import Record

STAGE_SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "render": ("render",),
    "decoder": ("planes", "decoder", "fit"),
    "fit": ("planes", "fit"),
    "own": ("planes", "decoder", "fit", "own"),
    "clip": ("clip",),
    "encode": (),
    "base": ("base",),
    "upsampler": ("upsampler",),
    "latent": ("latent",),
    "refiner": ("refiner",),
    "generate": ("generate",),
    "evaluate": ("evaluate",),
}
"""Stages in order, and the sections of the configuration that each reads itself."""

RUN_STAGES: Final = tuple(stage for stage in STAGE_SECTIONS if stage != "own")
"""The stages of ``rodin-pipe run``; ``own`` is for those who ask for it."""

INGESTED_SECTIONS: Final = {"ingest": (), "render": ("extent_m", "held_out_every", "shard_size")}
"""What an ingested run's renders depend on: sections, and fields of a section where it is not all of them."""

NOT_READ: Final = {
    ("decoder", "fit"): ("steps", "min_psnr", "render_samples", "threads", "precision", "compile", "fused"),
    ("own", "planes"): ("base_resolution",),
    ("own", "decoder"): ("avatars", "min_avatars", "steps_per_avatar", "threads", "workers"),
    ("own", "fit"): ("steps", "min_psnr", "precision", "compile", "fused"),
}
"""Fields of a section that a stage, unlike the section's own, does not read."""

MODELS: Final = ("clip", "encode", "base", "upsampler", "latent", "refiner")
"""The stages that ``rodin-pipe train`` runs; ``--redo train`` names them all."""

STAGE_INPUTS: Final[dict[str, tuple[str, ...]]] = {
    "render": (),
    "decoder": ("render",),
    "fit": ("decoder",),
    "own": ("render",),
    "clip": ("render",),
    "encode": ("clip",),
    "base": ("fit", "encode"),
    "upsampler": ("fit", "encode"),
    "latent": ("encode",),
    "refiner": ("fit", "encode"),
    "generate": ("base", "upsampler", "latent", "refiner"),
    "evaluate": ("generate",),
}
"""The stages whose output each stage reads."""


def stage_fingerprints(config: RunConfig) -> dict[str, str]:
    """Hash of what each stage's output depends on, per stage: 16 hex digits."""
    dumped = config.model_dump(mode="json")
    fingerprints: dict[str, str] = {}
    for stage in STAGE_SECTIONS:
        facts: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "seed": config.seed,
            "sections": {
                section: {name: dumped[section][name] for name in names}
                for section, names in fields_read(stage, config).items()
            },
            "inputs": {name: fingerprints[name] for name in STAGE_INPUTS[stage]},
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        fingerprints[stage] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return fingerprints


def stages_after(stage: str) -> tuple[str, ...]:
    """The stage itself and all that depend on it, in order."""
    found = {stage}
    for name, inputs in STAGE_INPUTS.items():
        if found.intersection(inputs):
            found.add(name)
    return tuple(name for name in STAGE_SECTIONS if name in found)


def fields_read(stage: str, config: RunConfig) -> dict[str, tuple[str, ...]]:
    """Sections that a stage's output depends on, and their fields that enter its fingerprint."""
    if stage == "render" and config.is_ingested:
        return {section: names or lasting_fields(stage, section) for section, names in INGESTED_SECTIONS.items()}
    return {section: lasting_fields(stage, section) for section in STAGE_SECTIONS[stage]}


def lasting_fields(stage: str, section: str) -> tuple[str, ...]:
    """Names of the fields of a section that enter a stage's fingerprint."""
    unread = NOT_READ.get((stage, section), ())
    annotation = RunConfig.model_fields[section].annotation
    assert isinstance(annotation, type) and issubclass(annotation, Record)
    return tuple(
        name
        for name, field in annotation.model_fields.items()
        if name not in unread
        and not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("operational"))
    )
