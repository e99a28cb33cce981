"""The decoder that a run starts from, in place of one that is fitted: published as it is."""

import time
from dataclasses import asdict

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import DataError
from pipeline.contracts.planes import DecoderReport
from pipeline.contracts.stage import Progress
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import name_decoder
from pipeline.io.publish import empty_folder, publish_folder
from pipeline.machine import package_versions, processor_name
from pipeline.run.model_folder import ModelFolder
from pipeline.run.run import decoder_sha256
from pipeline.stages.fit.decoder_file import DECODER
from pipeline.stages.fit.settings import decoder_settings
from pipeline.stages.weights import read_state
from pipeline.stages.work import WorkItem
from rodin_models.checkpoint import save_state


def take_decoder(item: WorkItem, models: ModelFolder, progress: Progress) -> DecoderReport:
    """Publish the decoder and the mean planes of ``models``.

    Raises ``DataError`` where they are damaged, or of another shape than the run's.
    """
    started_at, layout, planes = time.time(), item.layout, item.config.planes
    tree = read_state(models.layout.decoder, DECODER, what="train.start_from", remedy="give another folder")
    shape = (3, planes.channels, planes.resolution, planes.resolution)
    asked = {name: value for name, value in asdict(decoder_settings(item.config)).items() if name != "density_bias"}
    if any(tree["settings"][name] != value for name, value in asked.items()) or tree["mean_planes"].shape != shape:
        raise DataError(f"the decoder of {models.layout.root} has another shape than decoder.* and planes.* say")
    staged = empty_folder(layout.work / "decoder" / "publish")
    save_state(staged, tree)
    sha256 = decoder_sha256(staged)
    publish_folder(staged, layout.decoder)
    # Every fit waits for this stage, so nobody else writes to the store now.
    name_decoder(layout.planes, sha256)
    finished_at = time.time()
    report = DecoderReport(
        schema_version=SCHEMA_VERSION,
        fingerprint=item.fingerprint,
        avatars=(),
        sources={},
        decoder_sha256=sha256,
        psnr_db=None,
        steps=0,
        started_at=started_at,
        finished_at=finished_at,
        seconds=round(finished_at - started_at, 3),
        versions=package_versions(("torch",)),
        processor=processor_name(),
    )
    write_ledger(layout.ledger("decoder", "decoder"), report)
    progress(item.units, item.units)
    return report
