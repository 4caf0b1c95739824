"""The checks of `isda-bench gpu-check` as tests: what only a GPU can show."""

import pytest
import torch

from isda_bench.benchmarks.gpu_check.checks import all_checks
from isda_bench.benchmarks.gpu_check.processes import make_check

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", all_checks())
def test_check(name):
    found = make_check(name, all_checks()[name], torch.device("cuda", 0))
    if found["status"] == "SKIP":
        pytest.skip(found["sentence"])
    assert found["status"] == "PASS", found["sentence"]
