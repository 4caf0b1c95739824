"""The notes under a table: protocol, sources, how methods are compared, what the runs could find."""

import math
from collections import defaultdict

from isda_bench.data.assumptions import SCALE_ASSUMPTION
from isda_bench.experiments.coordinates import images_text
from isda_bench.experiments.published import contradictions
from isda_bench.reporting.columns import (
    CONTRADICTED,
    UNCHECKED,
    baselines,
    difference_header,
)
from isda_bench.reporting.inference import LEVEL, POWER, detectable
from isda_bench.reporting.table import Paired, Table, TableRow
from isda_bench.storage.records import PROTOCOLS


def notes_of(table: Table) -> list[str]:
    """The notes under the table."""
    what = PROTOCOLS[table.protocol]
    notes = [f"Error: {what}; mean ± standard deviation (n - 1) over the runs (their number)."]
    notes += _measures(table) + source_notes(table) + assumption_notes(table) + _comparisons(table)
    notes += table.notes
    return notes + [f"[{mark}] {text}." for mark, text in table.footnotes.items()]


def _measures(table: Table) -> list[str]:
    names = {name for line in table.lines for name in line.measures}
    texts = {
        "loss": f"{table.split} loss is the mean negative log-likelihood (cross-entropy of the plain logits)",
        "ece": "ECE is the expected calibration error (15 equal bins of the top-1 confidence)",
    }
    parts = [text for name, text in texts.items() if name in names]
    if not parts:
        return []
    text = "; ".join(parts)
    return [f"{text[0].upper()}{text[1:]}; lower is better, averaged over the same epochs as the error."]


def assumption_notes(table: Table) -> list[str]:
    """Assumptions where a paper is silent."""
    assumed = any("randaugment" in f"{line.at.augment} {line.at.method}" for line in table.lines)
    return [f"{SCALE_ASSUMPTION}."] if assumed else []


def source_notes(table: Table) -> list[str]:
    """The publication of the published numbers, and the meaning of their marks."""
    notes = []
    values = [line.published for line in table.lines if line.published]
    beside = [line.also_published for line in table.lines if line.also_published]
    if values:
        notes.append(f"Published: {table.source}.")
    if beside:
        notes.append(f"Also published: {table.also_source}.")
    if any(not value.checked for value in values + beside):
        notes.append(f"{UNCHECKED} transcribed, not yet checked against the paper.")
    if any(value.contradicted for value in values + beside):
        cells = contradictions(table.name) or contradictions("comparison")
        notes.append(f"{CONTRADICTED} contradicted by the paper itself: {cells}.")
    return notes


def _comparisons(table: Table) -> list[str]:
    pairs = [line.paired for line in table.lines if line.paired]
    if not pairs:
        return []
    headers = [difference_header(name) for name in baselines(table)]
    names = ", ".join([headers[0][0].upper() + headers[0][1:], *headers[1:]])
    notes = [
        f"{names}: error of the method less that of this baseline, over runs with the same seed that differ "
        "in the method alone, mean ± standard deviation (their number)."
    ]
    if any(pair.p_value is not None for pair in pairs):
        notes.append(
            "95% interval and p: paired t-test, two-sided, not adjusted for the number of comparisons. "
            "Holm's p: adjusted over all methods that have a p against one baseline, within a network, data "
            "set, size and split. No p below two common seeds or without variance."
        )
        notes += _powers(table)
    return notes


def _powers(table: Table) -> list[str]:
    """For each family and number of seeds: the smallest difference that these runs could find."""
    families: dict[tuple[str, int], list[TableRow]] = defaultdict(list)
    for line in table.lines:
        if line.paired is not None and line.paired.p_value is not None:
            families[line.paired.family, line.paired.n].append(line)
    return [_power(table, lines) for lines in families.values()]


def _power(table: Table, lines: list[TableRow]) -> str:
    pairs = [line.paired for line in lines if line.paired]
    at, pair, mark = lines[0].at, pairs[0], table.mark(lines[0])
    std = pooled_std(pairs)
    place = [table.label(at.model), table.label(at.dataset)]
    place += [at.augment] if at.augment not in ("standard", "") else []
    place += [f"{images_text(at.train_size)} images"] if at.train_size else []
    first_step = detectable(std, pair.n, LEVEL / max(pair.tests, 1))
    first = f", {first_step:.2f} at Holm's first step of {pair.tests}"
    return (
        f"Smallest true difference found in {100 * POWER:.0f}% of such experiments, {', '.join(place)}"
        f"{f' [{mark}]' if mark else ''}, against {pair.baseline}: {detectable(std, pair.n):.2f} points with "
        f"n = {pair.n} and a standard deviation of the differences of {std:.2f}"
        f"{first if pair.tests > 1 else ''}."
    )


def pooled_std(pairs: list[Paired]) -> float:
    """Standard deviation of the differences, pooled over comparisons of the same n."""
    return math.sqrt(sum(pair.std**2 for pair in pairs) / len(pairs))
