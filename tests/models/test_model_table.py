from isda_bench.reporting.model_table import markdown, measure


def test_row_of_a_network():
    row = measure("resnet32")
    assert (row.family, row.parameters, row.feature_dim, row.epochs) == ("resnet", 466_906, 64, 160)
    assert row.run_flops == 6 * row.multiply_adds * 50_000 * 160


def test_multiply_adds_are_those_of_convolutions_and_head():
    stem = 32**2 * 9 * 3 * 16
    stages = 10 * 32**2 * 9 * 16**2 + (9 + 0.5) * 16**2 * 9 * 32**2 + (9 + 0.5) * 8**2 * 9 * 64**2
    shortcuts = 16**2 * 16 * 32 + 8**2 * 32 * 64
    assert measure("resnet32").multiply_adds == stem + stages + shortcuts + 640


def test_grouped_convolutions_count_their_groups():
    row = measure("resnext50_32x4d")
    assert round(row.multiply_adds / 1e9, 2) == 4.23
    assert row.images == 1_281_167 and row.epochs == 120


def test_markdown_has_published_counts():
    table = markdown([measure("wrn28_10")])
    assert "| wrn28_10 | wide_resnet | 36,479,194 | 36.5 M | 640 | 5,243.3 M |" in table
