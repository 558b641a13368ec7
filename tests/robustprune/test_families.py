"""Entries of a registry that nobody lists, since their names say what they are."""

import pytest

from robustprune.core.errors import InputError
from robustprune.plugins import Family, Registry, TaskEntry


def test_a_family_has_entries_beside_those_that_are_listed() -> None:
    plain, *made = (TaskEntry(task="any", provides=len, version=version) for version in (1, 2, 3))
    numbered = {f"net-{number}": entry for number, entry in enumerate(made)}
    found: Registry[TaskEntry] = Registry(
        "no.such.entry.points",
        kind="network",
        entry=TaskEntry,
        bundled={"net": plain},
        family=Family("net-N", "net-0", numbered.get),
    )
    assert list(found) == ["net"]
    assert list(found.listed) == ["net", "net-N"]
    assert found.listed["net-N"] is numbered["net-0"]
    assert "net-1" in found
    assert found.lookup("net-1") is found["net-1"] is numbered["net-1"]
    assert found.identity("net-1") == {"version": 3}
    assert found.origin("net-1") is found.origin("net-N") is None
    assert "net-9" not in found
    with pytest.raises(KeyError):
        found["net-9"]
    with pytest.raises(InputError, match=r"unknown network 'net-9': expected one of net, net-N; did you mean 'net'"):
        found.lookup("net-9")
