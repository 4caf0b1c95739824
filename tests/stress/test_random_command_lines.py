"""Random command lines: each composes and builds, or ends with one short error that names a key."""

import signal
import sys
from collections import Counter
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from isda_bench.cli import command_line, endings
from isda_bench.config.components import component_problems
from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import CONF
from isda_bench.runtime.terminal import printable

HANGS = {signal.ITIMER_PROF: 300, signal.ITIMER_REAL: 1800}
"""Seconds of the processor, and of the wall. A whole table of 180 runs is checked in 80."""
GROUPS = {
    path.name: sorted(file.stem for file in path.glob("*.yaml"))
    for path in CONF.iterdir()
    if path.is_dir() and path.name != "hydra"
}
SIZES = ["1000000000", "1000000000000000000000", "-1", "0", "1e308", "1e-320", ".inf", "nan", "2147483648"]
ODD = [
    "", "null", "true", "False", "[]", "{}", "[1,2]", "{a:1}", "'quoted'", '"x"', "a b", "${seed}", "${nope}",
    "${oc.env:HOME}", "???", "ü", "模型", "🙂", "\u2028", "a\nb", "\x00", "\udcff", "1,2", "choice(1,2)",
    "range(1,3)", "range(1,1000000000)", "interval(0,1)", "glob(*)", "shuffle(1,2)", "int(1)", "x" * 10_000,
    "[" * 500, "\\", "=", "1=2", "0x10", "1_000", "01", "--cfg", "${seed", "${eval:1}",
]  # fmt: skip
PREFIXES = ["", "", "", "", "", "", "+", "~", "++", "~~", "@", "-"]


def dotted(node, prefix=""):
    """All keys that a configuration has."""
    for name, value in node.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")


LINES = [
    [],
    ["loss=isda"],
    ["dataset=digits", "model=wrn16_8"],
    ["model=pyramidnet110_a48", "loss=large_margin"],
]
KEYS = sorted(
    {key for line in LINES for key in dotted(compose_run(line).config)} | {"hydra.job.name", "hydra"}
)
names = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(sorted(GROUPS)),
    st.sampled_from(KEYS).map(lambda key: key[:-1]),
    st.sampled_from(KEYS).map(lambda key: key + ".deeper"),
    st.sampled_from(
        ["", "modell", "ü.ä", "a.b.c", "model@other", "_target_", "loss._target_", "/model", "hydra/launcher"]
    ),
    st.text(max_size=8),
)
values = st.one_of(
    st.sampled_from(SIZES),
    st.sampled_from(ODD),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=12),
)
chosen = st.sampled_from(sorted(GROUPS)).flatmap(
    lambda group: st.sampled_from(GROUPS[group]).map(lambda name: f"{group}={name}")
)
settings_of = st.builds(
    lambda prefix, name, sign, value: prefix + name + sign + value,
    st.sampled_from(PREFIXES),
    names,
    st.sampled_from(["=", "=", "=", "=", "=", "", ":", "=="]),
    values,
)
sizes = st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(SIZES))
command_lines = st.tuples(
    st.lists(st.one_of(chosen, chosen, settings_of, sizes), min_size=1, max_size=5), st.booleans()
).map(lambda drawn: [*(["-m"] if drawn[1] else []), *drawn[0]])


@contextmanager
def alarm():
    """Raises TimeoutError where a command line hangs: spins, on however busy a machine, or waits."""

    def hangs(number, frame):
        raise TimeoutError("hangs")

    before = {number: signal.signal(number, hangs) for number in (signal.SIGPROF, signal.SIGALRM)}
    for timer, seconds in HANGS.items():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in HANGS:
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def ends(monkeypatch, capsys, line):
    """The exit code and the errors of a command line that trains nothing."""
    monkeypatch.setattr(sys, "argv", ["train.py", *line])
    GlobalHydra.instance().clear()
    code = 0
    with alarm():
        try:
            command_line.main()
        except SystemExit as error:
            code = error.code or 0
    return code, capsys.readouterr()


def one_short_error(line, code, output):
    """Code 2 (1: a job of a grid) with one error of at most ten lines that names what was given."""
    errors = output.err.split("error: ")
    multirun = "-m" in line or "sweep" in output.err or any("experiment=" in word for word in line)
    assert code in ((1, 2) if multirun else (2,)), (line, output.err)
    assert len(errors) == 2 or (multirun and code == 1), (line, output.err)
    for error in errors[1:]:
        assert len(error.splitlines()) <= 10, (line, error)
    texts = [printable(" ".join(text.splitlines())) for text in line]
    words = {word for text in texts for word in text.lstrip("+~").partition("=")[0].split(".")}
    if "method" in words:
        words |= {"loss", "generator", "model"}  # which it sets
    assert any(word in output.err for word in words), (line, output.err)


@pytest.mark.parametrize("examples", [2, pytest.param(2000, marks=pytest.mark.slow)])
def test_random_command_lines(tmp_path, monkeypatch, capsys, seed, tried, examples):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # which the command line sets
    monkeypatch.setattr(endings, "signal", Mock())  # its handlers; the alarm's stay
    outcomes: Counter[str] = Counter()
    right = set()

    def checked(config, position=None):
        if config.cell not in right:  # a table has 60 cells of three seeds
            config.check(component_problems)
            right.add(config.cell)

    monkeypatch.setattr("isda_bench.training.run.run", checked)

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],  # explaining a failure traces, ten times as slow
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines)
    def composes_or_tells(line):
        code, output = ends(monkeypatch, capsys, line)
        assert "Traceback" not in output.err, (line, output.err)
        if code:
            one_short_error(line, code, output)
        outcomes["one error that names the key" if code else "composes and builds"] += 1

    composes_or_tells()
    assert set(tmp_path.iterdir()) <= {tmp_path / "runs"}  # where a grid's description is written
    tried("random command lines", outcomes.elements())
