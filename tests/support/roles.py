"""The roles of the reference study's key columns, for tables that tests make by hand."""

from sweeps.statistics.roles import Roles

ROLES = Roles(
    ("structure", "initializer", "colour", "seed", "ratio"), replicate="seed", along="ratio", pruned="weights"
)
