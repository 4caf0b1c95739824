from functools import cache

from omegaconf import OmegaConf

from isda_bench.config.compose import compose_run


@cache
def model_config(name):
    """The `model` section of the configuration with this network."""
    return OmegaConf.create(compose_run([f"model={name}"]).config["model"])
