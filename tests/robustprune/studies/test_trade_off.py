"""What a report draws against each other: known to the report, and known to be metrics of the study."""

from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.trade_off import ACCURACY_AGAINST_TIME, TradeOff
from sweeps import study


def test_it_has_the_shape_that_reports_expect() -> None:
    assert TradeOff._fields == study.TradeOff._fields
    assert {ACCURACY_AGAINST_TIME.against, ACCURACY_AGAINST_TIME.metric} <= set(DetectionStudy.metrics)
