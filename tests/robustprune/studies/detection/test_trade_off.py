"""What a report draws against each other: metrics of the study."""

from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.detection.trade_off import ACCURACY_AGAINST_TIME
from sweeps.study import TradeOff


def test_it_is_of_two_metrics_of_the_study() -> None:
    assert isinstance(ACCURACY_AGAINST_TIME, TradeOff)
    assert DetectionStudy.trade_off == ACCURACY_AGAINST_TIME
    assert {ACCURACY_AGAINST_TIME.against, ACCURACY_AGAINST_TIME.metric} <= set(DetectionStudy.metrics)
