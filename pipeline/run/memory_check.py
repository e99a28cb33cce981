"""Whether the memory that a stage's processes can take is there, and what to lower where it is not."""

from pipeline.config.run import RunConfig
from pipeline.contracts.errors import ResourceError
from pipeline.contracts.units import bytes_text
from pipeline.run.memory import GRIDS, MEASURING, PHOTOGRAPHS, PLANES, STEP, Terms
from pipeline.run.stage_table import STAGES


def memory_terms(stage: str, config: RunConfig) -> Terms:
    """What one process of a stage can take at most, by what it is for; empty where nobody knows beforehand."""
    terms = STAGES[stage].memory
    return terms(config) if terms is not None else {}


def side_by_side(stage: str, config: RunConfig, cpus: int) -> int:
    """Processes of a stage that a machine with so many CPUs runs at a time."""
    if stage == "decoder":
        return config.decoder.workers
    items = config.render.num_shards if STAGES[stage].per == "shard" else config.render.num_avatars
    return max(1, min(items, cpus // config.fit.threads))


def require_memory(stage: str, config: RunConfig, available: int, *, where: str = "here", processes: int = 1) -> None:
    """Raise ``ResourceError`` with what to lower unless a stage's processes fit into so many bytes."""
    terms = memory_terms(stage, config)
    one = sum(terms.values())
    if one * processes <= available:
        return
    largest = max(terms, key=lambda name: terms[name])
    several = f"{processes} processes of {bytes_text(one)} side by side" if processes > 1 else "one process"
    raise ResourceError(
        f"stage {stage}: {several} can take {bytes_text(one * processes)} of memory ({bytes_text(terms[largest])} "
        f"of each for {largest}), and {where} {bytes_text(available)} are available: "
        f"{_remedy(stage, largest, config, processes)}"
    )


def _remedy(stage: str, largest: str, config: RunConfig, processes: int) -> str:
    remedies = {
        PHOTOGRAPHS: "render fewer or smaller views (render.train_views, render.resolution)",
        PLANES: f"lower planes.resolution {config.planes.resolution}",
        STEP: f"lower fit.rays {config.fit.rays}",
        GRIDS: f"lower fit.hull_resolution {config.fit.hull_resolution}",
        MEASURING: (
            f"render smaller views (render.resolution {config.render.resolution}) or lower fit.render_samples "
            f"{config.fit.render_samples}"
        ),
    }
    remedy = remedies.get(largest, "use a larger machine")
    if stage == "decoder" and largest == PHOTOGRAPHS and config.decoder.avatars_in_memory > 1:
        remedy = f"lower decoder.avatars_in_memory {config.decoder.avatars_in_memory}"
    elif stage == "decoder" and largest in (PLANES, GRIDS) and config.decoder.avatars > 1:
        remedy = f"lower decoder.avatars {config.decoder.avatars}"
    if processes > 1 and stage != "decoder":
        return f"raise fit.threads {config.fit.threads}, so that fewer run side by side, or {remedy}"
    return remedy
