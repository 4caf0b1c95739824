"""Errors by class of the last epoch, which classes are taken for which, and the confusion matrix.

A run keeps the accuracy of each class in metrics.jsonl and, with at most 100 classes, its confusion matrix
(`storage.confusion`). Older runs have neither, and collected records of more than 20 classes no matrix.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isda_bench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES
from isda_bench.errors import UserError
from isda_bench.reporting.inference import Floats
from isda_bench.storage.confusion import read_confusion
from isda_bench.storage.record_files import METRICS
from isda_bench.storage.records import read_metrics

KNOWN_CLASSES = {
    "isda_bench.data.cifar.CIFAR10": CIFAR10_CLASSES,
    "isda_bench.data.cifar.CIFAR100": CIFAR100_CLASSES,
}
"""`_target_` of a data set -> the names of its classes; those of a folder stand in the record."""


@dataclass(frozen=True)
class ClassErrors:
    """Of the runs of one cell.

    Attributes:
        names: of the C classes.
        errors: (C,), mean over the runs in percent; NaN for a class without an image.
        runs: that have recorded them.
        confusion: (C, C), images summed over the runs that have a matrix, a row for each true class; None
            where none has.
    """

    names: tuple[str, ...]
    errors: Floats
    runs: int
    confusion: NDArray[np.int64] | None = None

    def worst(self, most: int) -> list[int]:
        """The classes of the largest errors, at most so many; classes without an image are left out."""
        order = np.argsort(-np.nan_to_num(self.errors, nan=-1.0), kind="stable")
        return [int(c) for c in order[:most] if not np.isnan(self.errors[c])]

    def taken_for(self, true: int) -> tuple[int, float] | None:
        """The class that images of `true` are most often wrongly taken for, and for how many percent of them.

        None without a matrix or a mistake.
        """
        if self.confusion is None:
            return None
        row = self.confusion[true].copy()
        total, row[true] = row.sum(), 0
        return (int(row.argmax()), 100 * float(row.max() / total)) if row.any() else None


def class_errors(records: Iterable[dict[str, Any]], directories: Iterable[Path]) -> ClassErrors | None:
    """Of runs of one cell, in the same order as their directories; None where no run has recorded them.

    A run whose metrics or matrix are damaged, or of another number of classes, is passed over.
    """
    errors: list[Floats] = []
    matrices: list[NDArray[np.int64]] = []
    names: tuple[str, ...] = ()
    for record, directory in zip(records, directories, strict=True):
        try:
            found = _errors_of_last_epoch(directory, record["split"])
            matrix = read_confusion(directory, record)
        except UserError:
            continue
        if found is None or (errors and len(found) != len(errors[0])):
            continue
        errors.append(found)
        names = names or _class_names(record, len(found))
        if matrix is not None and len(matrix) == len(found):
            matrices.append(np.array(matrix, np.int64))
    if not errors:
        return None
    confusion = np.sum(matrices, axis=0) if matrices else None
    return ClassErrors(names, np.mean(errors, axis=0), len(errors), confusion)


def _errors_of_last_epoch(directory: Path, split: str) -> Floats | None:
    if not (directory / METRICS).exists():
        return None
    metrics = read_metrics(directory)
    column = f"{split}_class_accuracy"
    last = metrics[column].iloc[-1] if column in metrics else None
    if not isinstance(last, list):
        return None
    return 100 - np.array([np.nan if value is None else value for value in last], float)


def _class_names(record: dict[str, Any], count: int) -> tuple[str, ...]:
    """The names of so many classes; their numbers where there are no such names."""
    known = KNOWN_CLASSES.get(record["config"]["dataset"].get("_target_"), ())
    names = tuple(record.get("classes") or known)
    return names if len(names) == count else tuple(map(str, range(count)))
