"""Writes a model card from a run's record: data, network, training, errors, limits.

isda-bench card runs/<run id>                       writes MODEL_CARD.md
isda-bench card results/records/<run id> out=cards/mine.md
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from isda_bench.config.options import Options, main
from isda_bench.reporting.model_card import model_card
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.terminal import printable
from isda_bench.storage.record_files import read_record, record_file


class CardOptions(Options):
    """Options of the command, given as key=value."""

    run: str
    out: Annotated[str, Field(min_length=1)] = "MODEL_CARD.md"


def card(options: CardOptions) -> None:
    """Writes the card."""
    text = model_card(read_record(record_file(options.run)))
    out = Path(options.out).expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    print(printable(f"written: {out}"))


def command() -> None:
    """Runs it with the options of the command line."""
    main(CardOptions, card, __doc__)
