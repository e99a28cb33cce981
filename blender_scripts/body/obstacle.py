"""What hair must stay off: skin and cloth, as points with normals in a KD-tree."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats
from blender_scripts.geometry.material import Cloth
from blender_scripts.geometry.mesh import triangulate, vertex_normals
from blender_scripts.geometry.parts import MeshPart

REACH_M = 0.06


@dataclass(frozen=True, eq=False)
class Obstacle:
    """Surface points; the nearest one decides on which side a point is."""

    tree: cKDTree
    points: Floats
    normals: Floats
    skin: int
    """How many of the points are skin; the others are cloth."""

    @classmethod
    def of_parts(cls, body: Body, cloth: list[MeshPart]) -> "Obstacle":
        """The head's skin, thinned, and the outside of all cloth."""
        on_head = np.flatnonzero((body.topology.rest[:, 1] > 5.9) & (body.topology.masks["inside-mouth"] < 0.1))[::3]
        points, normals = [body.vertices[on_head]], [body.normals[on_head]]
        for part in cloth:
            if isinstance(part.material, Cloth) and part.role != "cap":
                triangles = triangulate(part.faces) if part.faces.shape[1] == 4 else part.faces
                points.append(part.vertices)
                normals.append(vertex_normals(part.vertices, triangles))
        where = np.concatenate(points)
        return cls(cKDTree(where), where, np.concatenate(normals), len(on_head))

    def push(self, points: Floats, margin: Floats) -> Floats:
        """Move points that are nearer than ``margin`` metres to the outside, along the nearest normal."""
        _, index = self.tree.query(points, distance_upper_bound=REACH_M)
        near = np.flatnonzero(index < len(self.points))
        at = index[near]
        height = ((points[near] - self.points[at]) * self.normals[at]).sum(1)
        lack = np.clip(margin[near] - height, 0, 0.03)
        moved = points.copy()
        moved[near] += lack[:, None] * self.normals[at]
        return moved

    def keep(self, points: Floats, least: Floats, most: Floats) -> Floats:
        """Like :meth:`push`, and draw points that are further than ``most`` metres from skin back to that height."""
        _, index = self.tree.query(points, distance_upper_bound=REACH_M)
        near = np.flatnonzero(index < len(self.points))
        at = index[near]
        height = ((points[near] - self.points[at]) * self.normals[at]).sum(1)
        excess = np.where(at < self.skin, np.maximum(height - most[near], 0), 0)
        moved = points.copy()
        moved[near] += (np.clip(least[near] - height, 0, 0.03) - excess)[:, None] * self.normals[at]
        return moved
