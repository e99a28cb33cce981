"""Sizes, times and speeds as text."""


def bytes_text(count: int) -> str:
    """``1.4 GiB``: three digits, and a fourth where 1000 to 1023 of a unit need it."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def seconds_text(seconds: float | None) -> str:
    """``1:02:03``, ``4:05`` or ``--`` when unknown."""
    if seconds is None:
        return "--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rate_text(rate: float | None, unit: str) -> str:
    """``3.2 steps/s``, or per minute or hour when slower."""
    if not rate:
        return f"-- {unit}s/s"
    for factor, name in ((1, "s"), (60, "min"), (3600, "h")):
        if rate * factor >= 0.5 or name == "h":
            return f"{rate * factor:.3g} {unit}s/{name}"
    raise AssertionError("unreachable")
