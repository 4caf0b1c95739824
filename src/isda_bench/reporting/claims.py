"""The paper's claims against the records: each holds, does not hold, or has not enough runs.

A claim is looked at in every setting (network, data set, ...) that the tables have; its verdict comes from
the paper's own settings alone, others are told beside it. It holds if it holds in all of them, and does not
hold if it fails in one.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from isda_bench.experiments.selection import CHOSEN
from isda_bench.reporting.build_tables import BASELINE
from isda_bench.reporting.escape import markdown_text
from isda_bench.reporting.table import Table, TableRow

HOLDS, FAILS, OPEN = "holds", "does not hold", "not enough runs"
ENOUGH_RUNS = 3
"""Of a cell: as many as the conference paper has."""
COMPETITIVE = 0.2
"""Points that a competitive method may lie above ISDA: in the paper's table center loss lies 0.05 and 0.18
above it on CIFAR-10, 0.28 and 0.52 on CIFAR-100."""
NEGLIGIBLE = 0.1
"""Share of a training's time: the journal version prints 5 to 8% of wall time."""


@dataclass(frozen=True)
class Evidence:
    """A claim in one setting.

    Attributes:
        setting: network, data set, deviations.
        verdict: HOLDS, FAILS or OPEN.
        numbers: what decided it.
        planned: whether it is a setting of the paper's.
    """

    setting: str
    verdict: str
    numbers: str
    planned: bool


@dataclass(frozen=True)
class Claim:
    """What the paper says, how it is decided, and what came of it."""

    statement: str
    criterion: str
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> str:
        """From the paper's own settings."""
        verdicts = {evidence.verdict for evidence in self.evidence if evidence.planned}
        return FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else OPEN


def check_claims(tables: dict[str, Table], records: pd.DataFrame) -> list[Claim]:
    """All claims.

    Args:
        tables: at least `comparison`, `journal_table_2` and `small_data`, by name.
        records: as results.read_records gives them; for the cost.
    """
    return [
        lowest_error(tables["comparison"]),
        larger_gain_on_cifar100(tables["journal_table_2"]),
        center_competitive_on_cifar10_only(tables["comparison"]),
        larger_gain_with_fewer_samples(tables["small_data"]),
        negligible_cost(records, {line.at.model for line in tables["journal_table_2"].lines}),
    ]


def lowest_error(table: Table) -> Claim:
    """ISDA, plain or with dropout, has the lowest mean error of all methods, each with `ENOUGH_RUNS` runs."""
    evidence = []
    for setting, lines in _settings(table.lines, "model", "dataset", "train_size").items():
        isda = [line for line in lines if _is_isda(line)]
        others = [line for line in lines if not _is_isda(line)]
        if not isda or not others:
            continue
        if not _enough(*lines):
            ready = sum(_enough(line) for line in lines)
            numbers = f"{ready} of {len(lines)} methods have {ENOUGH_RUNS} runs"
            evidence.append(_evidence(setting, lines, OPEN, numbers))
            continue
        best, next_best = (min(part, key=lambda line: line.mean) for part in (isda, others))
        numbers = (
            f"{best.at.method} {best.mean:.2f}, best of {len(others)} others {next_best.at.method} "
            f"{next_best.mean:.2f}"
        )
        evidence.append(_evidence(setting, lines, _verdict(best.mean < next_best.mean), numbers))
    return Claim(
        "ISDA has a lower error than every other method.",
        f"The lowest mean error of all methods is ISDA's, plain or with dropout; {ENOUGH_RUNS} runs of each.",
        tuple(evidence),
    )


