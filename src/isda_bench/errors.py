"""What a user can mend: shown as one message, without a traceback."""


class UserError(Exception):
    """A mistake or an obstacle that the user can mend (exit code 1)."""


class ConfigError(UserError):
    """Everything that is wrong with a command line or a composed configuration.

    Args:
        problems: one line for each problem, beginning with the dotted key.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n  ".join([f"{count} in the configuration:", *problems]))
