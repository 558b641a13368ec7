"""The demo of fields as axes from an empty storage: accuracy at each radius of attack, for two radii of training."""

from __future__ import annotations

from benchmarks import bundled
from benchmarks.output import parser, write


def main() -> None:
    """Run `sweeps run epsilon-demo` in a fresh storage and print its figures."""
    arguments = parser(__doc__).parse_args()
    seconds, rows, checkpoints = bundled.run("epsilon-demo")
    swept = rows[rows.initializer != "none"]
    by = ["ratio", "adversary.epsilon", "evaluation.attack.epsilon"]
    figures: dict[str, float] = {"seconds": round(seconds), "rows": len(rows), "pretrainings": len(checkpoints) // 2}
    for line in swept.groupby(by)["accuracy_adv"].mean().reset_index().to_dict("records"):
        ratio, trained, attacked = (f"{line[name]:g}" for name in by)
        figures[f"accuracy_at_{ratio}_trained_{trained}_attacked_{attacked}"] = line["accuracy_adv"]
    write({name: round(float(value), 3) for name, value in figures.items()}, arguments.format)


if __name__ == "__main__":
    main()
