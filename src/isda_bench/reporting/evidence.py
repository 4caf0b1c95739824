"""Finds, for each of the paper's claims, the settings that the tables have and the effects in them."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from isda_bench.experiments.selection import CHOSEN
from isda_bench.reporting.criteria import Effects, at_most, falling, larger, lowest, opposite
from isda_bench.reporting.gpu_sharing import alone_on_their_gpu
from isda_bench.reporting.pairing import BASELINE, all_but
from isda_bench.reporting.table import Table, TableRow

ENOUGH_RUNS = 3
"""Common seeds: as many as the conference paper has."""
COMPETITIVE = 0.2
"""Points that a competitive method may lie above ISDA: in the paper's table center loss lies 0.05 and 0.18
above it on CIFAR-10, 0.28 and 0.52 on CIFAR-100."""
NEGLIGIBLE = 0.1
"""Share of a training's time: the journal version prints 5 to 8% of wall time."""


class Case(NamedTuple):
    """A setting of a claim.

    Attributes:
        setting: network, data set, deviations.
        planned: whether it is one of the paper's.
        numbers: in words.
        design: numbers that a simulation of such runs needs (methods, sizes, seeds); () if there is no plan.
        effects: None while there are not enough runs.
    """

    setting: str
    planned: bool
    numbers: str
    design: tuple[int, ...] = ()
    effects: Effects | None = None


def of_lowest_error(table: Table, records: pd.DataFrame) -> list[Case]:
    """ISDA, plain or with dropout, against every other planned method of the data set."""
    cases = []
    required = _planned_methods(table)
    for setting, lines in _settings(table.lines, "model", "dataset", "train_size").items():
        ours = [line for line in lines if _is_isda(line)]
        others = [line for line in lines if not _is_isda(line)]
        if not ours or not others:
            continue
        planned, n = _is_planned(lines), len(lines[0].seeds)
        case = Case(setting, planned, "", (len(ours), len(others), n) if planned else ())
        wanted = required[lines[0].at.dataset]
        ready = {line.at.method for line in lines if line.n >= ENOUGH_RUNS}
        seeds = _common(lines)
        if not planned and wanted - ready:
            numbers = f"{len(wanted & ready)} of {len(wanted)} planned methods have {ENOUGH_RUNS} runs"
            cases.append(case._replace(numbers=numbers))
        elif len(seeds) < ENOUGH_RUNS:
            enough = sum(line.n >= ENOUGH_RUNS for line in lines)
            numbers = f"{enough} of {len(lines)} methods have {ENOUGH_RUNS} runs, all have {len(seeds)} seeds"
            cases.append(case._replace(numbers=numbers))
        else:
            effects = lowest(_errors(ours, seeds), _errors(others, seeds))
            best, next_best = (min(part, key=lambda line: _mean(line, seeds)) for part in (ours, others))
            numbers = (
                f"{best.at.method} {_mean(best, seeds):.2f}, best of {len(others)} others "
                f"{next_best.at.method} {_mean(next_best, seeds):.2f}; n = {len(seeds)}, {_largest(effects)}"
            )
            cases.append(case._replace(numbers=numbers, effects=effects))
    return cases


def of_both_data_sets(table: Table, records: pd.DataFrame) -> list[Case]:
    """The gain on CIFAR-100 against that on CIFAR-10, for each network."""
    cases = []
    for setting, lines in _settings(table.lines, "model").items():
        found = {name: _isda([line for line in lines if line.at.dataset == name]) for name in _CIFAR}
        if None in found.values():
            lacking = [name for name, line in found.items() if line is None]
            cases.append(Case(setting, _is_planned(lines), f"lacking on {' and '.join(lacking)}"))
            continue
        small, large = (line for line in found.values() if line is not None)
        design = (len(large.seeds), len(small.seeds)) if _is_planned(lines) else ()
        case = Case(setting, _is_planned(lines), "", design)
        gains = [_gains(line) for line in (large, small)]
        if min(map(len, gains)) < ENOUGH_RUNS:
            short = [name for name, line in found.items() if line and len(_gains(line)) < ENOUGH_RUNS]
            cases.append(case._replace(numbers=f"lacking on {' and '.join(short)}"))
            continue
        here, there = (list(gain.values()) for gain in gains)
        effects = larger(here, there)
        numbers = (
            f"{np.mean(here):.2f} points on CIFAR-100, {np.mean(there):.2f} on CIFAR-10; n = {len(here)} and "
            f"{len(there)}, {_p(effects)}"
        )
        cases.append(case._replace(numbers=numbers, effects=effects))
    return cases


