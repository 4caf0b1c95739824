"""Evaluates a finished run again, beside the error in its record.

isda-bench evaluate runs/<run id> [root=data] [device=auto] [allow=<module>]

Nothing that a run holds is executed: classes outside isda_bench are built only if allow= names their module.
"""

from isda_bench.config.options import Options, main
from isda_bench.loading import load_run
from isda_bench.training.evaluate import evaluate_run


class EvaluateOptions(Options):
    """Options of the command, given as key=value."""

    run: str
    root: str | None = None
    device: str = "auto"


def evaluate(options: EvaluateOptions) -> None:
    """Prints loss and error as measured now, and the error in the record."""
    record = load_run(options.run, options.allow, options.root).record
    measured = evaluate_run(options.run, options.root, options.device, options.allow)
    print(
        f"{record['run_id']}: {record['split']} error {measured['error']:.2f}%, loss {measured['loss']:.4f} "
        f"(recorded after the last epoch: {record['error']['final']:.2f}%)"
    )


def command() -> None:
    """Runs it with the options of the command line."""
    main(EvaluateOptions, evaluate, __doc__)
