"""What stands beside the arrays of a plane store, for whoever reads it without this program, and how it is checked."""

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pipeline.contracts.conventions import PLANE_AXES, PLANE_NAMES, SCHEMA_VERSION, TEXEL_RULE
from pipeline.contracts.errors import DataError
from pipeline.contracts.planes import PlaneSpec
from pipeline.contracts.record import validation_summary

STORE_REMEDY: Final = "give another run folder, or delete the store and fit again with --redo fit"


def attributes_of(spec: PlaneSpec, decoder_sha256: str | None) -> dict[str, Any]:
    """What stands beside planes of ``spec`` under a decoder; ``None`` while there is none."""
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": spec.model_dump(),
        "decoder_sha256": decoder_sha256,
        "world_frame": "right-handed; +x to the avatar's left, +y up, +z out of the face",
        "world_unit_m": spec.extent_m,
        "cube": "[-1, 1]^3 in world units; density is zero outside",
        "plane_names": list(PLANE_NAMES),
        "plane_axes": [["xyz"[a] + " along columns", "xyz"[b] + " along rows"] for a, b in PLANE_AXES],
        "texel_rule": TEXEL_RULE,
        "features": (
            "a point's feature vector is the sum over the three planes of their bilinear samples; the decoder named by "
            "decoder_sha256 turns it into density (per world unit) and sRGB colour; values have no unit"
        ),
        "missing": "an avatar that was never written reads as NaN",
    }


def parse_attributes(path: Path, attributes: dict[str, Any]) -> tuple[PlaneSpec, str | None]:
    """The ``spec`` and the decoder's hash of a group; raises ``DataError`` for one that this program does not write."""
    version = attributes.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {version!r}, and this program reads version {SCHEMA_VERSION}: "
            "use the version of rodin-pipe that wrote it, or give another run folder"
        )
    try:
        spec = PlaneSpec.model_validate(attributes.get("spec"))
    except ValidationError as error:
        raise DataError(f"{path} has a damaged spec ({validation_summary(error)}): {STORE_REMEDY}") from None
    decoder_sha256, expected = attributes.get("decoder_sha256"), attributes_of(spec, None)
    if not isinstance(decoder_sha256, str | None):
        raise DataError(f"{path}: decoder_sha256 is {decoder_sha256!r}: {STORE_REMEDY}")
    for name in ("plane_names", "plane_axes", "texel_rule"):
        if attributes.get(name) != expected[name]:
            raise DataError(f"{path}: {name} is {attributes.get(name)!r}, not {expected[name]!r}: {STORE_REMEDY}")
    return spec, decoder_sha256


def require_equal(path: Path, stored: PlaneSpec, wanted: PlaneSpec) -> None:
    """Raise ``DataError`` unless a store's spec is the one that is wanted."""
    for name in PlaneSpec.model_fields:
        found, expected = getattr(stored, name), getattr(wanted, name)
        if found != expected:
            raise DataError(f"{path} has {name} {found}, and this run {expected}: {STORE_REMEDY}")
