from isda_bench.config.compose import compose_run
from isda_bench.config.run_config import identity
from isda_bench.losses import CrossEntropy
from isda_bench.models.resnet import ResNet
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.step import TrainingModule


def test_every_parameter_of_the_network_is_trained_as_table_1_says():
    """Nesterov, and weight decay on BatchNorm and biases too."""
    module = TrainingModule(ResNet(10, depth=8), CrossEntropy(10, 64))
    schedule = compose_run(["model=wrn28_10"]).settings.schedule
    (group,) = make_optimizer(module, schedule).param_groups
    assert len(group["params"]) == len(list(module.model.parameters()))
    wanted = {
        "lr": 0.1,
        "initial_lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": True,
        "dampening": 0,
    }
    assert {key: group[key] for key in wanted} == wanted


def test_plain_momentum():
    module = TrainingModule(ResNet(10, depth=8), CrossEntropy(10, 64))
    settings = compose_run(["optimizer.nesterov=false"]).settings
    (group,) = make_optimizer(module, settings.schedule, settings.optimizer.nesterov).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.9, False)


def test_the_default_leaves_no_trace_in_the_identity():
    """A section that later keys alone make up is dropped, so that older runs keep their ids."""
    assert "optimizer" not in identity(compose_run([]).config)
    assert "cosine_from" not in identity(compose_run(["schedule=shake_shake"]).config)["schedule"]
    assert identity(compose_run(["optimizer.nesterov=false"]).config)["optimizer"] == {"nesterov": False}
    assert identity(compose_run([]).config)["generator"] == {}  # it always was one without keys
