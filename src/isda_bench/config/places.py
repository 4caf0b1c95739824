"""The folder of the configuration: in the repository of an editable install, or in an installed package."""

from pathlib import Path

SHARED_GROUPS = ("dataset", "logger", "hydra")
"""Groups of conf/ that the configuration of a generator's training has too."""
PACKAGE = Path(__file__).resolve().parents[1]


def checkout(package: Path = PACKAGE) -> Path | None:
    """The repository that `package` is part of; None for an installed wheel, which carries its own conf/.

    Args:
        package: folder of isda_bench.
    """
    return None if (package / "conf").is_dir() else package.parents[1]


def configuration(package: Path = PACKAGE) -> Path:
    """The folder conf/; conf_generator/ lies beside it.

    Args:
        package: folder of isda_bench.
    """
    return (checkout(package) or package) / "conf"
