"""Annotated constructors of a user's own, without `@checked`: wrong values are found before the training."""

import math
from typing import Literal

import pytest
from pydantic import ValidationError
from torch import nn

from isda_bench.arguments import check_annotations, checked
from isda_bench.config.problems import problems_of
from isda_bench.data.digits import Digits


class Own:
    def __init__(
        self,
        num_classes: int,
        tau: float = 1.0,
        kind: Literal["a", "b"] = "a",
        sides: tuple[int, int] = (1, 2),
        width: int = None,  # noqa: RUF013  # as newcomers write it
        copy: bool = False,
        layer: nn.Module | None = None,
        free=3,
        **others: int,
    ) -> None:
        pass


class Checked(Own):
    @checked
    def __init__(self, tau: float) -> None:
        pass


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"tau": 2, "kind": "b", "sides": [3, 4], "width": None, "copy": True}, []),
        ({"tau": math.inf, "free": "x", "layer": 5, "unknown": "x", "others": "x"}, []),
        ({"tau": "2"}, ["loss.tau='2': should be a valid number"]),
        ({"kind": "c"}, ["loss.kind='c': should be 'a' or 'b'"]),
        ({"sides": [1, 2.5]}, ["loss.sides.1=2.5: should be a valid integer"]),
        ({"copy": 1, "width": 2.0}, ["loss.copy=1: should be a valid boolean", "loss.width=2.0: should"]),
        ({"tau": [1]}, ["loss.tau=[1]: should be a valid number"]),
    ],
)
def test_all_wrong_values_are_reported_at_once(arguments, problems):
    found = problems_of(lambda: check_annotations(Own, arguments), "loss.")
    assert len(found) == len(problems)
    for line, problem in zip(found, problems, strict=True):
        assert line.startswith(problem)


def test_a_checked_constructor_and_one_without_annotations_are_left_to_themselves():
    for kind in (Checked, object, nn.Identity):
        check_annotations(kind, {"tau": "2"})
    with pytest.raises(ValidationError):
        Checked("2")


def test_a_wrong_argument_of_a_base_class_has_its_name():
    """Though a subclass passes it on by its place."""
    found = problems_of(lambda: Digits(imbalance=0.5), "dataset.")
    assert found == ["dataset.imbalance=0.5: should be greater than or equal to 1"]


def test_too_many_and_doubled_arguments_stay_errors():
    assert len(problems_of(lambda: Checked(1.0, 2), "loss.")) == 1
    assert len(problems_of(lambda: Checked(1.0, tau=2.0), "loss.")) == 1
