"""What a run shows while it trains: on a terminal of some width, and where there is none."""

import io
import multiprocessing
import re
import sys

import pytest
from rich.console import Console

from isda_bench.monitoring.grid_position import GridPosition
from isda_bench.monitoring.progress import Display

NAME = "cifar100-shake_shake_26_2x112d-isda-s0-0a1b2c3d"
ROW = {"train_loss": 1.2345, "train_error": 40.0, "images_per_second": 12345.6, "seconds": 50.0}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def train(display, clock, steps, seconds=1.0, images=128):
    for _ in range(steps):
        clock.now += seconds
        display.step(images)


def lines(display, width):
    console = Console(
        width=width, file=io.StringIO(), force_terminal=True, color_system="standard", _environ={}
    )
    console.print(display)
    shown = re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue()).splitlines()
    assert all(len(line) <= width for line in shown)
    return shown


def half_trained(clock, split="test", position=None):
    display = Display(NAME, 160, 100, position, clock)
    train(display, clock, 100)
    display.epoch({"epoch": 1, f"{split}_error": 34.567, f"{split}_top5_error": 9.0, **ROW})
    train(display, clock, 50)
    return display


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_two_lines_hold_all_that_is_wanted(clock, width, split):
    name, line = lines(half_trained(clock, split), width)
    assert name.rstrip() == NAME
    bar, *rest = re.split(" {2,}", line.strip())
    assert len(bar) >= 8 and set(bar) <= set("━╸╺ ")
    left = 160 * 100 - 150
    clock_time = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
    assert rest == ["epoch 2/160", f"{split} error 34.57%", "128 images/s", clock_time]


def test_a_narrow_terminal_keeps_bar_epoch_error_and_time(clock):
    name, line = lines(half_trained(clock), 60)
    assert name.rstrip() == NAME
    assert "━" in line and "epoch 2/160" in line and "34.57%" in line and "4:24:10 left" in line
    assert "images/s" not in line
    for width in (40, 30, 20, 10):
        assert len(lines(half_trained(clock), width)) == 2


def test_a_run_of_a_grid_names_its_place_and_the_grids_time(clock):
    position = GridPosition(3, 6, [600.0, 1000.0])
    for width in (80, 100):
        name, _ = lines(half_trained(clock, position=position), width)
        run_left, run = 15850, 16000
        seconds = run_left + 3 * (600 + 1000 + run) // 3
        assert name.startswith(f"[3/6] {NAME}  ")
        assert name.endswith(f"grid {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left")
    name, _ = lines(half_trained(clock, position=GridPosition(3, 6)), 80)
    assert name.rstrip() == f"[3/6] {NAME}", "runs at once have no sum of times"


def test_a_trained_run_adds_its_time_to_the_grids(clock):
    durations = [10.0]
    with Display("a", 2, 10, GridPosition(2, 3, durations), clock) as display:
        train(display, clock, 10)
        display.epoch({"epoch": 1, **ROW})
        train(display, clock, 10)
        display.epoch({"epoch": 2, **ROW})
    assert durations == [10.0, 20.0]
    with Display("b", 2, 10, GridPosition(3, 3, durations), clock) as display:
        display.begin(2)  # trained by an earlier process
    with pytest.raises(ValueError), Display("c", 2, 10, GridPosition(3, 3, durations), clock) as display:
        train(display, clock, 5)
        raise ValueError
    assert durations == [10.0, 20.0]


def test_an_evaluation_is_seen_from_within(clock):
    display = half_trained(clock)
    train(display, clock, 50)
    seen = []
    for _ in display.evaluation(range(4)):
        seen.append(lines(display, 80)[1])
    assert [re.search(r"epoch 2/160, evaluating (\d+)%", line)[1] for line in seen] == ["0", "25", "50", "75"]
    assert "epoch 3/160 " in lines(display, 80)[1]


def printed(capsys):
    return capsys.readouterr().err.splitlines()


def test_without_a_terminal_a_line_every_30_seconds(clock, capsys):
    display = Display("run", 3, 100, clock=clock)
    assert not display.terminal
    with display:
        train(display, clock, 100)
        within = printed(capsys)
        assert [re.search(r"step (\d+)/100", line)[1] for line in within] == ["30", "60", "90"]
        assert within[0].startswith("run  epoch 1/3, step 30/100  ") and "128 images/s" in within[0]
        for _ in display.evaluation(range(5)):
            clock.now += 20.0
        assert [re.search(r"evaluating (\d+)%", line)[1] for line in printed(capsys)] == ["0", "40", "80"]
        display.epoch({"epoch": 1, "test_error": 5.0, **ROW})
        assert printed(capsys) == [], "the line before has just been printed"
        train(display, clock, 30)
        (line,) = printed(capsys)
        assert "test error 5.00%" in line and "loss 1.2345" in line
        train(display, clock, 300, seconds=0.01)
        assert printed(capsys) == [], "steps faster than the lines print none"
        display.epoch({"epoch": 3, "test_error": 4.0, **ROW})
        (line,) = printed(capsys)
        assert "epoch 3/3" in line and "test error 4.00%" in line, "the last epoch always has its line"


def test_a_resumed_run_counts_its_own_time_alone(clock):
    display = Display("run", 4, 10, clock=clock)
    clock.now += 500.0  # data are loaded
    display.begin(2, 5)
    train(display, clock, 5, seconds=2.0)
    assert "0:00:20 left" in lines(display, 80)[1]


def test_the_error_of_an_epoch_that_was_not_evaluated_is_the_one_before(clock):
    display = half_trained(clock)
    display.epoch({"epoch": 2, **ROW})
    assert "test error 34.57%" in lines(display, 80)[1]


def test_brackets_of_a_name_are_no_markup(clock):
    display = Display("[bold]x[/bold]", 2, 2, GridPosition(1, 2), clock)
    assert lines(display, 80)[0].rstrip() == "[1/2] [bold]x[/bold]"


@pytest.mark.parametrize(
    ("process", "term", "terminal"),
    [("MainProcess", "xterm", True), ("MainProcess", "dumb", False), ("LokyProcess-1", "xterm", False)],
)
def test_two_lines_are_for_a_terminal_of_its_own(monkeypatch, process, term, terminal):
    monkeypatch.setattr(multiprocessing.current_process(), "name", process)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    assert Display("run", 1, 1).terminal == terminal
