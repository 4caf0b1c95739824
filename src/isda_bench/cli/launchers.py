"""Whether a launcher of grids can be used on this machine."""

from importlib.util import find_spec
from shutil import which

from omegaconf import DictConfig


def launcher_problems(name: str, launcher: DictConfig) -> list[str]:
    """What a launcher lacks, or is given wrong.

    Args:
        name: its choice in conf/hydra/launcher.
        launcher: its configuration.
    """
    problems = []
    plugin = launcher._target_.split(".")[1]
    if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
        problems.append(
            f"hydra/launcher={name}: not installed; pip install {plugin.replace('_', '-')} brings it"
        )
    elif name == "submitit_slurm" and which("srun") is None:
        problems.append(f"hydra/launcher={name}: no Slurm on this machine (no srun)")
    if launcher.get("n_jobs") == 0:
        problems.append("hydra.launcher.n_jobs=0: should be above 0, or -1 for all processors")
    return problems
