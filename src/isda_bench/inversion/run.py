"""One inversion in order: draws the wanted features, descends twice, writes figures and record."""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from isda_bench.errors import UserError
from isda_bench.inversion.descent import CHUNK, STEPS, Point, descend, iteration_of, start_at
from isda_bench.inversion.setup import InversionOptions, Setup, prepare
from isda_bench.inversion.state import State, begin, search_of
from isda_bench.monitoring.progress import Display
from isda_bench.storage import checkpoint
from isda_bench.storage.run_lock import RunLock

SECONDS_BETWEEN_SAVES = 30.0
NAMES = ("Step I", "Step II")


def invert(options: InversionOptions) -> Path:
    """Runs both steps, or resumes them, and writes figures and record.

    Returns:
        The directory.

    Raises:
        ConfigError, UserError: as `prepare`; another process runs there, or the directory holds another
            inversion; an objective is not finite.
        KeyboardInterrupt: stopped; the progress until then is saved.
    """
    from isda_bench.inversion.report import write_report  # imports matplotlib

    setup = prepare(options)
    directory = _directory(setup)
    with RunLock(directory) as lock:
        state = _kept(directory, setup) or begin(setup)
        with InversionDisplay(directory.name, options.iterations) as display:
            display.restore_position(state.points)
            for step in range(len(STEPS)):
                _descend(setup, state, step, directory, lock, display)
        write_report(directory, setup, state)
    return directory


def _descend(
    setup: Setup, state: State, step: int, directory: Path, lock: RunLock, display: "InversionDisplay"
) -> None:
    """Runs the rest of a step; saves regularly, at its end and when it is stopped."""
    if len(state.points) == step:
        z = state.points[-1].z.repeat_interleave(setup.options.augmentations, 0)
        state.points.append(start_at(z))
        state.seconds.append(0.0)
    descent = STEPS[step]._replace(iterations=setup.options.iterations)
    iteration = iteration_of(search_of(setup, state, step), descent, setup.options.compile)
    saved = time.monotonic()
    start = saved - state.seconds[step]
    try:
        for point in descend(iteration, descent, state.points[step]):
            _check_finite(point, step)
            lock.check()
            state.points[step], state.seconds[step] = point, time.monotonic() - start
            display.show(step, point)
            done = len(point.trace) == descent.iterations
            if done or time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                saved = time.monotonic()
                _save(directory, setup, state)
    except KeyboardInterrupt:
        _save(directory, setup, state)
        count = len(state.points[step].trace)
        print(
            f"stopped after {count} iterations of {NAMES[step]}; the same command resumes there",
            file=sys.stderr,
        )
        raise


class InversionDisplay(Display):
    """Shows how far both steps are; an epoch is a chunk of iterations."""

    def __init__(self, title: str, iterations: int) -> None:
        self.chunks = -(-iterations // CHUNK)
        super().__init__(title, len(NAMES) * self.chunks, CHUNK)

    def restore_position(self, points: list[Point]) -> None:
        """The descent starts, at the position where an earlier process stopped."""
        self.begin((len(points) - 1) * self.chunks + -(-len(points[-1].trace) // CHUNK))

    def show(self, step: int, point: Point) -> None:
        """A chunk of a step is done."""
        done = len(point.trace)
        features, pixels = point.trace[-1, :2].median(1).values.tolist()
        self.epoch(
            {
                "epoch": step * self.chunks + -(-done // CHUNK),
                "done": f"{NAMES[step]}, iteration {done}",
                "features": features,
                "pixels": pixels,
            }
        )

    def place(self) -> str:
        """The step and its iteration."""
        return str(self.row.get("done", NAMES[0]))

    def status(self, row: dict[str, Any]) -> list[str]:
        """The medians over the images."""
        return [f"features {row['features']:.3g}", f"pixels {row['pixels']:.3g}"]


def _check_finite(point: Point, step: int) -> None:
    if not bool(point.trace[-1].isfinite().all()):
        raise UserError(
            f"{NAMES[step]}: the objective is not finite within the {len(point.trace)} iterations done; "
            f"stopped there"
        )


def _directory(setup: Setup) -> Path:
    if setup.options.out is not None:
        return Path(setup.options.out).expanduser()
    digest = hashlib.sha256(json.dumps(setup.identity, sort_keys=True).encode()).hexdigest()[:8]
    runs = Path(setup.options.run).expanduser().resolve().parent
    return runs / "inversions" / f"{setup.identity['classifier']}-{digest}"


def _save(directory: Path, setup: Setup, state: State) -> None:
    content = {"identity": setup.identity, **state._asdict(), "points": [list(p) for p in state.points]}
    checkpoint.save(directory, len(state.points), content, len(state.points[-1].trace))


def _kept(directory: Path, setup: Setup) -> State | None:
    """The progress of an earlier process; None if there was none.

    Raises:
        UserError: it was another inversion.
    """
    kept = checkpoint.load_newest(directory)
    if kept is None:
        return None
    before, now = kept.pop("identity"), setup.identity
    changed = [
        f"{key}: {before.get(key)} there, {now[key]} now" for key in now if before.get(key) != now[key]
    ]
    if changed:
        raise UserError(f"{directory}: holds another inversion ({'; '.join(changed)}); give another out=")
    points = [Point(z.to(setup.device), v.to(setup.device), trace) for z, v, trace in kept.pop("points")]
    return State(**kept, points=points)
