"""Generators by name: each draw depends on (run seed, index, purpose) and on nothing else.

So an avatar is the same whatever was drawn before it, by whichever worker.
"""

import hashlib

import numpy as np


def seed_for(run_seed: int, index: int, purpose: str) -> int:
    """A 63-bit seed for ``torch.Generator`` and the like, a hash of the three arguments."""
    digest = hashlib.sha256(f"{run_seed}/{index}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator_for(run_seed: int, index: int, purpose: str) -> np.random.Generator:
    """A numpy generator (PCG64) seeded with :func:`seed_for`."""
    return np.random.Generator(np.random.PCG64(seed_for(run_seed, index, purpose)))
