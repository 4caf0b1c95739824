"""Whether networks load pretrained weights when they are built."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[bool] = ContextVar("wanted", default=True)


def pretrained_weights_wanted() -> bool:
    """False within `without_pretrained_weights`."""
    return _wanted.get()


@contextmanager
def without_pretrained_weights() -> Iterator[None]:
    """Within it networks are built without pretrained weights, which are not needed there."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)
