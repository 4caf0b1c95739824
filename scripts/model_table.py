"""Prints the table of all networks and writes it to results/models.md."""

from pathlib import Path

from isda_bench.model_table import markdown, measure, names

RESULT = Path(__file__).resolve().parents[1] / "results" / "models.md"

if __name__ == "__main__":
    table = markdown(measure(name) for name in names())
    RESULT.write_text(table, encoding="utf-8")
    print(table, end="")
