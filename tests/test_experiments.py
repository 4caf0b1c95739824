"""The experiments' files: what belongs together, and that every part of every cell can be built."""

import json

import pytest
import torch
from hydra.utils import instantiate

from isda_bench.config.compose import compose_run
from isda_bench.config.experiment_files import experiment_names, parts, table_names, table_of, title
from isda_bench.config.grids import grid
from isda_bench.config.run_config import settings_of
from isda_bench.data.base import DataSet
from isda_bench.errors import ConfigError
from isda_bench.experiments.planned import planned
from isda_bench.losses.base import Loss
from isda_bench.models.base import Classifier

TABLES = [
    "ablation",
    "baseline_selection",
    "comparison",
    "conference_table_1",
    "conference_table_2",
    "demo",
    "evidence_classes",
    "evidence_generators",
    "evidence_large_margin",
    "evidence_methods",
    "evidence_resnet20",
    "evidence_selection",
    "evidence_sizes",
    "evidence_updates",
    "figure_3",
    "imagenet",
    "imagenet_journal",
    "journal_table_2",
    "journal_table_4",
    "mixing",
    "small_data",
    "strength_selection",
]


def test_parts_belong_to_their_table():
    assert table_names() == TABLES
    assert parts("ablation") == ["ablation", "ablation_basic", "ablation_constant"]
    assert table_of("comparison_no_dropout") == "comparison"
    assert table_of("imagenet_journal_basic") == "imagenet_journal"  # a table of its own
    assert parts("imagenet") == ["imagenet", "imagenet_basic", "imagenet_densenet", "imagenet_resnet101"]
    assert title("demo").startswith("Demo: ISDA on 200 digit images")
    with pytest.raises(ConfigError, match="did you mean journal_table_2"):
        table_of("jurnal_table_2")


