"""The second study's demo from an empty storage: how long it takes, and what it shows."""

from __future__ import annotations

from benchmarks import bundled
from benchmarks.output import parser, write


def main() -> None:
    """Run `sweeps run classifiers-demo` in a fresh storage and print its figures."""
    arguments = parser(__doc__).parse_args()
    seconds, rows, checkpoints = bundled.run("classifiers-demo")
    baseline = rows[rows.initializer == "none"].groupby("training")
    swept = rows[rows.initializer != "none"]
    # Of both initializers.
    half, most = (swept[swept.ratio == at].groupby("training") for at in (0.5, 0.75))
    figures = {"seconds": round(seconds), "rows": len(rows), "pretrainings": len(checkpoints)}
    for training in ("standard", "adversarial"):
        figures |= {
            f"{training}_accuracy": baseline["accuracy_clean"].mean()[training],
            f"{training}_accuracy_attacked": baseline["accuracy_adv"].mean()[training],
            f"{training}_median_l2": baseline["median_l2"].mean()[training],
            f"{training}_median_l2_at_50": half["median_l2"].mean()[training],
            f"{training}_median_l2_at_75": most["median_l2"].mean()[training],
        }
    write({name: round(float(value), 3) for name, value in figures.items()}, arguments.format)


if __name__ == "__main__":
    main()
