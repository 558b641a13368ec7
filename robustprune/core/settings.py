"""The base of every settings object: frozen, keyword-only, no unknown field, no silent conversion."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings live in the file of what they configure and derive from this class."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)