def of_center_loss(table: Table, records: pd.DataFrame) -> list[Case]:
    """Center loss against ISDA: at most `COMPETITIVE` above it on CIFAR-10, more on CIFAR-100."""
    cases = []
    for setting, lines in _settings(table.lines, "model", "dataset", "train_size").items():
        center = next((line for line in lines if line.at.method == "center"), None)
        isda = _isda(lines)
        if center is None or isda is None:
            continue
        planned, seeds = _is_planned(lines), _common([center, isda])
        case = Case(setting, planned, "", (len(center.seeds),) if planned else ())
        if len(seeds) < ENOUGH_RUNS:
            cases.append(case._replace(numbers=f"center {center.n} runs, isda {isda.n}"))
            continue
        distances = [center.errors[seed] - isda.errors[seed] for seed in seeds]
        effects = at_most(distances, COMPETITIVE)
        effects = effects if center.at.dataset == "cifar10" else opposite(effects)
        numbers = f"center lies {np.mean(distances):+.2f} from isda; n = {len(seeds)}, {_p(effects)}"
        cases.append(case._replace(numbers=numbers, effects=effects))
    return cases


def of_training_sizes(table: Table, records: pd.DataFrame) -> list[Case]:
    """The slope of ISDA's gain over the number of training images."""
    cases = []
    for setting, lines in _settings(table.lines, "model", "dataset").items():
        isda = [line for line in lines if line.at.method == "isda" and line.at.train_size]
        planned = _is_planned(lines)
        sizes = sorted({line.at.train_size or 0 for line in isda})
        design = (*sizes, len(isda[0].seeds)) if planned and len(sizes) > 1 else ()
        gains = {line.at.train_size or 0: _gains(line) for line in isda}
        enough = {size: gain for size, gain in sorted(gains.items()) if len(gain) >= ENOUGH_RUNS}
        seeds = sorted(set.intersection(*map(set, enough.values()))) if enough else []
        means = ", ".join(f"{size:,}: {np.mean(list(gain.values())):.2f}" for size, gain in enough.items())
        case = Case(setting, planned, f"gains known: {means or 'none'}", design)
        if len(enough) >= (len(sizes) if planned else 3) and len(seeds) >= ENOUGH_RUNS:
            effects = falling([[gain[s] for s in seeds] for gain in enough.values()], list(enough))
            numbers = f"gain at {means}; n = {len(seeds)}, {_p(effects)}"
            case = case._replace(numbers=numbers, effects=effects)
        cases.append(case)
    return cases


def of_cost(table: Table, records: pd.DataFrame) -> list[Case]:
    """The time that ISDA adds on a GPU, for each network, data set and device.

    Networks that the paper timed, or has in the table, are its own.
    """
    networks = {line.at.model for line in table.lines}
    cases = []
    for (device, dataset, network), ratios in sorted(time_ratios(records).items()):
        logs = np.log(ratios)
        effects = at_most(logs, math.log1p(NEGLIGIBLE)) if len(ratios) >= ENOUGH_RUNS else None
        numbers = f"{100 * math.expm1(logs.mean()):+.1f}% time in {len(ratios)} pairs of runs"
        numbers += f", {_p(effects)}" if effects else ""
        setting = f"{network}, {dataset}, {device}"
        cases.append(Case(setting, network in networks, numbers, (max(len(ratios), ENOUGH_RUNS),), effects))
    return cases


