import re

from hypothesis import given
from hypothesis import strategies as st

from sweeps.reporting.page.file_names import file_stem

FIT = re.compile(r"[A-Za-z0-9._-]{1,100}")
WORDS = st.text(min_size=1, max_size=300)


@given(st.from_regex(FIT, fullmatch=True))
def test_a_name_that_fits_stays(name: str) -> None:
    assert file_stem(name) == name


@given(WORDS, st.lists(WORDS, max_size=2))
def test_any_name_is_made_to_fit(name: str, told_by: list[str]) -> None:
    assert FIT.fullmatch(file_stem(name, told_by=told_by))


@given(WORDS, WORDS)
def test_different_names_have_different_files(one: str, other: str) -> None:
    assert (file_stem(one) == file_stem(other)) == (one == other)
    assert (file_stem("same", told_by=[one]) == file_stem("same", told_by=[other])) == (one == other)


def test_long_names_are_told_apart_by_what_is_cut_off() -> None:
    assert file_stem("a" * 300 + "b") != file_stem("a" * 300 + "c")
