"""Runs that shared their GPU with others give no rates and no times."""

import pandas as pd

from isda_bench.reporting.cost import Rates
from isda_bench.reporting.evidence import time_ratios
from isda_bench.reporting.gpu_sharing import alone_on_their_gpu


def record(name, start, end, gpu="GPU", loss="isda", rate=100.0, **device):
    """A run on a GPU between two seconds of an hour."""
    return {
        "run_id": name,
        "names": {"model": "resnet32", "dataset": "cifar10", "loss": loss},
        "config": {},
        "identity": {"loss": loss, "seed": name[-1]},
        "images_per_second": rate,
        "seconds": float(end - start),
        "ended": f"2026-11-26T10:{end // 60:02d}:{end % 60:02d}+00:00",
        "device": {"type": "cuda", "name": gpu, "threads": 1, **device},
    }


def alone(*records):
    return {found["run_id"] for found in alone_on_their_gpu(records)}


def test_runs_that_overlap_shared_the_gpu():
    one, two, third = record("one", 0, 100), record("two", 50, 150), record("third", 200, 300)
    assert alone(one, two, third) == {"third"}
    around = record("around", 0, 300)
    assert alone(around, record("in it", 100, 120), record("in it, too", 200, 220)) == set()


def test_runs_one_after_another_were_alone():
    assert alone(record("one", 0, 100), record("two", 100, 200), record("three", 201, 300)) == {
        "one",
        "two",
        "three",
    }


def test_gpus_are_told_apart():
    names = record("one", 0, 100), record("two", 0, 100, gpu="another GPU")
    uuids = record("three", 0, 100, uuid="a"), record("four", 0, 9, uuid="b"), record("five", 0, 9, uuid="b")
    assert alone(*names) == {"one", "two"}
    assert alone(*uuids) == {"three"}


def test_a_run_without_a_uuid_or_on_several_gpus_may_have_used_any():
    known, unknown = record("known", 0, 100, uuid="a"), record("unknown", 50, 150)
    several = record("several", 0, 100, uuid="b") | {"processes": 2}
    assert alone(known, unknown) == set()
    assert alone(known, several) == set()


def test_a_pause_belongs_to_the_run():
    resumed = record("resumed", 200, 300) | {"started": "2026-11-26T10:00:00+00:00"}
    assert alone(resumed, record("in the first part", 10, 90)) == set()


def test_a_copy_of_a_run_is_no_other_run():
    run = record("one", 0, 100)
    assert len(alone_on_their_gpu([run, dict(run)])) == 1


def test_times_without_a_zone_are_utc():
    local = record("local", 0, 100) | {"ended": "2026-11-26T10:01:40"}
    assert alone(local, record("one", 50, 150)) == set()


def test_a_record_without_its_end_counts_and_one_of_a_cpu_does_not():
    old, odd = record("old", 0, 100) | {"ended": None}, record("odd", 0, 100) | {"ended": "yesterday"}
    on_cpu = record("cpu", 0, 100, type="cpu")
    assert alone(old, odd, on_cpu, {"run_id": "older"}) == {"old", "odd"}


def test_shared_runs_give_no_rate_and_no_ratio():
    shared = [record("a0", 0, 100, rate=10.0), record("b0", 50, 150, rate=20.0, loss="cross_entropy")]
    own = [record("c1", 200, 300), record("d1", 300, 400, rate=110.0, loss="cross_entropy")]
    rates = Rates(shared + own, [])
    assert rates.of("resnet32", "cifar10", "fp32", 1).images_per_second == 105.0
    ratios = time_ratios(pd.DataFrame({"record": shared + own}))
    assert [round(value, 3) for values in ratios.values() for value in values] == [1.1]
