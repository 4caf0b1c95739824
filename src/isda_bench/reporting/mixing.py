"""Differences between the runs of one table: other data are an error, other conditions are a footnote."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from isda_bench.config.generator_config import FOLDER, GeneratorConfig
from isda_bench.errors import UserError
from isda_bench.storage.record_files import DATA, RECORD, read_record

CONDITIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "device types": lambda record: (record.get("device") or {}).get("type"),
    "numbers of processes": lambda record: record.get("processes", 1),
    "torch versions": lambda record: (record.get("versions") or {}).get("torch"),
}
"""What the runs of a cell can differ in, and how a record says it; None: an older record does not."""


def mixed_conditions(records: list[dict[str, Any]]) -> tuple[str, ...]:
    """The conditions in which the runs of a cell differ, each in words for a footnote."""
    found = []
    for name, of in CONDITIONS.items():
        values = sorted({str(value) for value in map(of, records) if value is not None})
        if len(values) > 1:
            found.append(f"mixed {name}: {', '.join(values)}")
    dirty = sum(bool((record.get("git") or {}).get("dirty")) for record in records)
    if dirty:
        found.append(f"{dirty} of {len(records)} runs trained with uncommitted changes of the code")
    return tuple(found)


def has_generator_of_other_data(record: dict[str, Any], directory: Path) -> bool:
    """Whether a run used images of a generator that was trained on other data than the run.

    Args:
        record: of the run.
        directory: of the run; the generator's record is looked for beside it. Where it is not there, or is of
            another generator, nothing is known.
    """
    used, data = record.get("generator"), record.get(DATA)
    if not used or data is None:
        return False
    file = directory.parent / FOLDER / used["run"] / RECORD
    return _data_of_generator(file, used["sha256"]) not in (None, data)


@lru_cache(maxsize=256)  # several runs use one generator, several tables have one run
def _data_of_generator(file: Path, sha256: str) -> str | None:
    """SHA-256 of the data on which the generator with this checksum was trained; None: not known."""
    try:
        record = read_record(file, GeneratorConfig)
    except UserError:
        return None
    return record.get(DATA) if record.get("generator_sha256") == sha256 else None


def refuse_other_data(what: str, records: Iterable[dict[str, Any]]) -> None:
    """Makes sure that runs were trained on the same data; older records do not know theirs.

    Args:
        what: in which the runs stand together.
        records: of one data set's name.

    Raises:
        UserError: they were not; names two runs and their checksums.
    """
    runs: dict[str, str] = {}
    for record in records:
        if record.get(DATA) is not None:
            runs.setdefault(record[DATA], record["run_id"])
    if len(runs) > 1:
        (first, a), (second, b), *_ = runs.items()
        raise UserError(
            f"{what}: its runs were trained on different data: {a} on {first}, {b} on {second} (SHA-256); "
            f"move the runs of one of them to another runs_dir"
        )
