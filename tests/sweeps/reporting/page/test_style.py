"""Colours of the page: text stands out from what is behind it (WCAG 1.4.3), and so do edges of controls (1.4.11)."""

import re
from importlib import resources

import pytest

STYLE = resources.files("sweeps.reporting.page").joinpath("templates/report.css").read_text("utf-8")
COLOURS = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", STYLE))


def luminance(colour: str) -> float:
    """Return the relative luminance of #rgb or #rrggbb, in [0, 1], as WCAG defines it."""
    digits = colour.removeprefix("#")
    pairs = [digit * 2 for digit in digits] if len(digits) == 3 else re.findall("..", digits)
    shares = [int(pair, 16) / 255 for pair in pairs]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_is_right() -> None:
    assert contrast("#000000", "#fff") == pytest.approx(21)
    # The lightest grey that passes on white, as is well known.
    assert contrast("#767676", "#ffffff") >= 4.5 > contrast("#777777", "#ffffff")


@pytest.mark.parametrize("behind", ["paper", "wash"])
@pytest.mark.parametrize("text", ["ink", "quiet", "link"])
def test_text_stands_out(text: str, behind: str) -> None:
    assert contrast(COLOURS[text], COLOURS[behind]) >= 4.5


def test_edges_of_controls_stand_out() -> None:
    assert contrast(COLOURS["edge"], COLOURS["paper"]) >= 3


def test_every_colour_is_one_of_those_tested() -> None:
    rules = STYLE.partition("}")[2]
    assert not re.findall(r"#[0-9a-f]{3,6}\b|rgb|hsl", rules)
    assert set(re.findall(r"(?<!-)color: var\(--(\w+)\)", rules)) <= {"ink", "quiet", "link"}
    assert "opacity" not in rules