SIZES = {
    "ablation": (12, 3),
    "baseline_selection": (60 + 36, 1),
    "comparison": (36 + 4 + 4 + 2, 3),
    "conference_table_1": (32, 3),
    "conference_table_2": (16 + 4 + 2, 3),
    "demo": (2, 3),
    "evidence_classes": (2, 10),
    "evidence_generators": (5, 3),
    "evidence_large_margin": (2, 3),
    "evidence_methods": (9, 5),
    "evidence_resnet20": (2, 5),
    "evidence_selection": (40, 3),
    "evidence_sizes": (8, 12),
    "evidence_updates": (2, 12),
    "figure_3": (16, 3),
    "imagenet": (14, 1),
    "imagenet_journal": (14, 1),
    "journal_table_2": (36, 5),
    "journal_table_4": (36, 5),
    "mixing": (16, 3),
    "small_data": (12, 3),
    "strength_selection": (20, 3),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_experiment_composes(table):
    cells = cells_of(table)
    assert (len({cell.config.cell for cell in cells}), len(cells[0].seeds)) == SIZES[table]
    assert len({cell.at for cell in cells}) == len(cells)  # the table's words tell them apart


def test_every_distinct_part_builds():
    cells = [cell.config for name in experiment_names() for cell in planned(name)]
    built = {}

    def build(node, **given):
        key = json.dumps([node, given], sort_keys=True)
        if key not in built:
            with torch.device("meta"):
                built[key] = instantiate(node, **given)
        return built[key]

    for config in cells:
        settings = settings_of(config.config)
        dataset = build(settings.dataset)
        classes = dataset.num_classes
        model = build(settings.model, num_classes=classes, in_channels=dataset.in_channels)
        loss = build(settings.loss, num_classes=classes, feature_dim=model.feature_dim)
        assert isinstance(dataset, DataSet) and isinstance(model, Classifier) and isinstance(loss, Loss)
        build(settings.augment)
        build(settings.generator)
    assert len(built) > 80


@pytest.mark.parametrize("name", ["demo", "ablation", "small_data", "strength_selection"])
def test_a_grid_has_the_configurations_of_its_jobs(name):
    """Jobs share compositions; data set, loss and values are exchanged as Hydra would."""
    jobs = grid([f"experiment={name}"])
    for job, config in (jobs[0], jobs[len(jobs) // 2]):
        assert config == compose_run(job)


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=comparison", "seed=0", "method=disturb_label,isda_dropout"],
        ["loss=isda,cross_entropy", "loss=isda", "schedule=wrn,resnext", "model=resnet32,wrn16_8"],
        ["experiment=strength_selection", "seed=1", "dataset=cifar100", "augment=none,cutout"],
        ["generator=none,cgan", "dataset=digits,cifar10", "dataset.padding=2", "logger=none"],
        ["experiment=ablation_constant", "seed=0", "loss=isda,cross_entropy"],
        pytest.param(
            ["experiment=imagenet_journal_basic", "dataset.root=data", "model=resnet50,densenet121"],
            marks=pytest.mark.slow,
        ),
        ["method=dropout,focal", "model=resnet110", "dataset=cifar100,digits", "mix=mixup"],
        ["experiment=conference_table_2_shake_shake,demo", "seed=0", "loss=isda"],
        ["seed=${schedule.epochs}", "model=resnet32,densenet_bc_100_12", "evaluate={every: 2}"],
    ],
)
def test_every_job_of_a_grid_equals_hydras_composition(overrides):
    jobs = grid(overrides)
    assert len(jobs) > 1
    for job, config in jobs:
        assert config == compose_run(job)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_every_planned_cell_is_what_hydra_composes(table):
    for cell in cells_of(table):
        lines = [*cell.job, f"seed={cell.seeds[0]}"]
        found = compose_run([*lines, "dataset.root=data"] if "imagenet" in table else lines)
        assert (found.run_id, found.config, list(found.names.items())) == (
            cell.config.run_id,
            cell.config.config | {"dataset": found.config["dataset"]},
            list(cell.config.names.items()),
        )


def test_a_section_that_the_experiment_touches_is_composed():
    """The experiment's validation images stay when the grid goes to the next data set."""
    configs = [config for _, config in grid(["experiment=strength_selection", "seed=0"])]
    assert {config.names["dataset"] for config in configs} == {"cifar10", "cifar100"}
    assert {config.config["dataset"]["val_size"] for config in configs} == {5000}


def test_the_command_line_narrows_an_experiment():
    (config,) = (
        config
        for _, config in grid(["experiment=small_data", "loss=isda", "dataset.train_size=1000", "seed=2"])
    )
    assert (config.config["seed"], config.names["loss"]) == (2, "isda")


def cells_of(table):
    return [cell for part in parts(table) for cell in planned(part)]


def test_disturb_label_takes_the_supplements_rates():
    cells = [cell for cell in cells_of("comparison") if cell.config.names["loss"] == "disturb_label"]
    assert {(cell.at.model, cell.at.dataset): cell.config.config["loss"]["rate"] for cell in cells} == {
        ("resnet110", "cifar10"): 0.05,
        ("resnet110", "cifar100"): 0.1,
        ("wrn28_10", "cifar10"): 0.05,
        ("wrn28_10", "cifar100"): 0.05,
    }


def test_the_method_brings_disturb_labels_rate_and_a_value_overrides_it():
    line = ["method=disturb_label", "model=resnet110", "dataset=cifar100"]
    assert compose_run(line).config["loss"]["rate"] == 0.1
    assert compose_run([*line, "loss.rate=0.3"]).config["loss"]["rate"] == 0.3
    assert compose_run(["method=disturb_label"]).config["loss"]["rate"] == 0.05
    assert "rate" not in compose_run(["method=focal", *line[1:]]).config["loss"]
    assert (
        set(compose_run(line).names) == set(compose_run(line[:1]).names) == {*compose_run([]).names, "method"}
    )


@pytest.mark.parametrize("methods", ["disturb_label", "focal,disturb_label"])
def test_each_job_of_a_grid_has_its_own_rate(methods):
    """A grid shares compositions among data sets where nothing depends on them; here the rate does."""
    line = ["model=resnet110", "dataset=cifar10,cifar100,digits", f"method={methods}"]
    for order in (line, line[::-1]):
        configs = [config for _, config in grid(order) if config.names["loss"] == "disturb_label"]
        rates = {config.names["dataset"]: config.config["loss"]["rate"] for config in configs}
        assert rates == {"cifar10": 0.05, "cifar100": 0.1, "digits": 0.05}


def test_imagenet_takes_the_diagonal_and_its_strengths():
    cells = [cell for cell in cells_of("imagenet") if cell.config.names["loss"] == "isda"]
    assert {cell.config.config["loss"]["covariance"] for cell in cells} == {"diagonal"}
    strengths = {cell.at.model: cell.config.config["loss"]["strength"] for cell in cells}
    assert {model for model, strength in strengths.items() if strength == 1} == {"densenet121", "densenet265"}
    assert sorted(strengths.values()) == [1, 1, 5, 7.5, 7.5, 7.5, 7.5]
    assert strengths["resnet101"] == 5


def test_wgan_is_for_cifar10_only():
    assert {cell.at.dataset for cell in cells_of("comparison") if cell.at.method == "wgan"} == {"cifar10"}


def test_figure_3_has_cells_of_the_comparison():
    assert {c.config.cell for c in cells_of("figure_3")} < {c.config.cell for c in cells_of("comparison")}


def test_imagenets_strengths_and_the_journals_training():
    cells = {
        (c.at.model.split()[0], c.config.names["loss"]): c.config.config for c in cells_of("imagenet_journal")
    }
    strengths = {
        model: config["loss"]["strength"] for (model, loss), config in cells.items() if loss == "isda"
    }
    assert strengths == {
        **dict.fromkeys(("resnet50", "resnet152", "resnext50_32x4d", "resnext101_32x8d"), 7.5),
        **dict.fromkeys(("densenet121", "densenet265"), 1.0),
        "resnet101": 5.0,
    }
    for config in cells.values():
        schedule = config["schedule"]
        assert (schedule["epochs"], schedule["batch_size"], schedule["learning_rate"]) == (300, 512, 0.2)
        assert (schedule["cosine_from"], config["optimizer"]["nesterov"]) == (0, False)
        assert config["model"].get("initialisation", "fan_out") == "fan_out"
    for cell in cells_of("imagenet"):
        assert cell.config.config["schedule"]["epochs"] == 120
