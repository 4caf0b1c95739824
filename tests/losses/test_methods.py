import pytest

from isda_bench.config.compose import compose_run

METHODS = {
    "basic": "cross_entropy",
    "dropout": "cross_entropy",
    "isda": "isda",
    "isda_dropout": "isda",
    "focal": "focal",
    "lq": "lq",
    "disturb_label": "disturb_label",
    "center": "center",
    "large_margin": "large_margin",
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_chooses_loss_and_dropout(method):
    run, plain = (compose_run(["model=resnet110", *chosen]) for chosen in ([f"method={method}"], []))
    assert run.names["loss"] == METHODS[method]
    assert run.config["loss"] == compose_run([f"loss={METHODS[method]}"]).config["loss"]
    assert run.config["model"]["dropout"] == (0.3 if "dropout" in method else 0.0)
    rest = [key for key in plain.config if key not in ("loss", "model")]
    assert all(run.config[key] == plain.config[key] for key in rest)
