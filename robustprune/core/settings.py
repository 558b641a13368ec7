"""The base of every settings object: frozen, keyword-only, no unknown field, no silent conversion."""

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

PIXELS: JsonDict = {"unit": "pixels"}
PIXEL_VALUES: JsonDict = {"unit": "pixel values, of [0, 1]"}
GIB: JsonDict = {"unit": "GiB"}
"""Units of fields, for `json_schema_extra`."""


class Settings(BaseModel):
    """Settings live in the file of what they configure and derive from this class. Every field has a description."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)
