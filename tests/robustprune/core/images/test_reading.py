"""The one reader of pictures: any file is RGB with 8 bits per channel, or one sentence."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from robustprune.core.errors import InputError
from robustprune.core.images.reading import Exif, check_checksums, read_rgb

EXIF: tuple[Exif, ...] = ("ignore", "apply")


def encoded(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [("png", "I;16"), ("tiff", "I;16"), ("tiff", "I;16B")])
def test_16_bits_are_scaled_to_their_upper_byte(kind: str, mode: str) -> None:
    values = np.array([[0, 255, 256], [0x80FF, 0xFF00, 0xFFFF]], dtype=np.uint16)
    image = Image.fromarray(values)
    if mode == "I;16B":
        image = Image.frombytes(mode, (3, 2), values.astype(">u2").tobytes())
    rgb, found = read_rgb(io.BytesIO(encoded(image, kind)), "x")
    assert (rgb.mode, found.is_deep) == ("RGB", True)
    assert np.asarray(rgb)[..., 0].tolist() == [[0, 0, 1], [0x80, 0xFF, 0xFF]]


@pytest.mark.parametrize(
    "content", [b"P5 3 1 65535\n\0\xff\x80\xff\xff\xff", b"P2 3 1 65535\n255 33023 65535\n", b"P2 3 1 510\n0 256 510\n"]
)
def test_graymaps_of_16_bits_are_scaled_too(content: bytes) -> None:
    rgb, found = read_rgb(io.BytesIO(content), "x.pgm")
    assert (rgb.mode, found.is_deep) == ("RGB", True)
    assert np.asarray(rgb)[0, :, 0].tolist() == [0, 0x80, 0xFF]


@pytest.mark.parametrize(("mode", "said"), [("I", "32 bits"), ("F", "floating point")])
def test_pixels_of_an_unknown_range_are_refused(mode: str, said: str) -> None:
    content = encoded(Image.new(mode, (4, 4), 3), "tiff")
    with pytest.raises(InputError, match=f"^x: found pixels of {said} .*, expected 8 or 16 bits per channel$"):
        read_rgb(io.BytesIO(content), "x")


@pytest.mark.parametrize("file_format", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_tag_is_applied_on_demand(orientation: int, file_format: str) -> None:
    stored, metadata = Image.new("RGB", (40, 24)), Image.Exif()
    stored.paste((255, 255, 255), (0, 0, 24, 8))
    metadata[ExifTags.Base.Orientation] = orientation
    content = encoded(stored, file_format, exif=metadata)
    tagged = Image.open(io.BytesIO(encoded(stored, "png" if file_format == "tiff" else file_format, exif=metadata)))
    expected = ImageOps.exif_transpose(tagged)
    (as_stored, kind), (turned, same) = (read_rgb(io.BytesIO(content), "x", exif=exif) for exif in EXIF)
    assert kind == same
    assert (kind.width, kind.height, kind.orientation) == (40, 24, orientation)
    assert as_stored.size == (40, 24)
    if file_format != "jpeg":
        assert np.array_equal(np.asarray(as_stored), np.asarray(stored))
    assert np.array_equal(np.asarray(turned), np.asarray(expected))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found an empty file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "found a Git LFS pointer, whose content was not downloaded",
        ),
        (b"<!DOCTYPE html>\n<html><head>", "found a web page (HTML)"),
        (b"\xef\xbb\xbf \n<HTML lang='en'>", "found a web page (HTML)"),
        (b"PK\x03\x04" + bytes(30), "found a zip archive"),
        (b"\x1f\x8b\x08" + bytes(30), "found a gzip archive"),
        (bytes(257) + b"ustar\x0000", "found a tar archive"),
        (b"no picture\n at all", "found no picture of a format that is known"),
    ],
)
def test_a_file_that_is_no_picture_is_named_as_what_it_is(content: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_rgb(io.BytesIO(content), "a 0.png")
    assert str(caught.value).startswith(f"a 0.png: {said}")
    assert str(caught.value).endswith(", expected an image file")
    assert "\n" not in str(caught.value)


def test_pixels_that_are_not_what_was_written_are_refused_where_a_format_tells() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels), "png")
    check_checksums(content, "x")
    # Its end is in no pixel.
    check_checksums(content[:-5], "x")
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    with pytest.raises(InputError, match="^x: found pixels of another checksum than the file says, expected an image"):
        check_checksums(bytes(damaged), "x")
    check_checksums(encoded(Image.fromarray(pixels), "jpeg"), "x")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "tiff", "webp", "gif"])
def test_a_picture_that_was_cut_off_is_one_sentence(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels), kind)
    for length in (10, 60, len(content) // 2):
        with pytest.raises(InputError, match=r"^x: [^\n]+, expected an image file$"):
            read_rgb(io.BytesIO(content[:length]), "x")
