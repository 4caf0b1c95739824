"""Statistics of cells."""

import json

import pandas as pd

from isda_bench.config.run_config import flat


def cell_statistics(records: pd.DataFrame, protocol: str = "last_10") -> pd.DataFrame:
    """Number of runs, mean and standard deviation (n - 1) of each cell's error, in the records' order.

    Columns: cell, dataset, model, loss, variant, split, epochs, n, mean, std (NaN for a single run).
    """
    keys = ["cell", "dataset", "model", "loss", "variant", "split", "epochs"]
    grouped = with_variants(records).groupby(keys, sort=False)[protocol]
    return grouped.agg(n="count", mean="mean", std="std").reset_index()


def with_variants(records: pd.DataFrame) -> pd.DataFrame:
    """The records and a column `variant`: what tells a cell from others of its data set, network and loss.

    'loss.strength=0.25, dataset.train_size=1000', or empty where nothing else is like it.
    """
    settings = records["record"].map(lambda record: flat(record["identity"]))
    variants = pd.Series("", index=records.index, dtype=object)
    for _, alike in records.groupby(["dataset", "model", "loss"], sort=False):
        chosen = settings[alike.index]
        keys = sorted({key for flat in chosen for key in flat} - {"seed", "schedule.epochs"})
        differing = [key for key in keys if len({json.dumps(flat.get(key)) for flat in chosen}) > 1]
        variants[alike.index] = chosen.map(
            lambda flat, keys=differing: ", ".join(f"{key}={json.dumps(flat.get(key))}" for key in keys)
        )
    return records.assign(variant=variants)
