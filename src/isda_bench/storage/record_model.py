"""The model of a record: types, ranges, and ids that follow from its configuration.

A record comes from anywhere. Every reader of records can rely on these checks. Older records lack keys that
have a default here.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
)

from isda_bench.config.building import DEEPEST, TARGET, plain_problems
from isda_bench.config.problems import problems_of
from isda_bench.config.run_config import RunConfig
from isda_bench.config.settings import COMPONENTS
from isda_bench.storage.record_consistency import consistency_problems

LONGEST = 255  # characters of an id, which names a directory
Percent = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]


def _is_name(value: str) -> str:
    """Refuses names that lead out of a folder, or are not printable."""
    if not re.fullmatch(r"\w[^/\\]*", value) or len(value) > LONGEST or not value.isprintable():
        raise ValueError("should be a plain name, without / or control characters")
    return value


Name = Annotated[str, AfterValidator(_is_name)]


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Errors(_Stored):
    last_10: Percent
    final: Percent
    best: Percent


class _Git(_Stored):
    commit: str | None = None
    dirty: bool | None = None


class _Device(_Stored):
    type: str
    name: str
    threads: PositiveInt = 1
    uuid: str | None = None


class _UsedGenerator(_Stored):
    run: Annotated[str, Field(pattern=r"^[^/]+$")]  # the last part of a path
    sha256: str


class _Quality(_Stored):
    classifier: str
    images: NonNegativeInt
    frechet_distance: float
    precision: Share
    recall: Share
    recognition: Share | None = None
    worst_recognition: Share | None = None
    variety: NonNegativeFloat | None = None
    worst_variety: NonNegativeFloat | None = None
    classifier_error: Percent | None = None


class RunIdentity(_Stored):
    """The common keys of run.json and record.json."""

    run_id: Name
    cell: Name
    names: dict[str, Name]
    config: dict[str, Any]
    identity: dict[str, Any]
    data_sha256: str | None = None
    started: str | None = None
    git: _Git | None = None
    generator: _UsedGenerator | None = None


class _Finished(RunIdentity):
    epochs: PositiveInt
    train_images: PositiveInt | None = None
    ended: str | None = None
    seconds: NonNegativeFloat
    unreadable_images: NonNegativeInt = 0
    peak_memory_bytes: NonNegativeInt | None = None
    versions: dict[str, str | None] | None = None
    device: _Device | None = None
    processes: PositiveInt = 1
    execution: str | None = None


class RunRecord(_Finished):
    """The record of a classifier's training: the content of its record.json."""

    split: Annotated[str, Field(pattern="^(test|validation)$")]
    error: _Errors
    top5_error: _Errors | None = None
    metrics: dict[str, float] | None = None
    parameters: NonNegativeInt | None = None
    classes: list[str] | None = None
    confusion: list[Annotated[str, Field(pattern=r"^\d{1,15}( \d{1,15})*$")]] | None = None
    images_per_second: NonNegativeFloat | None = None


class GeneratorRecord(_Finished):
    """The record of a generator's training: the content of its record.json."""

    quality: _Quality | None
    parameters: dict[str, NonNegativeInt] | None = None
    collapsed: bool | None = None
    generator_sha256: str | None = None


class _DataSetSection(_Stored):
    train_size: PositiveInt | None = None
    val_size: NonNegativeInt = 0
    split_seed: NonNegativeInt = 0
    root: str | None = None


class _ModelSection(_Stored):
    dropout: Share = 0


class _GeneratorSection(_Stored):
    run: str | None = None
    fraction: Share = 0


SECTIONS: dict[str, type[_Stored]] = {
    "dataset": _DataSetSection,
    "model": _ModelSection,
    "generator": _GeneratorSection,
}
"""The keys of components that tables, plans and lists read; the constructors check the others."""


def record_problems(record: dict[str, Any], kind: type[RunConfig]) -> list[str]:
    """Problems of a record of a run of this kind; each line begins with a key."""
    model = RunRecord if kind is RunConfig else GeneratorRecord
    return _types(record, model) or config_problems(record, kind) or consistency_problems(record)


def run_problems(run: dict[str, Any], kind: type[RunConfig]) -> list[str]:
    """Problems of the content of a run.json."""
    return _types(run, RunIdentity) or config_problems(run, kind)


def config_problems(content: dict[str, Any], kind: type[RunConfig]) -> list[str]:
    """Problems of configuration and names, and ids that do not follow from them."""
    config, names = content.get("config"), content.get("names")
    if not isinstance(config, dict) or not isinstance(names, dict):
        return ["config, names: should be sections"]
    problems = list(_not_plain(config))
    problems += [
        f"names.{group}: not given" for group in kind.titled_by if not isinstance(names.get(group), str)
    ]
    if problems:
        return problems
    run = kind(config, names)
    problems = problems_of(lambda: run.settings, "config.")
    for section, model in SECTIONS.items():
        node = config.get(section) or {}
        problems += problems_of(lambda: model.model_validate(node), f"config.{section}.")  # noqa: B023
    if problems:
        return problems
    expected = run.as_dict()
    ids = [key for key in ("run_id", "cell", "identity") if key in content and content[key] != expected[key]]
    return [
        f"{key}: does not follow from the configuration: should be {_shown(expected[key])}" for key in ids
    ]


def is_set_aside(directory: Path) -> bool:
    """Whether `rerun=true` has set this directory aside: readers skip it."""
    return re.search(r"\.old-\d+$", directory.name) is not None


def _types(content: dict[str, Any], model: type[_Stored]) -> list[str]:
    return problems_of(lambda: model.model_validate(content), "")


def _not_plain(config: dict[str, Any]) -> list[str]:
    """Everything below the sections is plain; a component's section has one `_target_`, a text."""
    problems = []
    for key, value in config.items():
        if key == "logger":  # never built from a file
            continue
        rest = value
        if key in COMPONENTS and isinstance(value, dict):
            rest = {name: item for name, item in value.items() if name != TARGET}
            if TARGET in value:
                problems += list(plain_problems(value[TARGET], f"config.{key}.{TARGET}", DEEPEST))
                if not isinstance(value[TARGET], str):
                    problems.append(f"config.{key}.{TARGET}: should be the path of a class")
        problems += list(plain_problems({key: rest}, "config"))
    return problems


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else "what config says"
