"""The part of every mini-batch that a generator makes (supplement B: a sixth)."""

from typing import Annotated, Literal

from pydantic import Field

from isda_bench.arguments import checked


class GeneratedShare:
    """The share of generated images in every batch, and their generator.

    Args:
        kind: of the generator.
        fraction: of a batch's images.
        run: the generator's run, its directory or that one's name in `runs_dir`/generators; None: the newest
            of its kind for the data set.
    """

    @checked
    def __init__(
        self,
        kind: Literal["wgan", "cgan", "acgan", "infogan"],
        fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1667,
        run: Annotated[str, Field(min_length=1)] | None = None,
    ) -> None:
        self.kind = kind
        self.fraction = fraction
        self.run = run

    def images(self, batch_size: int) -> int:
        """Generated images in a batch."""
        return round(batch_size * self.fraction)
