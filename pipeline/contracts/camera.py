"""Pinhole cameras: OpenCV extrinsics and intrinsics, projection, and rigs on a sphere around the head."""

import math
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from pipeline.contracts.record import Record

Array = npt.NDArray[np.float64]
Row = tuple[float, float, float, float]


class Camera(Record):
    """A pinhole camera without distortion, in the frames of :mod:`pipeline.contracts.conventions`."""

    cam2world: tuple[Row, Row, Row, Row]
    """Rigid 4x4, OpenCV camera axes (x right, y down, z forward) to world, world units."""
    fx: float = Field(gt=0)
    """Focal length along x in pixels."""
    fy: float = Field(gt=0)
    """Focal length along y in pixels."""
    cx: float
    """Principal point's column in pixels; the image's left border is 0."""
    cy: float
    """Principal point's row in pixels; the image's upper border is 0."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)

    @model_validator(mode="after")
    def _is_rigid(self) -> Self:
        matrix = self.matrix()
        rotation = matrix[:3, :3]
        if not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-9):
            raise ValueError(f"the last row of cam2world is {matrix[3].tolist()}, not (0, 0, 0, 1)")
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
            raise ValueError("the upper left 3x3 of cam2world is no rotation")
        return self

    @classmethod
    def look_at(
        cls,
        position: Array,
        target: Array,
        *,
        fov_deg: float,
        width: int,
        height: int,
        up: tuple[float, float, float] = (0.0, 1.0, 0.0),
    ) -> Self:
        """A camera at ``position`` looking at ``target`` (world), ``fov_deg`` wide horizontally, image upright.

        Raises ``ValueError`` if the direction is undefined or parallel to ``up``.
        """
        forward = _unit(np.asarray(target, np.float64) - np.asarray(position, np.float64))
        right = _unit(np.cross(forward, np.asarray(up, np.float64)))
        down = np.cross(forward, right)
        matrix = np.eye(4)
        matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = right, down, forward, position
        focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
        return cls.of_matrix(matrix, fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height)

    @classmethod
    def of_matrix(
        cls, cam2world: Array, *, fx: float, fy: float, cx: float, cy: float, width: int, height: int
    ) -> Self:
        """From OpenCV ``cam2world`` as an array of shape (4, 4), and intrinsics in pixels."""
        rows = tuple(tuple(float(x) for x in row) for row in cam2world)
        pinhole = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": width, "height": height}
        return cls.model_validate({"cam2world": rows, **pinhole})

    def matrix(self) -> Array:
        """``cam2world`` as a float64 array of shape (4, 4)."""
        return np.asarray(self.cam2world, np.float64)

    def project(self, points_world: Array) -> Array:
        """World points (..., 3) to (..., 3): column and row in pixels, z-depth in world units.

        Points behind the camera come out with a depth below 0; their pixels mean nothing.
        """
        matrix = self.matrix()
        points: Array = (np.asarray(points_world) - matrix[:3, 3]) @ matrix[:3, :3]
        depth = points[..., 2]
        return np.stack(
            (self.fx * points[..., 0] / depth + self.cx, self.fy * points[..., 1] / depth + self.cy, depth), -1
        )

    def unproject(self, pixels: Array) -> Array:
        """The inverse of :meth:`project`: (..., 3) columns, rows and z-depths to world points."""
        pixels = np.asarray(pixels)
        depth = pixels[..., 2]
        points = np.stack(
            ((pixels[..., 0] - self.cx) / self.fx * depth, (pixels[..., 1] - self.cy) / self.fy * depth, depth), -1
        )
        matrix = self.matrix()
        world: Array = points @ matrix[:3, :3].T + matrix[:3, 3]
        return world

    def resized(self, width: int, height: int) -> Self:
        """The same view at another resolution."""
        sx, sy = width / self.width, height / self.height
        return type(self)(
            cam2world=self.cam2world,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
            width=width,
            height=height,
        )


def swap_opengl(cam2world: Array) -> Array:
    """``cam2world`` of OpenCV camera axes from one of OpenGL axes (x right, y up, z backward), and back.

    Its own inverse, and the only place where the two are turned into one another. Blender's cameras have OpenGL axes.
    """
    turned: Array = np.asarray(cam2world, np.float64) * np.array((1.0, -1.0, -1.0, 1.0)) + 0.0  # no negative zeros
    return turned


def orbit_position(azimuth_deg: float, elevation_deg: float, distance: float) -> Array:
    """A point on the sphere of radius ``distance``. Azimuth 0, elevation 0 is in front of the face.

    Azimuth grows to the avatar's left (+x), elevation upwards (+y).
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    return distance * np.array(
        (
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        )
    )


def sphere_rig(
    generator: np.random.Generator,
    num_views: int,
    *,
    elevation_deg: tuple[float, float],
    distance: float,
    fov_deg: float,
    size: int,
) -> tuple[Camera, ...]:
    """Cameras all around the head, looking at the origin.

    Azimuths are stratified (one uniform draw in each of ``num_views`` equal sectors, in shuffled order) and
    elevations uniform in area between the two bounds, so that a few views already cover the head.
    """
    sectors = generator.permutation(num_views)
    azimuths = (sectors + generator.random(num_views)) * (360.0 / num_views)
    low, high = (math.sin(math.radians(e)) for e in elevation_deg)
    elevations = np.degrees(np.arcsin(generator.uniform(low, high, num_views)))
    return tuple(
        Camera.look_at(
            orbit_position(float(a), float(e), distance), np.zeros(3), fov_deg=fov_deg, width=size, height=size
        )
        for a, e in zip(azimuths, elevations, strict=True)
    )


def frontal_camera(*, distance: float, fov_deg: float, size: int) -> Camera:
    """The one camera in front of the face that encoders see."""
    return Camera.look_at(orbit_position(0.0, 0.0, distance), np.zeros(3), fov_deg=fov_deg, width=size, height=size)


def turntable_rig(
    num_views: int, *, elevation_deg: float, distance: float, fov_deg: float, size: int
) -> tuple[Camera, ...]:
    """``num_views`` cameras at equal azimuths, the first in front of the face."""
    return tuple(
        Camera.look_at(
            orbit_position(360.0 * i / num_views, elevation_deg, distance),
            np.zeros(3),
            fov_deg=fov_deg,
            width=size,
            height=size,
        )
        for i in range(num_views)
    )


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(vector))
    if length < 1e-12:
        raise ValueError("a camera needs a target away from its position, and an up vector off the viewing direction")
    return vector / length
