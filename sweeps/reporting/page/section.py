"""A section of the page: where links lead to, what it is called, and what it says, in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple


class Section(NamedTuple):
    """A section. Its `content` is HTML, in which everything that comes from a sweep is escaped already.

    Attributes:
        name: letters, digits and dashes, for the links to it; no other section of the page has it.
        title: plain text, for the heading and the link to it.
        content: headings in it begin at `h3`.
        on_paper: whether it is printed too.
        folded: what is to be pressed to see the content, in words; nothing where it is seen at once.
    """

    name: str
    title: str
    content: str
    on_paper: bool = True
    folded: str = ""


def section_html(section: Section) -> str:
    """Return a section under its heading."""
    screen = "" if section.on_paper else ' class="screen"'
    heading = f'<h2 id="{section.name}-heading">{escape(section.title)}</h2>'
    labelled = f'id="{section.name}" aria-labelledby="{section.name}-heading"'
    content = folded(section.folded, section.content) if section.folded else section.content
    return f"<section {labelled}{screen}>{heading}{content}</section>\n"


def folded(summary: str, content: str, *, open_class: str = "") -> str:
    """Return HTML behind a line that is pressed to see it; paper shows it. One of `open_class` is seen at first."""
    state = f' class="{open_class}" open' if open_class else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{content}</details>"


def links_html(sections: Sequence[Section]) -> str:
    """Return a link to each section."""
    links = (f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in sections)
    return f"<ul>{''.join(links)}</ul>"
