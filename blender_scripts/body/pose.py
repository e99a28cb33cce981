"""The turn of the head: a bending of space about the neck, applied to every part alike, so that nothing comes apart."""

import math

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats, smoothstep
from pipeline.contracts.appearance import PoseSpec


def turn_head(pose: PoseSpec, body: Body, points: Floats) -> Floats:
    """Points (..., 3) in metres with the head turned: nothing moves below the neck's joint, all above the jaw does."""
    low, pivot = body.joints["neck"][1], body.joints["head"]
    share = smoothstep(low + 0.008, low + 0.060, points[..., 1])
    turned = points - pivot
    for angle_deg, (a, b) in ((pose.roll_deg, (1, 0)), (-pose.pitch_deg, (1, 2)), (pose.yaw_deg, (2, 0))):
        angle = math.radians(angle_deg) * share
        cos, sin = np.cos(angle), np.sin(angle)
        first, second = turned[..., a].copy(), turned[..., b].copy()
        turned[..., a], turned[..., b] = cos * first - sin * second, sin * first + cos * second
    return np.asarray(pivot + turned)
