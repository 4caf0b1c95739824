"""The look of the methods: each has its own, in colour, in grey and for colour-blind eyes."""

from itertools import combinations

import numpy as np
import pytest

from helpers.tiny import REPOSITORY
from isda_bench.config.compose import compose_run
from isda_bench.experiments.coordinates import coordinates
from isda_bench.experiments.published import published_curves
from isda_bench.reporting.figures.method_styles import METHOD_STYLES, in_order, method_styles

# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as the eye without one kind of cones sees it
SEEN = {
    "all cones": np.eye(3),
    "no L": [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    "no M": [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881],
    "no S": [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900],
}
XYZ = [0.4124564, 0.3575761, 0.1804375, 0.2126729, 0.7151522, 0.0721750, 0.0193339, 0.1191920, 0.9503041]


def lab(colour, eye="all cones"):
    """CIE L*a*b* (D65) of an sRGB colour."""
    levels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.reshape(SEEN[eye], (3, 3)) @ linear, 0, 1)
    xyz = np.reshape(XYZ, (3, 3)) @ seen / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_every_method_of_the_paper_has_a_style():
    methods = [path.stem for path in (REPOSITORY / "conf" / "method").glob("*.yaml")]
    assert len(methods) == len(METHOD_STYLES) == 13
    runs = [compose_run(["dataset=digits", "model=resnet8", f"method={method}"]) for method in methods]
    assert {coordinates(run.names, run.config).method for run in runs} == set(METHOD_STYLES)
    assert set(published_curves("cifar10", "resnet110")) <= set(METHOD_STYLES)


def test_no_two_methods_are_alike():
    styles = METHOD_STYLES.values()
    for field in ("colour", "marker"):
        assert len({getattr(style, field) for style in styles}) == 13
    for one, other in combinations(styles, 2):
        if one.line == other.line:
            assert abs(lab(one.colour)[0] - lab(other.colour)[0]) > 9, "alike in grey"
            apart = [np.linalg.norm(lab(one.colour, eye) - lab(other.colour, eye)) for eye in SEEN]
            assert min(apart) > 12, (one, other)


def test_further_methods_have_styles_of_their_own():
    own = [f"mine{i}" for i in range(60)]
    variants = [f"isda (strength={i / 10:g})" for i in range(20)] + ["isda (strength=0.1) + dropout"]
    styles = method_styles([*own, *variants, *METHOD_STYLES])
    assert len(set(styles.values())) == len(styles) == 60 + 21 + 13
    assert styles | METHOD_STYLES == styles
    further = {style[1:] for name, style in styles.items() if name not in METHOD_STYLES}
    assert not further & {style[1:] for style in METHOD_STYLES.values()}, "alike in grey"
    assert {styles[name].colour for name in variants[:-1]} == {METHOD_STYLES["isda"].colour}
    assert styles[variants[-1]].colour == METHOD_STYLES["isda + dropout"].colour
    assert not {styles[name].colour for name in own} & {style.colour for style in METHOD_STYLES.values()}


@pytest.mark.parametrize("name", ["mine", "lq (q=0.1)", "isda + mine"])
def test_a_further_method_looks_the_same_beside_any_others(name):
    alone = method_styles([name])[name]
    assert method_styles(["another", name, *METHOD_STYLES])[name] == alone
    rivals = [f"mine{i}" for i in range(150)] + [f"lq (q={i})" for i in range(60)]
    assert method_styles([*rivals, name], known=[name])[name] == alone


def test_the_order_is_the_papers():
    names = ["mine", "isda", "isda (strength=0.25)", "wgan", "cross_entropy", "isda + dropout"]
    assert in_order(names) == [
        "cross_entropy", "wgan", "isda", "isda (strength=0.25)", "isda + dropout", "mine",
    ]  # fmt: skip
