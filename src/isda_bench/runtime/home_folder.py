"""The home folder in a user's paths."""

from pathlib import Path

from isda_bench.errors import UserError


def expand_home(path: str | Path) -> Path:
    """The path with `~` replaced by the home folder.

    Raises:
        UserError: the path begins with `~name` and there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: {error}") from error
