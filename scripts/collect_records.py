"""Copies finished runs' records and metrics to results/records, the place of what is committed.

python scripts/collect_records.py                       every finished run below runs/
python scripts/collect_records.py runs_dir=elsewhere    below another folder
"""

from pathlib import Path

from isda_bench.config.options import Options, main
from isda_bench.storage.records import collect_records


class CollectOptions(Options):
    """What can be given as key=value."""

    runs_dir: str = "runs"
    out: str = "results/records"


def collect(options: CollectOptions) -> None:
    """Copies, and names what was copied."""
    for path in collect_records(Path(options.runs_dir).expanduser(), Path(options.out).expanduser()):
        print(path)


if __name__ == "__main__":
    main(CollectOptions, collect, __doc__)