def larger_gain_on_cifar100(table: Table) -> Claim:
    """Of each network the mean paired gain (baseline less ISDA, in points) is larger on CIFAR-100."""
    evidence = []
    for setting, lines in _settings(table.lines, "model").items():
        gains = {
            dataset: _gain(isda)
            for dataset in ("cifar10", "cifar100")
            if (isda := _isda([line for line in lines if line.at.dataset == dataset]))
        }
        small, large = gains.get("cifar10"), gains.get("cifar100")
        if small is None or large is None:
            lacking = [name for name in ("cifar10", "cifar100") if gains.get(name) is None]
            evidence.append(_evidence(setting, lines, OPEN, f"lacking on {' and '.join(lacking)}"))
        else:
            numbers = f"{large:.2f} points on CIFAR-100, {small:.2f} on CIFAR-10"
            evidence.append(_evidence(setting, lines, _verdict(large > small), numbers))
    return Claim(
        "ISDA gains more on CIFAR-100 than on CIFAR-10.",
        f"For each network the mean paired gain in points is larger there; {ENOUGH_RUNS} common seeds each.",
        tuple(evidence),
    )


def center_competitive_on_cifar10_only(table: Table) -> Claim:
    """Center loss's mean error is at most `COMPETITIVE` above ISDA's on CIFAR-10, and more on CIFAR-100."""
    evidence = []
    for setting, lines in _settings(table.lines, "model", "dataset", "train_size").items():
        center = next((line for line in lines if line.at.method == "center"), None)
        isda = _isda(lines)
        if center is None or isda is None:
            continue
        if not _enough(center, isda):
            evidence.append(_evidence(setting, lines, OPEN, f"center {center.n} runs, isda {isda.n}"))
            continue
        distance = center.mean - isda.mean
        expected = (distance <= COMPETITIVE) == (center.at.dataset == "cifar10")
        evidence.append(
            _evidence(setting, lines, _verdict(expected), f"center lies {distance:+.2f} from isda")
        )
    return Claim(
        "Center loss is competitive with ISDA on CIFAR-10 only.",
        f"Its mean error is at most {COMPETITIVE} points above ISDA's on CIFAR-10 and more than that on "
        f"CIFAR-100; {ENOUGH_RUNS} runs of each.",
        tuple(evidence),
    )


def larger_gain_with_fewer_samples(table: Table) -> Claim:
    """Spearman's rank correlation of gain and training size is negative, the smallest size gains most."""
    evidence = []
    for setting, lines in _settings(table.lines, "model", "dataset").items():
        isda = [line for line in lines if line.at.method == "isda" and line.at.train_size]
        gains = {line.at.train_size: gain for line in isda if (gain := _gain(line)) is not None}
        told = ", ".join(f"{size:,}: {gain:.2f}" for size, gain in sorted(gains.items()) if size)
        if not gains or len(gains) < (len(isda) if all(line.planned for line in isda) else 3):
            evidence.append(_evidence(setting, lines, OPEN, f"gains known: {told or 'none'}"))
            continue
        sizes = sorted(size for size in gains if size)
        holds = gains[sizes[0]] > gains[sizes[-1]]  # else perhaps all alike: no correlation
        holds = holds and spearmanr(sizes, [gains[size] for size in sizes]).statistic < 0
        evidence.append(_evidence(setting, lines, _verdict(holds), f"gain at {told}"))
    return Claim(
        "ISDA gains more with fewer training samples.",
        "Spearman's rank correlation of mean paired gain and training size is negative and the smallest size "
        "gains more than the largest; all sizes (of deviating runs at least 3), "
        f"{ENOUGH_RUNS} common seeds each.",
        tuple(evidence),
    )


def negligible_cost(records: pd.DataFrame, networks: set[str]) -> Claim:
    """The median over pairs of runs (all but the loss alike) of the time ISDA adds is below `NEGLIGIBLE`.

    Args:
        records: as results.read_records gives them.
        networks: those that the paper timed, or has in its tables.
    """
    evidence = []
    for (device, dataset, network), ratios in sorted(_time_ratios(records).items()):
        extra = statistics.median(ratios) - 1
        enough = len(ratios) >= ENOUGH_RUNS
        verdict = _verdict(extra < NEGLIGIBLE) if enough else OPEN
        numbers = f"{100 * extra:+.1f}% time in {len(ratios)} pairs of runs"
        setting = f"{network}, {dataset}, {device}"
        evidence.append(Evidence(setting, verdict, numbers, planned=network in networks))
    return Claim(
        "ISDA's additional cost is negligible.",
        "The median over pairs of runs that differ in the loss alone, on the same GPU, of the time that "
        f"ISDA adds is below {100 * NEGLIGIBLE:.0f}%; {ENOUGH_RUNS} pairs.",
        tuple(evidence),
    )


