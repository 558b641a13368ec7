"""What a pruned detector gives up to be faster, as a report draws it."""

from __future__ import annotations

from sweeps.study import TradeOff

ACCURACY_AGAINST_TIME = TradeOff(
    title="Accuracy against time",
    explanation=(
        "Time is told as a speed-up: how many images a pruned detector processes in the time that the unpruned one "
        "needs for one. The two took turns in one process, each in its fastest engine. Milliseconds of different rows "
        "(inference_ms) come from different moments of a machine, or from different machines, and do not compare."
    ),
    against="speedup",
    metric="map_adv",
)