_CIFAR = ("cifar10", "cifar100")


def _settings(lines: Iterable[TableRow], *places: str) -> dict[str, list[TableRow]]:
    """Lines that agree in these coordinates and deviate alike, by what they agree in."""
    groups: dict[str, list[TableRow]] = defaultdict(list)
    for line in lines:
        at = line.at._asdict()
        words = [f"{at[p]:,} images" if p == "train_size" else at[p] for p in places if at[p] is not None]
        words += ["images drawn anew for each seed"] if at["resample"] else []
        deviations = f" [{'; '.join(line.deviations)}]" if line.deviations else ""
        groups[", ".join(words) + deviations].append(line)
    return groups


def _planned_methods(table: Table) -> dict[str, set[str]]:
    """Data set -> the methods that the table plans for it, of the network with the most."""
    methods: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in table.lines:
        if line.planned and not line.note:
            methods[line.at.dataset, line.at.model].add(line.at.method)
    found: dict[str, set[str]] = defaultdict(set)
    for (dataset, _), names in methods.items():
        found[dataset] = max(found[dataset], names, key=len)
    return found


def _is_planned(lines: list[TableRow]) -> bool:
    return all(line.planned for line in lines)


def _isda(lines: list[TableRow]) -> TableRow | None:
    """ISDA without dropout; where validation chose its strength, that one."""
    plain = [line for line in lines if _is_isda(line) and "dropout" not in line.at.method]
    chosen = [line for line in plain if line.note == CHOSEN]
    return next(iter(chosen or [line for line in plain if line.at.method == "isda"]), None)


def _is_isda(line: TableRow) -> bool:
    return line.at.method.startswith("isda")


def _common(lines: list[TableRow]) -> list[int]:
    return sorted(set.intersection(*(set(line.errors) for line in lines)))


def _errors(lines: list[TableRow], seeds: list[int]) -> list[list[float]]:
    return [[line.errors[seed] for seed in seeds] for line in lines]


def _mean(line: TableRow, seeds: list[int]) -> float:
    return float(np.mean([line.errors[seed] for seed in seeds]))


def _gains(line: TableRow) -> dict[int, float]:
    """Seed -> paired gain in points."""
    return {seed: -d for seed, d in line.paired.differences.items()} if line.paired else {}


def _p(effects: Effects) -> str:
    p = float(effects.p[..., 0])
    return "no p without variance" if math.isnan(p) else f"p {_number(p)}"


def _largest(effects: Effects) -> str:
    known = effects.p[~np.isnan(effects.p)]
    return f"largest Holm's p {_number(float(known.max()))}" if known.size else "no p without variance"


def _number(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def time_ratios(records: pd.DataFrame) -> dict[tuple[str, str, str], list[float]]:
    """(GPU, data set, network) -> time with ISDA over time without, of each pair of runs.

    A CPU may have had other work, too; so may a GPU with other runs on it.
    """
    rates: dict[tuple[str, str, str, str], dict[str, float]] = defaultdict(dict)
    for record in alone_on_their_gpu(records["record"]):
        loss, rate = record["names"]["loss"], record.get("images_per_second")
        if loss in ("isda", BASELINE) and rate:
            gpu = {key: value for key, value in record["device"].items() if key != "uuid"}
            device = json.dumps([gpu, record.get("processes", 1)], sort_keys=True)
            names = record["names"]
            key = (device, names["dataset"], names["model"], all_but(record["identity"], ("loss",)))
            rates[key][loss] = rate
    ratios: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for (device, dataset, network, _), pair in rates.items():
        if len(pair) == 2:
            name = (json.loads(device)[0] or {}).get("name", "unknown device")
            ratios[name, dataset, network].append(pair[BASELINE] / pair["isda"])
    return ratios
