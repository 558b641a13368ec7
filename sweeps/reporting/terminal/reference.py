"""What can be looked up, as `sweeps describe` prints it: text for people, markdown for a page, json for programs."""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Literal

from sweeps.spec import studies
from sweeps.spec.reference import Known, Line, Section, common_sections, known, looked_up, study_sections
from sweeps.spec.schema import REQUIRED

Form = Literal["table", "json", "markdown"]

COMMAND = "sweeps describe --format markdown > docs/reference.md"

_NARROWEST, _WIDEST = 40, 120


def described(study: str | None, field: str | None, form: Form) -> str:
    """Return what is to be known of a study, or of one thing in it; of none, which there are.

    In markdown, without a study, that is the whole page: what all have in common, and every registered study.

    Raises:
        SpecError: there is no such study or thing.
    """
    if study is None:
        return _page() if form == "markdown" else _studies(known(), form)
    sections = [*study_sections(study), *common_sections()]
    if field is not None:
        sections = looked_up(sections, field)
    if form == "json":
        return json.dumps([line._asdict() for section in sections for line in section.lines], ensure_ascii=False)
    if form == "markdown":
        return "\n".join(_markdown(sections, level=2))
    return "\n\n".join(_text(section) for section in sections)


def _studies(found: Sequence[Known], form: Form) -> str:
    if form == "json":
        return json.dumps([each._asdict() for each in found], ensure_ascii=False)
    width = max((len(each.name) for each in found), default=0)
    return "\n".join(
        f"{each.name:{width}}  {each.package}, {each.place}{'; specs: ' if each.specs else ''}{', '.join(each.specs)}"
        for each in found
    )


def _page() -> str:
    lines = [
        "# Reference",
        "",
        "Every field of a spec, every axis, column and table. `sweeps describe STUDY FIELD` looks one up.",
        "",
        f"<!-- Made by `{COMMAND}`; change the settings' descriptions instead. -->",
        "",
        "Paths are those of `--set`; `*` stands for any name, `[]` for each of a list. A field of one of several",
        "options has that in parentheses. Numbers, but no whole ones, may be written as quotients: `8/255`.",
        "",
        "## Every study",
        "",
        *_markdown(common_sections(), level=3),
    ]
    for each in known():
        said = inspect.getdoc(studies.find(each.name)) or ""
        lines += [f"## Study `{each.name}`", "", said, "", *_markdown(study_sections(each.name), level=3)]
    return "\n".join(lines).rstrip("\n")


def _text(section: Section) -> str:
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    lines = [section.title]
    for line in section.lines:
        facts = "; ".join(_facts(line))
        lines.append(f"  {_named(line)}: {facts}")
        lines += textwrap.wrap(line.meaning, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _facts(line: Line) -> Iterator[str]:
    yield from filter(None, (line.type, line.unit, line.range))
    if line.default:
        yield line.default if line.default == REQUIRED else f"default {line.default}"


def _markdown(sections: Sequence[Section], *, level: int) -> Iterator[str]:
    """Yield lines of a page: a table per section, of the columns that any of its lines has something in."""
    for title, lines in sections:
        shown = [name for name in ("type", "default", "range", "unit") if any(getattr(line, name) for line in lines)]
        yield from (f"{'#' * level} {title}", "")
        yield f"| name | {' | '.join(shown)} | meaning |"
        yield f"|{' --- |' * (len(shown) + 2)}"
        for line in lines:
            cells = [_code(line), *(_cell(getattr(line, name)) for name in shown), _cell(line.meaning)]
            yield f"| {' | '.join(cells)} |"
        yield ""


def _named(line: Line) -> str:
    return f"{line.name} ({line.option})" if line.option else line.name


def _code(line: Line) -> str:
    return f"`{line.name}`" + (f" ({line.option})" if line.option else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
