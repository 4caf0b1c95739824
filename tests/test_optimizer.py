from isda_bench.config.compose import compose_run
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
