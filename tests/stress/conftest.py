"""The seed of the attacks, and the table of what was tried and what happened."""

import random
from collections import Counter
from typing import NamedTuple

import pytest

ROWS = pytest.StashKey[list]()


class Row(NamedTuple):
    attack: str
    tried: int
    happened: str
    seed: int


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="seed of the attacks of tests/stress")


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture
def seed(request):
    """Printed with every failure, and in the table."""
    value = request.config.getoption("--seed", default=0)
    print(f'replay with: make stress ARGS="--seed={value} -k {request.node.originalname}"')
    return value


@pytest.fixture
def rng(seed, request):
    """Random numbers of this test's own."""
    return random.Random(f"{seed} {request.node.originalname}")


@pytest.fixture
def tried(request, seed):
    """Adds a row to the table: `tried(attack, outcomes)`, an outcome for each attempt."""

    def add(attack, outcomes):
        counts = Counter(outcomes)
        happened = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        request.config.stash[ROWS].append(Row(attack, counts.total(), happened, seed))

    return add


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(ROWS, [])
    if not rows or "not slow" in config.getoption("markexpr"):
        return
    terminalreporter.section("what was tried and what happened")
    width = max(len(row.attack) for row in rows)
    for row in rows:
        terminalreporter.write_line(
            f"{row.attack:<{width}}  {row.tried:>6}  {row.happened}  (seed {row.seed})"
        )
