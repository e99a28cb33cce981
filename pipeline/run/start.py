"""``train.start_from``: the decoder and models that a run takes up instead of beginning from nothing.

Which ones they were stays with the run: ``train.start_from_sha256`` is filled in when the configuration is made, and is
part of the fingerprints of the stages that take something up. A run keeps it although other weights may be released
later; only a stage that is still to be done then needs the old ones.
"""

from pipeline.config.run import RunConfig
from pipeline.config.shape import contradiction
from pipeline.contracts.bucket_path import place
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.run.model_folder import RELEASED, ModelFolder, content_of, open_models, open_released


def with_start(config: RunConfig, before: RunConfig | None = None) -> RunConfig:
    """The configuration with the hash of what it starts from, where it starts from something.

    ``before`` is that of an existing run, whose hash is kept where it started from the same place. Raises ``DataError``
    where there is nothing to start from, ``ConfigError`` where a setting contradicts it.
    """
    start_from = config.train.start_from
    if not start_from:
        return _with(config, "", "")
    where = start_from if start_from == RELEASED else str(place(start_from).resolve())
    known = before.train.start_from_sha256 if before is not None and before.train.start_from == where else ""
    try:
        models, sha256 = _open(where)
    except DataError:
        if known:
            return _with(config, where, known)
        raise
    if known and known != sha256:
        return _with(config, where, known)
    differs = contradiction(config, models.settings)
    if differs:
        raise ConfigError(
            f"train.start_from {start_from}: {differs}; set {differs.partition(' ')[0]} to theirs, "
            "or begin from nothing"
        )
    return _with(config, where, sha256)


def started_from(config: RunConfig) -> ModelFolder | None:
    """The decoder and models that a run takes up; ``None`` where it begins from nothing.

    Raises ``DataError`` where they are not those that the run was configured with.
    """
    train = config.train
    if not train.start_from:
        return None
    models, sha256 = _open(train.start_from)
    if sha256 != train.start_from_sha256:
        raise DataError(
            f"train.start_from {train.start_from} ({models.layout.root}) is not what it was when the run began; "
            f"to begin again with what it is now: --set train.start_from={train.start_from} --redo decoder --redo train"
        )
    return models


def _open(start_from: str) -> tuple[ModelFolder, str]:
    """The models, and the hash of their content."""
    try:
        models = open_released() if start_from == RELEASED else open_models(place(start_from))
        return models, content_of(models)
    except DataError as error:
        raise DataError(f"train.start_from {start_from}: {error}") from None


def _with(config: RunConfig, start_from: str, sha256: str) -> RunConfig:
    changes = {"start_from": start_from, "start_from_sha256": sha256}
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})
