from functools import cache

import pytest
from hydra.utils import instantiate

from isda_bench.model_table import composed

composed_once = cache(composed)


@pytest.fixture(scope="session")
def build():
    """Makes the network of a configuration, with some of its arguments changed."""

    def make(name, num_classes=10, **changes):
        return instantiate(composed_once(name).model, num_classes=num_classes, **changes)

    return make
