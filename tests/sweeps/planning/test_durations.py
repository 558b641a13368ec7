"""A pause is told from work that takes long by how far it stands out, and by how rare it is."""

from __future__ import annotations

import pytest

from sweeps.planning.durations import in_words, without_pauses


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        ([], []),
        ([70_000.0], [70_000.0]),  # nothing to compare it with
        ([70_000.0, 10.0], [10.0]),
        ([10.0, 70_000.0, 12.0, 11.0], [10.0, 11.0, 12.0]),
        ([10.0] * 6 + [70_000.0, 70_001.0], [10.0] * 6),  # two at a time
        ([1.0] * 5 + [3600.0] * 3, [1.0] * 5 + [3600.0] * 3),  # another method
        ([0.1] * 9 + [500.0], [0.1] * 9 + [500.0]),  # no pause lasts minutes only
        ([3600.0, 7200.0, 36_000.0], [3600.0, 7200.0, 36_000.0]),
    ],
)
def test_what_had_a_pause_in_it_is_left_out(seconds: list[float], kept: list[float]) -> None:
    assert without_pauses(seconds) == kept


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 seconds"),
        (1.2, "1 second"),
        (89, "89 seconds"),
        (300, "5 minutes"),
        (5370, "1 h 30 min"),
        (12_000, "3 h 20 min"),
        (86_390, "1 d 0 h"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
