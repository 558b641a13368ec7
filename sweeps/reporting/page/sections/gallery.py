"""A study's pictures as part of the page: tables of images that carry their own bytes and say in words what they show.

What is in the pictures is the study's affair; the page around them is `page.report`.
"""

import base64
from collections.abc import Sequence
from html import escape

from sweeps.study import Gallery, Picture


def gallery_html(gallery: Gallery) -> str:
    """Return a gallery as a heading, its explanation, and a table that scrolls in place, by keyboard too."""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in gallery.heads)
    lines = "".join(_line(label, pictures) for label, pictures in gallery.lines)
    title = escape(gallery.title)
    return (
        f"<h3>{title}</h3><p>{escape(gallery.explanation)}</p>"
        f'<div class="scroll wide" tabindex="0" role="region" aria-label="{title}"><table class="gallery">'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _line(label: str, pictures: Sequence[Picture]) -> str:
    cells = "".join(f"<td>{_image(picture)}</td>" for picture in pictures)
    return f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>\n'


def _image(picture: Picture) -> str:
    source = f"data:{escape(picture.media_type)};base64,{base64.b64encode(picture.image).decode()}"
    return f'<img loading="lazy" src="{source}" alt="{escape(picture.text)}">'
