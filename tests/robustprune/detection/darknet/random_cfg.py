"""Small detectors at random: .cfg texts in which any section may follow any other that fits it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

ACTIVATIONS = st.sampled_from(["leaky", "linear", "logistic", "mish", "relu"])
SIDE = 16


@dataclass
class Draft:
    """A .cfg as far as it is written; `shapes` are (channels, side) of each section after `[net]`."""

    draw: st.DrawFn
    text: str = f"[net]\nwidth={SIDE}\nheight={SIDE}\nchannels=3\n"
    shapes: list[tuple[int, int]] = field(default_factory=list)

    def add(self, name: str, channels: int, side: int, **options: object) -> None:
        self.text += f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())
        self.shapes.append((channels, side))

    @property
    def shape(self) -> tuple[int, int]:
        return self.shapes[-1] if self.shapes else (3, SIDE)

    def alike(self, *, channels: bool = False) -> list[int]:
        """Sections as large as the last one, heads and the last one itself apart."""
        return [
            index
            for index, (width, side) in enumerate(self.shapes[:-1])
            if side == self.shape[1] and width > 0 and (width == self.shape[0] or not channels)
        ]

    def convolution(self, filters: int | None = None, activation: str | None = None, size: int | None = None) -> None:
        channels, side = self.shape
        size = size or self.draw(st.sampled_from([1, 3, 3]))
        stride = self.draw(st.sampled_from([1, 1, 2])) if side >= SIDE and size == 3 else 1
        groups = self.draw(st.sampled_from([n for n in (1, 1, 2, channels) if channels % n == 0]))
        self.add(
            "convolutional",
            filters := filters or groups * self.draw(st.integers(1, max(1, 8 // groups))),
            side // stride,
            batch_normalize=self.draw(st.integers(0, 1)),
            filters=filters,
            size=size,
            stride=stride,
            pad=1,
            groups=groups if filters % groups == 0 else 1,
            activation=activation or self.draw(ACTIVATIONS),
        )

    def pool(self) -> None:
        channels, side = self.shape
        size, stride = self.draw(st.sampled_from([(2, 1), (3, 1), *([(2, 2)] if side >= SIDE else [])]))
        self.add("maxpool", channels, side // stride, size=size, stride=stride)

    def upsample(self) -> None:
        channels, side = self.shape
        if side < SIDE:
            self.add("upsample", channels, side * 2, stride=2)

    def dropout(self) -> None:
        self.add("dropout", *self.shape, probability=0.5)

    def route(self) -> None:
        side = self.shape[1]
        others = self.draw(st.lists(st.sampled_from(self.alike()), max_size=2)) if self.alike() else []
        sources = self.draw(st.permutations([*others, len(self.shapes) - 1]))
        widths = [self.shapes[source][0] for source in sources]
        groups = self.draw(st.sampled_from([n for n in (1, 2) if all(width % n == 0 for width in widths)]))
        layers, group = ",".join(map(str, sources)), self.draw(st.integers(0, groups - 1))
        self.add("route", sum(widths) // groups, side, layers=layers, groups=groups, group_id=group)

    def shortcut(self) -> None:
        if self.alike():
            sources = self.draw(st.lists(st.sampled_from(self.alike()), min_size=1, max_size=2))
            options: dict[str, Any] = {"from": ",".join(map(str, sources)), "activation": self.draw(ACTIVATIONS)}
            self.add("shortcut", *self.shape, **options)

    def strided_shortcut(self) -> None:
        """Add a layer of twice as many pixels to a side, or of half as many."""
        found = [
            index
            for index, (_, side) in enumerate(self.shapes[:-1])
            if side * 2 == self.shape[1] or side == self.shape[1] * 2
        ]
        found = [index for index in found if self.shapes[index][0]]
        if found:
            source = self.draw(st.sampled_from(found))
            self.add("shortcut", *self.shape, **{"from": source}, activation=self.draw(ACTIVATIONS))

    def reorg(self) -> None:
        channels, side = self.shape
        if channels % 4 == 0 and side >= SIDE:
            self.add("reorg", channels * 4, side // 2, stride=2)

    def scale_channels(self) -> None:
        index, (channels, side) = len(self.shapes) - 1, self.shape
        self.add("avgpool", channels, 1)
        self.convolution(filters=channels, size=1)
        self.add("scale_channels", channels, side, **{"from": index}, activation=self.draw(ACTIVATIONS))

    def sam(self) -> None:
        if self.alike(channels=True):
            source = self.draw(st.sampled_from(self.alike(channels=True)))
            self.add("sam", *self.shape, **{"from": source}, activation=self.draw(ACTIVATIONS))

    def head(self) -> None:
        self.convolution(filters=6, activation="linear", size=1)
        # Of no channels: nobody may read it.
        self.add("yolo", 0, self.shape[1], mask=0, anchors="8,8", classes=1, num=1)


@st.composite
def cfg_texts(draw: st.DrawFn) -> str:
    draft = Draft(draw)
    draft.convolution()
    steps = (
        Draft.convolution,
        Draft.pool,
        Draft.upsample,
        Draft.dropout,
        Draft.route,
        Draft.shortcut,
        Draft.strided_shortcut,
        Draft.reorg,
        Draft.scale_channels,
        Draft.sam,
    )
    for _ in range(draw(st.integers(1, 2))):
        for step in draw(st.lists(st.sampled_from(steps), min_size=1, max_size=8)):
            step(draft)
        draft.head()
        # Whatever follows a head starts from before it.
        before = len(draft.shapes) - 3
        draft.add("route", *draft.shapes[before], layers=before)
    return draft.text
