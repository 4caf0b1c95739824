"""Statistics of cells."""

import json

import pandas as pd

from isda_bench.config.run_config import OLDER_FUNCTIONS, flat
from isda_bench.experiments.coordinates import older_function


def cell_statistics(records: pd.DataFrame, protocol: str = "last_10") -> pd.DataFrame:
    """Number of runs, mean and standard deviation (n - 1) of each cell's error, in the records' order.

    Columns: cell, dataset, model, loss, variant, split, epochs, n, mean, std (NaN for a single run).
    """
    keys = ["cell", "dataset", "model", "loss", "variant", "split", "epochs"]
    grouped = with_variants(records).groupby(keys, sort=False)[protocol]
    return grouped.agg(n="count", mean="mean", std="std").reset_index()


def with_variants(records: pd.DataFrame) -> pd.DataFrame:
    """The records and a column `variant`: settings that differ among cells of one data set, network and loss.

    'loss.strength=0.25, dataset.train_size=1000', or empty where no other cell has the three; an older
    function of a component is always named.
    """
    settings = records["record"].map(lambda record: flat(record["identity"]))
    variants = pd.Series("", index=records.index, dtype=object)
    for _, alike in records.groupby(["dataset", "model", "loss"], sort=False):
        chosen = settings[alike.index]
        keys = sorted(
            {key for flat in chosen for key in flat} - {"seed", "schedule.epochs", *OLDER_FUNCTIONS}
        )
        differing = [key for key in keys if len({json.dumps(flat.get(key)) for flat in chosen}) > 1]
        variants[alike.index] = chosen.map(
            lambda flat, keys=differing: ", ".join(f"{key}={json.dumps(flat.get(key))}" for key in keys)
        )
    older = records["record"].map(lambda record: older_function(record["config"]))
    return records.assign(
        variant=[", ".join(filter(None, both)) for both in zip(variants, older, strict=True)]
    )
