"""A study's pictures as part of the page: tables of images that carry their own bytes and say in words what they show.

What is in the pictures is the study's affair; the page around them is `page.report`.
"""

import base64
from collections.abc import Sequence
from html import escape
from itertools import groupby, repeat

from sweeps.study import Gallery, Picture


def gallery_html(gallery: Gallery, *, key: str) -> str:
    """Return a gallery as a heading, its explanation, and a table that scrolls in place, by keyboard too.

    Where it has steps, lines of one are seen at a time, and a slider and arrows lead through them; where no scripts
    run, all are.

    Args:
        gallery: the pictures.
        key: the table's `id`.
    """
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in gallery.heads)
    steps = list(dict.fromkeys(step for step in gallery.steps if step))
    lines = "".join(
        _line(label, pictures, step, steps.index(step) if step else None)
        for (label, pictures), step in zip(gallery.lines, gallery.steps or repeat(""), strict=False)
    )
    title = escape(gallery.title)
    return (
        f"<h3>{title}</h3><p>{escape(gallery.explanation)}</p>{_slider(key, len(steps)) if len(steps) > 1 else ''}"
        f'<div class="scroll wide" tabindex="0" role="region" aria-label="{title}"><table class="gallery" id="{key}">'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _slider(key: str, steps: int) -> str:
    return (
        f'<form class="steps" data-table="{key}" autocomplete="off" hidden>'
        '<button type="button" value="-1" aria-label="one step back">←</button>'
        f'<input type="range" min="0" max="{steps - 1}" value="{steps // 2}" aria-label="step">'
        '<button type="button" value="1" aria-label="one step on">→</button> <strong></strong></form>'
    )


def _line(label: str, pictures: Sequence[Picture], step: str, place: int | None) -> str:
    cells = []
    for picture, alike in groupby(pictures):
        columns = len(list(alike))
        across = f' colspan="{columns}"' if columns > 1 else ""
        cells.append(f"<td{across}>{_image(picture)}</td>")
    below = f' <span class="spread">{escape(step)}</span>' if step else ""
    at = "" if place is None else f' data-step="{place}"'
    return f'<tr{at}><th scope="row">{escape(label)}{below}</th>{"".join(cells)}</tr>\n'


def _image(picture: Picture) -> str:
    if not picture.image:
        return f'<span class="quiet">{escape(picture.text)}</span>'
    source = f"data:{escape(picture.media_type)};base64,{base64.b64encode(picture.image).decode()}"
    return f'<img loading="lazy" src="{source}" alt="{escape(picture.text)}">'
