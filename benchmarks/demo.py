"""The demo from an empty storage: how long it takes, and what it shows."""

from __future__ import annotations

from benchmarks import bundled
from benchmarks.output import parser, write


def main() -> None:
    """Run `sweeps run demo` in a fresh storage and print its figures."""
    arguments = parser(__doc__).parse_args()
    seconds, rows, checkpoints = bundled.run("demo")
    baseline = rows[rows.initializer == "none"].set_index("colour")
    swept = rows[rows.initializer != "none"]
    mean = swept.groupby(["colour", "ratio"])["map50_adv"].mean()
    figures = {
        "seconds": round(seconds),
        "rows": len(rows),
        "parameters": rows.params_total.max(),
        "pretrainings": sum(key.startswith("pretrain-") for key in checkpoints),
        "baseline_ap50_clean": baseline.loc["rgb", "map50_clean"],
        "baseline_ap50_attacked": baseline.loc["rgb", "map50_adv"],
        "robust_ap50_attacked": mean["rgb", 0.0],
        "robust_ap50_attacked_greyscale": mean["greyscale", 0.0],
        "robust_ap50_attacked_at_99": mean["rgb", 0.99],
    }
    write({name: round(float(value), 3) for name, value in figures.items()}, arguments.format)


if __name__ == "__main__":
    main()
