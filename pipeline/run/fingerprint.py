"""What each stage's output depends on: settings, and the stages before it.

A stage's fingerprint is a hash of the fields that it reads, its schema version and the fingerprints before it. Fields
marked ``OPERATIONAL`` say how work is done and not what comes out, so they are left out.
"""

import hashlib
import json
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.config.setting import first_default, first_name, is_operational, settings_of, value_of
from pipeline.contracts.conventions import PEOPLE_VERSION, SCHEMA_VERSION
from pipeline.run.stage_table import STAGES, inputs_of


def stage_fingerprints(config: RunConfig) -> dict[str, str]:
    """Hash of what each stage's output depends on, per stage: 16 hex digits.

    Settings at their first default are left out and all are known by their first names (``config.setting``), so
    that a version of this program with more settings finds the same.
    """
    fields = dict(settings_of(RunConfig))
    fingerprints: dict[str, str] = {}
    for stage in STAGES:
        facts: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "seed": config.seed,
            "settings": {
                first_name(setting): value
                for setting in settings_read(stage, config)
                if (value := value_of(config, setting)) != first_default(fields[setting])
            },
            "inputs": {name: fingerprints[name] for name in inputs_of(stage) if STAGES[name].wanted(config)},
        }
        if stage == "render" and not config.is_ingested:
            facts["people"] = PEOPLE_VERSION
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        fingerprints[stage] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return fingerprints


def settings_read(stage: str, config: RunConfig) -> tuple[str, ...]:
    """Dotted names of the settings that a stage's own output depends on, in order."""
    row = STAGES[stage]
    sections = row.ingested_sections if config.is_ingested and row.ingested_sections is not None else row.sections
    return tuple(
        setting
        for setting, field in settings_of(RunConfig)
        if (section := setting.partition(".")[0]) in sections
        and setting.split(".")[1] in sections[section]
        and not is_operational(field)
    )
