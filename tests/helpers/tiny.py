"""Where the project is, and its smallest run."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TINY = ["dataset=digits", "model=resnet8", "dataset.train_size=200", "schedule.batch_size=64"]
"""Overrides of a run whose epoch takes a fraction of a second."""
