"""How something went in the course of rows, on the page: the figure, and in words where its curves end."""

from __future__ import annotations

from html import escape
from pathlib import Path

from sweeps.reporting.figures.courses import means_of, over_course
from sweeps.reporting.figures.curves import save
from sweeps.reporting.page.file_names import file_stem
from sweeps.reporting.page.sections.curves import figure_html
from sweeps.study import Course


def course_html(folder: Path, course: Course) -> tuple[str, list[Path]]:
    """Return the part of the page on a course, and the files of its figure in `folder`.

    Args:
        folder: where figures are written.
        course: with one curve at least.
    """
    files = save(over_course(course), folder, file_stem("_".join(course.title.lower().split())))
    means = means_of(course)
    ends = means.groupby(["panel", "name"], sort=False).last().reset_index()
    said = [
        (f"{panel}: " if panel else "")
        + ", ".join(f"{end.name} {end.mean:.3g}" for end in ends[ends["panel"] == panel].itertuples())
        for panel in dict.fromkeys(ends["panel"])
    ]
    gist = f"{course.label} against {course.along}, one curve per name; at the end, {'; '.join(said)}."
    fewest, most = int(means["count"].min()), int(means["count"].max())
    of = f"{most}" if fewest == most else f"{fewest} to {most}"
    caption = f"Means of {of} row{'' if most == 1 else 's'} each; faintly, every row."
    figure = figure_html(files[1].read_bytes(), gist, caption=caption, wide=len(dict.fromkeys(means["panel"])) > 1)
    return f"<h3>{escape(course.title)}</h3><p>{escape(course.explanation)}</p>{figure}", files
