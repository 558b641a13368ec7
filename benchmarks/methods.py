"""The demos of all methods from an empty storage: what each leaves, hard-pruned and fine-tuned, and what that took.

`gain_low` and `gain_high` are the ends of the 95% interval of how much better a method does than magnitude, over pairs
of one seed at every ratio of the structure; it says nothing of other data.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import bundled
from benchmarks.output import parser, write

SPECS = {"classifier": ("methods-demo", "accuracy_adv"), "detector": ("methods-demo-detection", "map50_adv")}


def main() -> None:
    """Run `sweeps run` of both in a fresh storage and print a row per structure, ratio and method."""
    options = parser(__doc__)
    options.add_argument("--of", choices=(*SPECS, "both"), default="both", help="which demo (%(default)s)")
    arguments = options.parse_args()
    rows = []
    for name in SPECS if arguments.of == "both" else [arguments.of]:
        spec, metric = SPECS[name]
        seconds, found, _ = bundled.run(spec)
        rows += [{"of": name, "minutes": seconds / 60, **row} for row in means(found, metric)]
    write(rows, arguments.format)


def means(rows: pd.DataFrame, metric: str) -> list[dict[str, object]]:
    """Return a row per structure, ratio and method: means and standard deviations over seeds."""
    swept = rows[rows.initializer != "none"]
    gains = {
        (structure, initializer): gain(swept, metric, structure, initializer)
        for structure, initializer in swept[["structure", "initializer"]].drop_duplicates().itertuples(index=False)
    }
    told: list[dict[str, object]] = []
    for where in swept[["structure", "ratio", "initializer"]].drop_duplicates().to_dict("records"):
        part = swept.merge(pd.DataFrame([where]))
        low, high = gains[where["structure"], where["initializer"]]
        told.append(
            {
                **{str(axis): level for axis, level in where.items()},
                "n": len(part),
                "hard": part[f"{metric}_hard"].mean(),
                "hard_sd": part[f"{metric}_hard"].std(),
                "after": part[metric].mean(),
                "after_sd": part[metric].std(),
                "gain_low": low,
                "gain_high": high,
                "compression": part["compression"].mean(),
                "operations_removed": part["operations_removed"].mean(),
                "score_s": part["score_s"].mean(),
            }
        )
    return told


def gain(rows: pd.DataFrame, metric: str, structure: str, initializer: str) -> tuple[float, float]:
    """Return the 95% interval of a method's mean lead over magnitude, hard-pruned, from pairs of one seed and ratio."""
    own = rows[rows.structure == structure].pivot_table(f"{metric}_hard", ["seed", "ratio"], "initializer")
    lead = (own[initializer] - own["magnitude"]).dropna()
    if len(lead) < 2 or np.ptp(lead) == 0:
        return float(lead.mean()), float(lead.mean())
    low, high = stats.t.interval(0.95, len(lead) - 1, lead.mean(), stats.sem(lead))
    return float(low), float(high)


if __name__ == "__main__":
    main()
