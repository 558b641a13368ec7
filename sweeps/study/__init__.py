"""The one seam between the engine and a science: what a `Study` is.

The engine sees named stages with typed inputs and outputs and the grid axes each depends on; it never learns what is
trained or measured. A study is a subclass of `Study`, registered as an entry point of the group `sweeps.studies` or
named in the spec as `module:Class`; how it is found is described in `sweeps.spec.studies`.
"""

from sweeps.errors import DeviceError, is_device_lost
from sweeps.study.parts import (
    NONE,
    Axis,
    Cell,
    Checkpoint,
    Course,
    Curve,
    DataTable,
    Doubts,
    Draft,
    Drafted,
    Files,
    Further,
    Gallery,
    Lines,
    Measurement,
    Picture,
    Progress,
    Stage,
    TradeOff,
    Value,
    Workload,
)
from sweeps.study.study import NoSettings, Study

__all__ = [
    "NONE",
    "Axis",
    "Cell",
    "Checkpoint",
    "Course",
    "Curve",
    "DataTable",
    "DeviceError",
    "Doubts",
    "Draft",
    "Drafted",
    "Files",
    "Further",
    "Gallery",
    "Lines",
    "Measurement",
    "NoSettings",
    "Picture",
    "Progress",
    "Stage",
    "Study",
    "TradeOff",
    "Value",
    "Workload",
    "is_device_lost",
]
