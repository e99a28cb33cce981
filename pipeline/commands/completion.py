"""What a shell offers after an option, where it can be known; imported while the command line is defined, so light."""

from collections.abc import Sequence


def stages() -> Sequence[str]:
    """Names that ``--redo`` takes."""
    from pipeline.run.stage_table import STAGES

    return (*STAGES, "train")


def models() -> Sequence[str]:
    """Names that ``train`` takes."""
    from pipeline.run.stage_table import stages_of

    return stages_of("train")


def sections() -> Sequence[str]:
    """Names that ``evaluate --only`` takes."""
    from typing import get_args

    from pipeline.contracts.report.results import SectionName

    return get_args(SectionName)


def settings_of(incomplete: str) -> Sequence[str]:
    """Keys that ``--set`` takes, ``section.`` until a section is named, ``section.key=`` from there on."""
    from pydantic import BaseModel

    from pipeline.config.run import RunConfig

    *path, _ = incomplete.split(".")
    record: type[BaseModel] = RunConfig

    def sections_of(record: type[BaseModel]) -> dict[str, type[BaseModel]]:
        kinds = {name: field.annotation for name, field in record.model_fields.items()}
        return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}

    for name in path:
        found = sections_of(record).get(name)
        if found is None:
            return ()
        record = found
    before, known = "".join(f"{name}." for name in path), sections_of(record)
    return [f"{before}{name}{'.' if name in known else '='}" for name in record.model_fields]
