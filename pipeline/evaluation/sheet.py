"""Pictures beside each other as a file that the page of results shows."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from pipeline.contracts.report.page import Picture
from pipeline.evaluation.subject import Subject
from pipeline.images import encode_png, to_uint8
from pipeline.io.publish import publish_bytes
from pipeline.report.pictures import contact_sheet


def published_sheet(
    subject: Subject,
    name: str,
    pictures: Iterable[Tensor],
    *,
    columns: int,
    tile: int,
    caption: str,
    label: str | None = None,
    labels: Sequence[str] | None = None,
) -> Picture:
    """Write ``results/<name>.png`` of pictures (3, height, width) in [0, 1], each ``tile`` pixels wide; ``labels`` are
    theirs, ``label``, which is ``name`` unless given, the sheet's own.
    """
    images = [to_uint8(picture.permute(1, 2, 0).numpy()) for picture in pictures]
    sheet = contact_sheet(images, columns=columns, tile=tile, labels=labels)
    publish_bytes(subject.run.layout.report / "results" / f"{name}.png", encode_png(sheet))
    return Picture(path=f"results/{name}.png", label=label or name, caption=caption)
