"""Generators by name: each draw depends on (seed, index, purpose) and on nothing else.

So an avatar is the same whatever was drawn before it, by whichever worker, and two things that are scattered on one
avatar share nothing.
"""

import hashlib

import numpy as np


def seed_for(run_seed: int, index: int, purpose: str) -> int:
    """A 63-bit seed for ``torch.Generator`` and the like, a hash of the three arguments."""
    digest = hashlib.sha256(f"{run_seed}/{index}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator_for(run_seed: int, index: int, purpose: str) -> np.random.Generator:
    """A numpy generator (PCG64) seeded with :func:`seed_for`.

    ``run_seed`` is the run's, with the avatar as ``index``; or an avatar's own (``AvatarSpec.seed``), with ``index``
    the number of the thing that is built, 0 where there is one.
    """
    return np.random.Generator(np.random.PCG64(seed_for(run_seed, index, purpose)))
