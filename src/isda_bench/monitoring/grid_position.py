"""The place of a run in its grid, and the grid's time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GridPosition:
    """The place of a run among the runs of a grid.

    Attributes:
        number: of the run, from 1.
        total: runs in the grid.
        durations: seconds of each run that this process has trained, to which the display adds the present
            one; null where the runs of the grid train at once, so that no sum of them is its time.
    """

    number: int
    total: int
    durations: list[float] | None = None

    def __str__(self) -> str:
        """`[3/6]`."""
        return f"[{self.number}/{self.total}]"

    def seconds_left(self, run: float, run_left: float) -> float | None:
        """The grid's time left, as if each later run took the mean time of those so far; null: not known.

        Args:
            run: seconds of the whole present run.
            run_left: seconds that it has left.
        """
        if self.durations is None:
            return None
        known = [*self.durations, run]
        return run_left + (self.total - self.number) * sum(known) / len(known)
