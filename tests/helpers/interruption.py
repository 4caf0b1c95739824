"""Processes that die in the middle of a training, played within one."""

from collections.abc import Callable
from itertools import count

from isda_bench.data.loader import Loader


class Killed(BaseException):
    """Stands for the process's death."""


def dying_at_call(function: Callable, number: int) -> Callable:
    """The function, until its call of that number, from 1."""
    numbers = count(1)

    def dying(*arguments, **options):
        if next(numbers) == number:
            raise Killed
        return function(*arguments, **options)

    return dying


def dying_after_batches(number: int) -> Callable:
    """`Loader.__iter__`, until so many batches to train on were given."""
    iterate, given = Loader.__iter__, 0

    def dying(self):
        nonlocal given
        for batch in iterate(self):
            given += self.shuffle
            if given == number:
                raise Killed
            yield batch

    return dying
