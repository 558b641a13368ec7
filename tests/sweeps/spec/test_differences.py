from sweeps.spec.differences import differences
from tests.support import toy_rows
from tests.support.toy_study import SPEC


def test_fields_that_differ_are_told_with_their_values() -> None:
    texts = [toy_rows.load(*changes).to_yaml() for changes in ((), ("offset=2.5",), ("grid.seed=[0]", "keep=false"))]
    assert differences(texts) == {
        "grid.seed": [[0, 1], [0, 1], [0]],
        "keep": [True, True, False],
        "offset": [0.0, 2.5, 0.0],
    }


def test_a_field_that_is_younger_than_a_spec_is_there_at_its_default() -> None:
    assert differences([SPEC, toy_rows.load().to_yaml()]) == {}


def test_what_is_no_spec_any_more_is_told_as_it_is() -> None:
    assert differences([SPEC + "gone: 3\n", SPEC])["gone"] == [3, None]
