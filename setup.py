"""Puts conf/ and conf_generator/ into the wheel, inside the package; pyproject.toml says everything else."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGURATION = ("conf", "conf_generator")


class BuildWithConfiguration(build_py):
    """An editable install keeps reading the folders of the checkout; a wheel gets copies."""

    def run(self) -> None:
        """Builds the package into an empty folder: an earlier build may hold modules that are gone since."""
        package = Path(self.build_lib) / "isda_bench"
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for folder in CONFIGURATION:
                shutil.copytree(folder, package / folder)


setup(cmdclass={"build_py": BuildWithConfiguration})
