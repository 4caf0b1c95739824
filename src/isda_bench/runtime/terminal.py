"""Makes foreign text safe to print on a terminal."""


def printable(text: str) -> str:
    r"""The text with every character that is not printable, ESC and line breaks among them, as `\x1b`.

    A file's or a run's name then moves no cursor, clears no screen and makes no second line.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """As `printable`, of text whose line breaks are its own."""
    return "\n".join(map(printable, text.split("\n")))
