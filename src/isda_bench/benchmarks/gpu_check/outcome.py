"""The result of a check."""

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["PASS", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Outcome:
    """Status, the sentence that explains it, and numbers for the page."""

    status: Status
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)


class CheckFailed(Exception):
    """A check failed; the message is its sentence."""


class CheckSkipped(Exception):
    """A check could not be made; the message is its sentence."""
