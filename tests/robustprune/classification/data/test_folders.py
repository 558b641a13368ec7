"""Class folders, on disk and in zip files: the same images in the same order, whatever the names are."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torchvision.datasets import ImageFolder

from robustprune.classification.data.folders import common_classes, load, split_names, survey
from robustprune.core.errors import InputError

CLASSES = ("a 0", "a'; echo foo", "Zebra", "straße")
LAYOUTS = ("folders", "zip per split", "one zip")


def picture(number: int, *, size: tuple[int, int] = (8, 8), kind: str = "png", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def picture_of(mode: str, value: int, *, kind: str = "tiff") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8), value).save(file, kind)
    return file.getvalue()


def files(*splits: str) -> dict[str, bytes]:
    """Return the files of a data set, by path, in an order that is not sorted."""
    names = {"b 1.png": "png", "a.JPG": "jpeg", "sub/c.webp": "webp", "10.bmp": "bmp", "9.png": "png"}
    every = [
        (f"{split}/{name}/{file}", kind)
        for split in splits
        for name in reversed(CLASSES)
        for file, kind in names.items()
    ]
    content = {path: picture(number, kind=kind) for number, (path, kind) in enumerate(every)}
    for split in splits:
        content |= {
            f"{split}/README.txt": b"not an image",
            f"{split}/stray.png": picture(0),
            f"{split}/a 0/notes.md": b"",
            f"{split}/a 0/.hidden.png": b"broken",
            f"{split}/a 0/._b 1.png": b"broken",
            f"{split}/.ipynb_checkpoints/x.png": b"broken",
            f"__MACOSX/{split}/a 0/._b 1.png": b"broken",
        }
    return content


def write(content: dict[str, bytes], root: Path, layout: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if layout == "one zip":
        return write_zip(content, root / "all.zip")
    if layout == "zip per split":
        for split in {path.split("/")[0] for path in content} - {"__MACOSX"}:
            write_zip({path: data for path, data in content.items() if split in path.split("/")}, root / f"{split}.zip")
        return root
    for path, data in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def write_zip(content: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_images_of_image_folder(layout: str, tmp_path: Path) -> None:
    found = load(write(files("train", "test"), tmp_path, layout), "train", image_size=8)
    clean = tmp_path / "clean"
    visible = {name: data for name, data in files("train").items() if "/." not in name}
    reference = ImageFolder(str(write(visible, clean, "folders") / "train"))
    assert found.classes == tuple(reference.classes) == tuple(sorted(CLASSES))
    assert len(found) == len(reference) == 20
    theirs = {np.asarray(image).tobytes(): label for image, label in reference}
    ours = [image.permute(1, 2, 0).numpy().tobytes() for image in found.pixels]
    assert [theirs.pop(image) for image in ours] == found.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_the_order_is_that_of_the_paths(tmp_path: Path) -> None:
    content = files("train", "test")
    orders = [
        load(write(dict(items), tmp_path / f"{number}", "folders"), "test", image_size=8).pixels
        for number, items in enumerate((content.items(), reversed(content.items())))
    ]
    zipped = load(write(content, tmp_path, "one zip"), "test", image_size=8).pixels
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], zipped)
    names = sorted(name for name in content if name.startswith("test/Zebra/"))
    first = np.asarray(Image.open(io.BytesIO(content[names[0]])))
    assert names[0] == "test/Zebra/10.bmp"
    assert np.array_equal(orders[0][0].permute(1, 2, 0), first), "'Zebra' is before 'a 0', and '10' before '9'"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_are_brought_to_rgb_squares(mode: str, tmp_path: Path) -> None:
    data = picture(0, size=(12, 6), kind="tiff", mode=mode)
    root = write({"train/a/x.tif": data}, tmp_path, "folders")
    expected = Image.open(io.BytesIO(data)).convert("RGB").resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(load(root, "train", image_size=8).pixels[0].permute(1, 2, 0), np.asarray(expected))


@pytest.mark.parametrize(("mode", "said"), [("I", "32 bits"), ("F", "floating point")])
def test_pixels_whose_range_is_unknown_are_refused(mode: str, said: str, tmp_path: Path) -> None:
    root = write({"train/a/x.tiff": picture_of(mode, 300)}, tmp_path, "folders")
    with pytest.raises(InputError, match=f"a/x.tiff: found pixels of {said} .*, expected 8 or 16 bits per channel"):
        load(root, "train", image_size=8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_contents_of_files_are_known_in_the_order_of_images(layout: str, tmp_path: Path) -> None:
    content = {f"train/{name}.png": picture(number) for number, name in enumerate(("a/x", "b/x", "b/y"))}
    found = load(write(content, tmp_path, layout), "train", image_size=8)
    assert found.contents is not None
    assert found.contents.sha256 == [hashlib.sha256(file).hexdigest() for file in content.values()]
    taken = found.take([2, 0]).contents
    assert taken is not None
    assert [name.removeprefix(taken.source) for name in taken.names] == ["/b/y.png", "/a/x.png"]
    assert taken.sha256 == [found.contents.sha256[2], found.contents.sha256[0]]


def test_16_bits_are_scaled_to_8_and_told(tmp_path: Path) -> None:
    content = {"train/a/x.png": picture_of("I;16", 0xA1FF, kind="png"), "train/b/x.png": picture(0)}
    found = load(write(content, tmp_path, "folders"), "train", image_size=8)
    assert (found.pixels[0] == 0xA1).all()
    assert found.remarks == (f"{tmp_path}/train: 1 images of 16 bits per pixel are scaled to 8",)


def test_orientation_tags_are_counted_or_applied(tmp_path: Path) -> None:
    stored, exif = Image.new("RGB", (8, 8)), Image.Exif()
    stored.paste((255, 255, 255), (0, 0, 8, 4))
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    stored.save(file, "png", exif=exif)
    root = write({"train/a/x.png": file.getvalue(), "train/b/x.png": picture(0)}, tmp_path, "folders")
    ignored, applied = load(root, "train", image_size=8), load(root, "train", image_size=8, exif="apply")
    assert "1 images have an EXIF orientation tag and are taken as they are stored" in ignored.remarks[0]
    assert "1 images are turned as their EXIF orientation tag says" in applied.remarks[0]
    # Turned clockwise: what was above is on the right.
    assert (ignored.pixels[0, 0, :4] == 255).all()
    assert (applied.pixels[0, 0, :, 4:] == 255).all()


def test_images_of_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    root = write({"train/a/x.png": picture(0)}, tmp_path, "folders")
    with pytest.raises(InputError, match="a/x.png: found more than 40 pixels, expected an image file"):
        load(root, "train", image_size=8)


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    write({"elsewhere/x.png": picture(0)}, tmp_path, "folders")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    assert len(load(tmp_path, "train", image_size=8)) == 1


@pytest.mark.parametrize("target", [".", "..", "../..", "../../../elsewhere"])
def test_links_that_lead_back_are_not_followed(target: str, tmp_path: Path) -> None:
    root = write(
        dict.fromkeys(("train/a/x.png", "train/b/x.png", "test/a/x.png"), picture(0)), tmp_path / "r", "folders"
    )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (root / "train" / "a" / "loop").symlink_to(target)
    found = load(root, "train", image_size=8)
    assert (len(found), found.classes) == (2, ("a", "b"))


def test_a_zip_reaches_no_file_outside_it(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(1))
    tricks = ["train/../secret.png", "train/a/../../secret.png", "../secret.png", str(tmp_path / "secret.png")]
    tricks += [name.replace("/", "\\") for name in tricks]
    content = {"train/a/x.png": picture(0)} | dict.fromkeys(tricks, picture(2))
    before = set(tmp_path.iterdir())
    found = load(write_zip(content, tmp_path / "all.zip"), "train", image_size=8)
    assert (len(found), found.classes) == (1, ("a",))
    assert set(tmp_path.iterdir()) == {*before, tmp_path / "all.zip"}


def test_a_zip_may_be_written_with_backslashes(tmp_path: Path) -> None:
    content = files("train") | {"train/": b"", "train/Zebra/": b"", "train/Zebra/sub/": b""}
    backslashes = {name.replace("/", "\\"): data for name, data in content.items()}
    found, expected = (
        load(write_zip(each, tmp_path / f"{number}.zip"), "train", image_size=8)
        for number, each in enumerate((backslashes, content))
    )
    assert found.classes == expected.classes
    assert torch.equal(found.pixels, expected.pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_class_without_images_is_named(layout: str, tmp_path: Path) -> None:
    content = files("train") | {"train/empty one/readme.txt": b""}
    with pytest.raises(InputError, match="train: found no image in the class folder 'empty one', expected .*.jpg"):
        load(write(content, tmp_path, layout), "train", image_size=8)


def test_what_systems_leave_is_no_class(tmp_path: Path) -> None:
    left = {f"train/{name}/x.png": b"broken" for name in ("__MACOSX", "@eaDir", "lost+found", "a 0/@eaDir")}
    assert load(write(files("train") | left, tmp_path, "folders"), "train", image_size=8).classes == tuple(
        sorted(CLASSES)
    )


def test_pictures_that_are_passed_over_are_told(tmp_path: Path) -> None:
    left = {
        "train/a 0/x.gif": picture(0, kind="gif"),
        "train/a 0/.y.gif": b"",
        "train/z.gif": b"",
        "train/a 0/k.txt": b"",
    }
    (told,) = load(write(files("train") | left, tmp_path, "folders"), "train", image_size=8).remarks
    assert told.startswith(f"{tmp_path}/train: 1 files, such as a 0/x.gif, are passed over")


def test_an_empty_folder_is_a_class_too(tmp_path: Path) -> None:
    root = write(files("train"), tmp_path, "folders")
    (root / "train" / "empty").mkdir()
    with pytest.raises(InputError, match="no image in the class folder 'empty'"):
        load(root, "train", image_size=8)
    shutil.make_archive(str(tmp_path / "all"), "zip", root, "train")
    with pytest.raises(InputError, match="no image in the class folder 'empty'"):
        load(tmp_path / "all.zip", "train", image_size=8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("data", [b"", b"no image", picture(0)[:90], picture(0, size=(64, 64), kind="jpeg")[:900]])
def test_a_damaged_image_is_named(layout: str, data: bytes, tmp_path: Path) -> None:
    content = files("train") | {"train/a'; echo foo/b 1.png": data}
    with pytest.raises(InputError, match=r"train/a'; echo foo/b 1.png: [^\n]+, expected an image file$"):
        load(write(content, tmp_path, layout), "train", image_size=8)


def test_damage_inside_a_zip_is_named(tmp_path: Path) -> None:
    path = write_zip({"train/a/x.bmp": picture(0, kind="bmp")}, tmp_path / "all.zip")
    whole = bytearray(path.read_bytes())
    whole[60] ^= 255
    path.write_bytes(whole)
    with pytest.raises(
        InputError, match=r"all.zip/train/a/x.bmp: Error -3 while decompressing.*, expected an image file"
    ):
        load(path, "train", image_size=8)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="all.zip: expected a whole zip file of class folders"):
        load(path, "train", image_size=8)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    for layout, found in (("folders", "__MACOSX, train"), ("zip per split", "train.zip")):
        root = write(files("train"), tmp_path / layout, layout)
        with pytest.raises(InputError, match=f"found {found}, expected a folder val of class folders, or val.zip"):
            load(root, "val", image_size=8)
    with pytest.raises(
        InputError, match="all.zip: found __MACOSX, train, expected a folder val of class folders in it"
    ):
        load(write(files("train"), tmp_path, "one zip"), "val", image_size=8)
    with pytest.raises(InputError, match="nowhere: found nothing, expected a folder train"):
        load(tmp_path / "nowhere", "train", image_size=8)
    with pytest.raises(InputError, match="found no folders, expected one of images for each class"):
        load(write({"train/x.png": picture(0)}, tmp_path / "flat", "folders"), "train", image_size=8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_that_differ_are_named(layout: str, tmp_path: Path) -> None:
    content = files("train", "test")
    assert common_classes(write(content, tmp_path, layout), "train", "test") == tuple(sorted(CLASSES))
    for split, other in (("train", "test"), ("test", "train")):
        root = write(content | {f"{split}/owl/x.png": picture(0)}, tmp_path / f"more to {split}", layout)
        with pytest.raises(
            InputError, match=f"found the class 'owl' in {split} and not in {other}, expected it in both"
        ):
            common_classes(root, "train", "test")
    # As file systems without capitals, or a hand, write it.
    written = {path.replace("test/Zebra", "test/zebra "): data for path, data in content.items()}
    with pytest.raises(InputError, match="'Zebra' in train and not in test, where one of test is 'zebra ', with other"):
        common_classes(write(written, tmp_path / "otherwise", layout), "train", "test")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_survey_counts_without_decoding(layout: str, tmp_path: Path) -> None:
    root = write(files("train", "test"), tmp_path / "data", layout)
    assert split_names(root) == ["test", "train"]
    found = survey(root, "train", most=7)
    assert found.counts == dict.fromkeys(sorted(CLASSES), 5)
    assert found.sizes == [(8, 8)] * 7
    assert load(root, "train", image_size=4).take([3, 1]).files == ((8, 8), (8, 8))


def test_a_survey_names_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png: cannot identify image file .*, expected an image file"):
        survey(tmp_path, "train", most=9)
    for name in ("nowhere", "train/a/broken.png"):
        with pytest.raises(InputError, match="expected a folder or a zip file with splits of class folders"):
            split_names(tmp_path / name)
