"""Named expressions as mixtures of MakeHuman's own (CC0) expression units."""

from typing import Final

EXPRESSIONS: Final[dict[str, dict[str, float]]] = {
    "neutral": {},
    "smile": {
        "mouth-corner-puller": 0.75,
        "eye-left-slit": 0.22,
        "eye-right-slit": 0.22,
        "nose-left-elevation": 0.1,
        "nose-right-elevation": 0.1,
    },
    "laugh": {
        "mouth-corner-puller": 0.8,
        "mouth-open": 0.2,
        "mouth-parling": 0.25,
        "eye-left-slit": 0.4,
        "eye-right-slit": 0.4,
        "eyebrows-left-up": 0.2,
        "eyebrows-right-up": 0.2,
    },
    "sad": {
        "mouth-depression": 0.45,
        "eyebrows-left-inner-up": 0.7,
        "eyebrows-right-inner-up": 0.7,
        "eye-left-slit": 0.2,
        "eye-right-slit": 0.2,
    },
    "angry": {
        "eyebrows-left-down": 0.8,
        "eyebrows-right-down": 0.8,
        "mouth-compression": 0.35,
        "eye-left-slit": 0.25,
        "eye-right-slit": 0.25,
        "nose-compression": 0.25,
    },
    "surprised": {
        "eyebrows-left-up": 0.75,
        "eyebrows-right-up": 0.75,
        "eye-left-opened-up": 0.45,
        "eye-right-opened-up": 0.45,
        "mouth-open": 0.22,
    },
    "thoughtful": {
        "mouth-compression": 0.3,
        "eyebrows-left-up": 0.35,
        "eyebrows-right-inner-up": 0.2,
        "mouth-pursing": 0.15,
    },
}
"""Weights of ``targets/expression/units/ANCESTRY/NAME`` at full intensity."""
