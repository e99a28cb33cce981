"""What each stage's output depends on: sections of the configuration, and the stages before it.

A stage's fingerprint is a hash of the fields that it reads, its schema version and the fingerprints before it. Fields
marked ``OPERATIONAL`` say how work is done and not what comes out, so they are left out.
"""

import hashlib
import json
from typing import Any, Final

from pipeline.config.run import RunConfig
from pipeline.contracts.conventions import PEOPLE_VERSION, SCHEMA_VERSION
from pipeline.contracts.setting import first_default, first_name, is_operational, settings_of, value_of

STAGE_SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "render": ("render",),
    "decoder": ("planes", "decoder", "fit"),
    "fit": ("planes", "fit"),
    "own": ("planes", "decoder", "fit", "own"),
    "clip": ("train", "clip"),
    "encode": ("fit",),
    "base": ("train", "base"),
    "upsampler": ("train", "upsampler"),
    "latent": ("train", "latent"),
    "refiner": ("train", "refiner"),
    "generate": ("generate",),
    "evaluate": ("evaluate",),
}
"""Stages in order, and the sections of the configuration that each reads itself."""

RUN_STAGES: Final = tuple(stage for stage in STAGE_SECTIONS if stage != "own")
"""The stages of ``rodin-pipe run``; ``own`` is for those who ask for it."""

INGESTED_SECTIONS: Final = {"ingest": (), "render": ("extent_m", "held_out_every", "shard_size")}
"""What an ingested run's renders depend on: sections, and fields of a section where it is not all of them."""

ONLY_READ: Final = {("encode", "fit"): ("threads",)}
"""Fields of a section that are all that a stage reads of it."""

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
    """Hash of what each stage's output depends on, per stage: 16 hex digits.

    Settings at their first default are left out and all are known by their first names (``contracts.setting``), so
    that a version of this program with more settings finds the same.
    """
    fields = dict(settings_of(RunConfig))
    fingerprints: dict[str, str] = {}
    for stage in STAGE_SECTIONS:
        facts: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "seed": config.seed,
            "settings": {
                first_name(setting): value
                for setting in settings_read(stage, config)
                if (value := value_of(config, setting)) != first_default(fields[setting])
            },
            "inputs": {name: fingerprints[name] for name in STAGE_INPUTS[stage]},
        }
        if stage == "render" and not config.is_ingested:
            facts["people"] = PEOPLE_VERSION
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        fingerprints[stage] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return fingerprints


def stages_after(stage: str) -> tuple[str, ...]:
    """The stage itself and all that depend on it, in order."""
    found = {stage}
    for name, inputs in STAGE_INPUTS.items():
        if found.intersection(inputs):
            found.add(name)
    return tuple(name for name in STAGE_SECTIONS if name in found)


def settings_read(stage: str, config: RunConfig) -> tuple[str, ...]:
    """Dotted names of the settings that a stage's own output depends on, in order."""
    if stage == "render" and config.is_ingested:
        sections = INGESTED_SECTIONS
    else:
        sections = {section: ONLY_READ.get((stage, section), ()) for section in STAGE_SECTIONS[stage]}
        if stage == "render":  # whether captures stand in place of renders: what decides what else is read
            sections["ingest"] = ("sha256",)
    return tuple(
        setting
        for setting, field in settings_of(RunConfig)
        if (section := setting.partition(".")[0]) in sections
        and (name := setting.split(".")[1]) not in NOT_READ.get((stage, section), ())
        and (name in sections[section] or not sections[section])
        and not is_operational(field)
    )
