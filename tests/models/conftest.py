import pytest
from hydra.utils import instantiate

from helpers.networks import model_config


@pytest.fixture(scope="session")
def build():
    """Makes the network of a configuration, with some of its arguments changed."""

    def make(name, num_classes=10, **changes):
        return instantiate(model_config(name), num_classes=num_classes, **changes)

    return make
