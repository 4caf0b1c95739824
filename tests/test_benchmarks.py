"""What the benchmarks write, and the parts of them that a short run can show to work."""

import json

import pytest
import torch

from helpers.tiny import REPOSITORY
from isda_bench.benchmarks import loop_overhead, throughput
from isda_bench.benchmarks.report import measure
from isda_bench.cli.benchmark import measurements
from isda_bench.cli.main import usage
from isda_bench.errors import UserError
from isda_bench.losses import ISDA

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_every_part_is_in_the_help():
    named = usage("benchmark").partition("one part: ")[2].partition("\n\n")[0]
    parts = measurements(CPU) | measurements(CUDA)
    assert all(f"{part}," in named or f"{part} (" in named for part in parts)


def test_a_failed_measurement_is_reported_at_the_end_and_the_others_are_written(tmp_path, capsys):
    def fails(_):
        raise RuntimeError("no memory")

    part = lambda ms: lambda _: [{"ms": ms}]  # noqa: E731
    parts = {"one": ("First", part(1234.5)), "two": ("Second", fails), "three": ("Third", part(1.0))}
    with pytest.raises(UserError, match="two;"):
        measure(parts, CPU, tmp_path)
    assert "RuntimeError: no memory" in capsys.readouterr().err
    (page,) = tmp_path.glob("cpu_*.md")
    assert "## First" in page.read_text() and "| 1,234 |" in page.read_text()
    content = json.loads(page.with_suffix(".json").read_text())
    assert content["rows"] == {"one": [{"ms": 1234.5}], "three": [{"ms": 1.0}]}
    assert content["versions"]["torch"] == torch.__version__


def test_throughput_is_the_second_epoch_of_the_real_loop(monkeypatch):
    monkeypatch.setattr(throughput, "LOOPS", [("resnet8", 1, ISDA, "bf16", "captured")])
    rates = []
    epoch_of = throughput.training_epoch

    def seen(*arguments):
        epoch, state = epoch_of(*arguments)
        return lambda: rates.append(epoch()) or rates[-1], state

    monkeypatch.setattr(throughput, "training_epoch", seen)
    (row,) = throughput.throughput_rows(CPU)
    assert row["images_per_second"] == rates[1]["images_per_second"] and len(rates) == 2
    assert row["run_of_table_1_minutes"] == pytest.approx(160 * 50_000 / row["images_per_second"] / 60)


@pytest.mark.slow
def test_runs_at_once_start_together_and_their_rates_add_up(monkeypatch):
    monkeypatch.setattr(throughput, "TOGETHER", {"cpu": (2,)})
    (row,) = throughput.together_rows(CPU)
    assert row["runs"] == 2 and row["images_per_second"] > 0


def test_an_epoch_over_its_steps(monkeypatch):
    monkeypatch.setattr(loop_overhead, "EPOCHS", {"resnet8": (8, 1, 8, 2, 2)})
    (row,) = loop_overhead.loop_rows(CPU)
    assert row["step_ms"] > 0 and row["epoch_over_steps"] > 0 and row["with_metrics_and_checkpoint"] > 0


def test_the_numbers_on_the_page_are_the_measured_ones():
    files = [
        REPOSITORY / f"results/benchmarks/cpu_amd_epyc_2_threads{name}.json" for name in ("", "_comparisons")
    ]
    own, others = (json.loads(file.read_text())["rows"] for file in files)
    rows, text = own | others, " ".join((REPOSITORY / "docs/speed.md").read_text().split())
    extra = {(row["network"], row["num_classes"]): row["extra_percent"] for row in rows["steps"]}
    small, large = ([extra[name, classes] for classes in (10, 100)] for name in ("resnet32", "wrn28_10"))
    assert f"{small[0]:.1f}% more of a ResNet-32's training step" in text
    assert f"{small[1]:.1f}% for 100, for WRN-28-10 {large[0]:.2f}% and {large[1]:.1f}%" in text
    assert f"{rows['plain'][-1]['speedup']:.1f} times as fast" in text
    loops = [f"{row['epoch_over_steps']:.2f} ± {row['uncertainty']:.2f}" for row in rows["loop"]]
    assert f"its bare steps: {loops[0]} and {loops[1]} of their time" in text
    help_, batch = (row["seconds"] for row in rows["start"][1:])
    assert (
        f"`train.py --help` takes {help_:.1f} s, the first batch of the digits comes {batch:.1f} s after"
        in text
    )
    one, two = (row["images_per_second"] for row in rows["together"])
    assert f"a thread each, train {two / one:.1f} times as many images" in text