def markdown_claims(claims: Iterable[Claim]) -> str:
    """The claims with their evidence, in Markdown; settings of which nothing has run are counted only."""
    parts = []
    for claim in claims:
        known = [e for e in claim.evidence if e.verdict != OPEN]
        parts.append(f"- **{claim.statement}** {claim.verdict.capitalize()}.")
        parts.append(f"  Criterion: {claim.criterion}")
        parts += [f"  - {_told(e)}" for e in known]
        lacking = [e for e in claim.evidence if e.verdict == OPEN]
        parts += [f"  - {_told(e)}" for e in lacking if len(lacking) <= 4]
        if len(lacking) > 4:
            parts.append(f"  - not enough runs in {len(lacking)} more settings")
    return "\n".join(parts) + "\n"


def _settings(lines: Iterable[TableRow], *places: str) -> dict[str, list[TableRow]]:
    """Lines that agree in these coordinates and deviate alike, by what they agree in."""
    groups: dict[str, list[TableRow]] = defaultdict(list)
    for line in lines:
        at = line.at._asdict()
        words = [f"{at[p]:,} images" if p == "train_size" else at[p] for p in places if at[p] is not None]
        deviations = f" [{line.footnote}]" if line.deviations else ""
        groups[", ".join(words) + deviations].append(line)
    return groups


def _isda(lines: list[TableRow]) -> TableRow | None:
    """ISDA without dropout; where validation chose its strength, that one."""
    plain = [line for line in lines if _is_isda(line) and "dropout" not in line.at.method]
    chosen = [line for line in plain if line.note == CHOSEN]
    return next(iter(chosen or [line for line in plain if line.at.method == "isda"]), None)


def _is_isda(line: TableRow) -> bool:
    return line.at.method.startswith("isda")


def _enough(*lines: TableRow) -> bool:
    return all(line.n >= ENOUGH_RUNS for line in lines)


def _gain(line: TableRow) -> float | None:
    """Mean paired gain in points; None below `ENOUGH_RUNS` common seeds."""
    if line.paired is None or len(line.paired.differences) < ENOUGH_RUNS:
        return None
    return -line.paired.mean


def _verdict(true: bool) -> str:
    return HOLDS if true else FAILS


def _evidence(setting: str, lines: list[TableRow], verdict: str, numbers: str) -> Evidence:
    return Evidence(setting, verdict, numbers, planned=all(line.planned for line in lines))


def _time_ratios(records: pd.DataFrame) -> dict[tuple[str, str, str], list[float]]:
    """(device, data set, network) -> time with ISDA over time without, of each pair of runs."""
    rates: dict[tuple[str, str, str, str], dict[str, float]] = defaultdict(dict)
    for record in records["record"]:
        loss, rate = record["names"]["loss"], record.get("images_per_second")
        on_gpu = (record.get("device") or {}).get("type") == "cuda"  # a CPU may have had other work too
        if loss in ("isda", BASELINE) and rate and on_gpu:
            device = json.dumps([record.get("device"), record.get("processes", 1)], sort_keys=True)
            names = record["names"]
            key = (device, names["dataset"], names["model"], _all_but_loss(record["identity"]))
            rates[key][loss] = rate
    ratios: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for (device, dataset, network, _), pair in rates.items():
        if len(pair) == 2:
            name = (json.loads(device)[0] or {}).get("name", "unknown device")
            ratios[name, dataset, network].append(pair[BASELINE] / pair["isda"])
    return ratios


def _all_but_loss(settings: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in settings.items() if key != "loss"}, sort_keys=True)


def _told(evidence: Evidence) -> str:
    outside = "" if evidence.planned else " (not the paper's setting)"
    return markdown_text(f"{evidence.setting}{outside}: {evidence.verdict}; {evidence.numbers}.")
