"""Errors that a user can correct, shown as one message without a traceback."""

SHOWN = 8  # problems in one message: with its head and "... and n more" they are ten lines
WIDTH = 1000  # characters of a problem


class UserError(Exception):
    """A mistake or an obstacle that the user can correct (exit code 1)."""


class NonFiniteLoss(UserError):
    """The loss became NaN or infinite."""


class RankLost(UserError):
    """Another of the processes that train together has ended or does not answer."""


class DeviceLost(UserError):
    """A GPU's context is lost: every further run of this process would fail too."""


class ConfigError(UserError):
    """All problems of a command line or a composed configuration.

    Args:
        problems: one line for each problem, beginning with the dotted key. The message shows the first few,
            shortened where they are endless.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        shown = [_one_line(problem) for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            shown.append(f"... and {len(problems) - SHOWN} more")
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n  ".join([f"{count} in the configuration:", *shown]))


def _one_line(problem: str) -> str:
    line = " ".join(problem.splitlines())
    line = line.encode(errors="backslashreplace").decode()  # bytes of no text: not every stream takes them
    return line if len(line) <= WIDTH else f"{line[:WIDTH]} ..."
