"""Times as people write them."""

from datetime import datetime

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration_text(seconds: float) -> str:
    """'2 h 13 min', '1 min 1 s', '4.6 s': the two largest units, zeros left out."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    largest = next(i for i, (_, length) in enumerate(UNITS) if whole >= length)
    smallest = UNITS[min(largest + 1, len(UNITS) - 1)][1]
    rest = round(whole / smallest) * smallest
    parts = []
    for unit, length in UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def moment_text(iso: str) -> str:
    """'2026-01-02 03:04 UTC' of an ISO time with +00:00; any other text as it is."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment:%Y-%m-%d %H:%M}" + (" UTC" if moment.utcoffset() is not None else "")
