"""Published values of a table: the paper's, or a user's own in `<experiment>.published.yaml`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from isda_bench.config.experiment_files import content_of, published_file
from isda_bench.config.problems import did_you_mean, problems_of
from isda_bench.config.settings import Section
from isda_bench.errors import ConfigError
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.methods import Methods
from isda_bench.experiments.planned import PlannedCell
from isda_bench.experiments.published import Published, published, source


def _mean_and_std(value: Any) -> list[float | None]:
    """[mean, standard deviation] of what a file has for a cell; null where it has none."""
    parts = [*(value if isinstance(value, list) else [value]), None]
    known = [part is None or (isinstance(part, int | float) and not isinstance(part, bool)) for part in parts]
    spread_alone = parts[0] is None and any(part is not None for part in parts)
    if not all(known) or not 2 <= len(parts) <= 3 or spread_alone:
        raise PydanticCustomError("value", "should be [mean, standard deviation], a mean, or null")
    return parts[:2]


Percent = Annotated[float, Field(ge=0, le=100)]
Value = Annotated[list[Percent | None], BeforeValidator(_mean_and_std)]


class PublishedFile(Section):
    """The content of the file.

    Attributes:
        source: where the values are printed.
        columns: words of each column, separated by '/': data set, network, augmentation, images, method.
        rows: words of a row -> a value for each column: [mean, standard deviation], a mean alone, or null.
        decimals: as printed.
        checked: whether they were read from the published table; where not, they are shown with a mark.
    """

    source: Annotated[str, Field(pattern=r"\S")]
    columns: Annotated[list[str], Field(min_length=1)]
    rows: dict[str, list[Value]]
    decimals: Annotated[int, Field(ge=0, le=4)] = 2
    checked: bool = True


class PublishedValues:
    """The published values for a table: those of a file beside its experiment, else the paper's.

    A value of the file belongs to the planned cell that has all words of its row and column.

    Args:
        experiment: the table's.
        plan: its cells.
        methods: their names and labels.

    Raises:
        ConfigError: the file cannot be read, a key or a value is wrong, a value fits no cell or several, or a
            cell has two values.
    """

    def __init__(self, experiment: str, plan: Iterable[PlannedCell], methods: Methods) -> None:
        self.table = experiment
        self.source = source(experiment)
        self.own: dict[Coordinates, Published] | None = None
        path = published_file(experiment)
        if path is not None:
            content = _read(path)
            self.source = content.source
            self.own = _values(path, content, plan, methods)

    def of(self, at: Coordinates) -> Published | None:
        """The value of a cell, if it has one."""
        return published(self.table, at) if self.own is None else self.own.get(at)


def _read(path: Path) -> PublishedFile:
    content: Any = content_of(path)
    problems = problems_of(lambda: PublishedFile.model_validate(content), "")
    if not problems:
        found = PublishedFile.model_validate(content)
        problems = [
            f"rows.{row}: has {len(values)} values, not {len(found.columns)}, one for each column"
            for row, values in found.rows.items()
            if len(values) != len(found.columns)
        ]
    if problems:
        raise ConfigError([f"{path.name}: {problem}" for problem in problems])
    return found


def _values(
    path: Path, content: PublishedFile, plan: Iterable[PlannedCell], methods: Methods
) -> dict[Coordinates, Published]:
    words_of = {cell.at: _words(cell, methods) for cell in plan}
    known_words = sorted(set().union(*words_of.values()))
    found: dict[Coordinates, Published] = {}
    problems = []
    for words, value in _cells(content):
        fitting = [at for at, known in words_of.items() if words <= known]
        unknown = sorted(words.difference(known_words))
        if len(fitting) == 1 and fitting[0] in found:
            problems.append(f"{'/'.join(sorted(words))}: a second value of this cell")
        elif len(fitting) == 1:
            found[fitting[0]] = value
        elif unknown:
            problems += [
                f"{word}: nothing in the table has this name{did_you_mean(word, known_words)}"
                for word in unknown
            ]
        else:
            wanted = "no cell has them all" if not fitting else f"{len(fitting)} cells have them; name more"
            problems.append(f"{'/'.join(sorted(words))}: {wanted}")
    if problems:
        raise ConfigError([f"{path.name}: {problem}" for problem in dict.fromkeys(problems)])
    return found


def _cells(content: PublishedFile) -> Iterator[tuple[set[str], Published]]:
    """The words and the value of each cell that has one."""
    for row, values in content.rows.items():
        for column, value in zip(content.columns, values, strict=True):
            mean, std = value
            if mean is not None:
                words = {word.strip() for word in (*row.split("/"), *column.split("/"))} - {""}
                yield words, Published(mean, std, content.checked, content.decimals)


def _words(cell: PlannedCell, methods: Methods) -> set[str]:
    """All names of a cell: its own, their labels, and that of the file in conf/method/ for its method."""
    at, section = cell.at, methods.section
    size = "all" if at.train_size is None else str(at.train_size)
    names = {at.dataset, at.model, at.augment, size, at.method}
    labels = {section.datasets.get(at.dataset), section.networks.get(at.model), methods.label(at)}
    return {word for word in {*names, *labels, cell.config.names.get("method")} if word}
