"""A corpus of files that folders of images hold in spite of their names, as code, with what must become of each."""

import base64
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image
from tiffs import make_lossless_jpeg, make_tiff

RNG = np.random.default_rng(1)


@dataclass(frozen=True)
class Nasty:
    """A file by its path below `input_dir`: features come of it, or an error row of this stage and reason (a regex)."""

    path: str
    content: bytes | Callable[[Path], None]
    stage: str = ""
    reason: str = ""
    spelt: str = ""

    @property
    def listed(self) -> str:
        """The path that the listing gives it."""
        return self.spelt or self.path


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encode_heic(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream)
    return stream.getvalue()


def noise(*shape: int, dtype: Any = np.uint8) -> Image.Image:
    return Image.fromarray(RNG.integers(0, np.iinfo(dtype).max, shape, dtype))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """Spell a PNG out: for depths that PIL cannot write, and for sizes that it should not."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def claim_size(jpeg: bytes, width: int, height: int) -> bytes:
    """Let the frame header of a baseline JPEG claim another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def drop_tables(jpeg: bytes, *, marker: bytes) -> bytes:
    """Take all segments of a marker out of a JPEG."""
    while (place := jpeg.find(marker)) > 0:
        (length,) = struct.unpack(">H", jpeg[place + 2 : place + 4])
        jpeg = jpeg[:place] + jpeg[place + 2 + length :]
    return jpeg


RGB = noise(30, 40, 3)
JPEG = encode(RGB)
PNG = encode(RGB, "PNG")
HEIC = encode_heic(RGB)
# Coded arithmetically, which PIL reads but does not write: `cjpeg -arithmetic -quality 75 -grayscale` of
# libjpeg-turbo 2.1.5 on 12 x 8 pixels of a slope.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5"
    "PTgyPC4zNDL/yQALCAAIAAwBAREA/8wABgAQEAX/2gAIAQEAAD8A/wBkmFWKoXOMH7NkGotFnjbA/9k="
)
GREY_12 = np.arange(12 * 8).reshape(8, 12) * 40
TURNED = Image.Exif()
TURNED[0x0112] = 6

# Contents that give features, by the file's name in the class folder.
READABLE: dict[str, bytes] = {
    "UPPER.JPG": JPEG,
    "long suffix.jpeg": JPEG,
    "no extension": JPEG,
    "a PNG.jpg": PNG,
    "a GIF.jpg": encode(RGB, "GIF"),
    "a BMP.jpg": encode(RGB, "BMP"),
    "a WebP.jpg": encode(RGB, "WEBP"),
    "a TIFF.jpg": encode(RGB, "TIFF"),
    "an AVIF.jpg": encode(RGB, "AVIF"),
    "a JPEG.png": JPEG,
    "cmyk.jpg": encode(RGB.convert("CMYK")),
    "grey.jpg": encode(RGB.convert("L")),
    "grey of 16 bits.png": encode(noise(30, 40, dtype=np.uint16), "PNG"),
    "colour of 16 bits.png": make_png(2, 2, b"\0" + bytes(range(12)) + b"\0" + bytes(range(12)), depth=16),
    "black and white.png": encode(RGB.convert("1"), "PNG"),
    "palette.png": encode(RGB.quantize(8), "PNG"),
    "palette, one transparent.png": encode(RGB.quantize(8), "PNG", transparency=3),
    "palette, some transparent.png": encode(RGB.quantize(8), "PNG", transparency=b"\0\x80\xff"),
    "transparent.png": encode(noise(30, 40, 4), "PNG"),
    "grey, transparent.png": encode(RGB.convert("LA"), "PNG"),
    "Lab colours.jpg": encode(Image.new("LAB", (3, 3)), "TIFF"),
    "one pixel.jpg": encode(noise(1, 1, 3)),
    "one column.jpg": encode(noise(10_000, 1, 3)),
    "one row.jpg": encode(noise(1, 10_000, 3)),
    "turned by EXIF.jpg": encode(RGB, exif=TURNED),
    "broken EXIF.jpg": encode(RGB, exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0\x1a\x01\x05"),
    "progressive.jpg": encode(RGB, progressive=True),
    "arithmetic.jpg": ARITHMETIC,
    "animation.jpg": encode(RGB, "GIF", save_all=True, append_images=[noise(30, 40, 3)]),
    "animation.png": encode(RGB, "PNG", save_all=True, append_images=[noise(30, 40, 3)]),
    "two in one.jpg": encode(RGB, "MPO", save_all=True, append_images=[noise(30, 40, 3)]),
    "no Huffman tables.jpg": drop_tables(JPEG, marker=b"\xff\xc4"),  # Webcams leave the standard ones out.
    "something behind.jpg": JPEG + b"GIF89a and more" * 50,
    "a line before.jpg": b"\r\n" + JPEG,
    "a warning before.png": b"<br />\n<b>Warning</b>: session_start()\n" + PNG,
    "a file with jfif.jfif": JPEG,
    "a file with jpe.JPE": JPEG,
    "animation.gif": encode(RGB, "GIF", save_all=True, append_images=[noise(30, 40, 3)]),
    "a phone's.HEIC": HEIC,
    "a phone's": HEIC,
    "a HEIC.jpg": HEIC,
    "a file of 12 bits.jpg": make_tiff(GREY_12[:, :, None], bits=12, photometric=1),
    "a large profile.png": encode(RGB, "PNG", icc_profile=bytes(2**21)),
}

NO_IMAGE = r"not an image \([\d,]+ bytes that start with b.+\); JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, HEIF are read"
TRUNCATED = r"truncated {}: its [\d,]+ bytes end before the picture does"
TOO_LARGE = (
    r"{} pixels out of [\d,]+ bytes; at most 89,478,485 in all and 65,535 on a side are decoded: make the image smaller"
)
HEADER = r"not an image: it starts like {}, but the header is damaged or cut off \([\d,]+ bytes\)"
DAMAGED = r"damaged {} \([\d,]+ bytes\): broken data stream"
GREY_32 = (
    r"TIFF with 32 bits a sample, {}, photometric interpretation 1 \(black is zero\), which is not read; "
    r"save it as grey or RGB with 8 bits a sample"
)
UNREAD = r"{}, which is not read; convert it to JPEG"
OTHER = r"{}, not an image \([\d,]+ bytes\)"
UNREAD_JPEG = r"JPEG of a kind that is not read \({}\); save it as baseline JPEG with 8 bits a sample"

# Contents that give an error row of the stage "decode", with the whole of its reason.
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", r"empty file \(0 bytes\)"),
    "one byte.jpg": (JPEG[:1], NO_IMAGE),
    **{f"cut at {end}.jpg": (JPEG[:end], HEADER.format("JPEG")) for end in (3, 4, 20)},
    **{f"cut at {end}.jpg": (JPEG[:end], TRUNCATED.format("JPEG")) for end in (30, 100, 300, 600, len(JPEG) - 1)},
    "cut.png": (PNG[: len(PNG) // 2], TRUNCATED.format("PNG")),
    "cut GIF.jpg": (encode(RGB, "GIF")[:1500], TRUNCATED.format("GIF")),
    "cut BMP.jpg": (encode(RGB, "BMP")[:1500], TRUNCATED.format("BMP")),
    "cut TIFF.jpg": (encode(RGB, "TIFF")[:1500], TRUNCATED.format("TIFF")),
    "cut WebP.jpg": (encode(RGB, "WEBP")[:300], r"damaged WebP \(300 bytes\): could not create decoder object"),
    "only a signature.png": (PNG[:10], HEADER.format("PNG")),
    "no quantization.jpg": (drop_tables(JPEG, marker=b"\xff\xdb"), DAMAGED.format("JPEG")),
    "wrong sum.png": (PNG[:30] + b"\0\0" + PNG[32:], HEADER.format("PNG")),
    "hole.png": (PNG[:200] + bytes(50) + PNG[250:], DAMAGED.format("PNG")),
    "text.jpg": (b"apples, 12 pieces\n", NO_IMAGE),
    "zeros.jpg": (bytes(5000), OTHER.format("zeros only, as an interrupted copy leaves them")),
    "page.jpg": (b"\n<!DOCTYPE html><title>404 Not Found</title>", r"an HTML page, not an image \(44 bytes\)"),
    "drawing.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", OTHER.format(r"a drawing \(SVG\)")),
    "document.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", OTHER.format("a PDF document")),
    "PostScript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", OTHER.format("a PostScript document")),
    "archive.jpg": (b"PK\3\4" + bytes(60), OTHER.format("a ZIP archive or an Office document")),
    "JPEG 2000.jpg": (encode(RGB, "JPEG2000"), UNREAD.format("JPEG 2000")),
    "HEIC.jpg": (b"\0\0\0\x18ftypheic" + bytes(60), HEADER.format("HEIF")),
    "cut.heic": (HEIC[:-20], r"damaged HEIF \([\d,]+ bytes\): .*Unexpected end of file.*"),
    "grey of 12 bits.jpg": (make_lossless_jpeg(GREY_12, bits=12), UNREAD_JPEG.format("lossless, 12 bits a sample")),
    "floats of two.jpg": (
        make_tiff(np.ones((3, 4, 2)), bits=32, photometric=1, kind=3),
        GREY_32.replace("32 bits", "32-32 bits").format("floating point"),
    ),
    "grey of 32 bits.jpg": (encode(noise(3, 4, dtype=np.int32), "TIFF"), GREY_32.format("signed")),
    "grey of floats.jpg": (encode(Image.new("F", (4, 3), 0.5), "TIFF"), GREY_32.format("floating point")),
    "large.png": (make_png(12_000, 8_000, b""), TOO_LARGE.format("12,000 x 8,000")),
    "huge.png": (make_png(2**31 - 1, 2**31 - 1, b""), TOO_LARGE.format("2,147,483,647 x 2,147,483,647")),
    "endless.png": (make_png(1, 65_536, b""), TOO_LARGE.format("1 x 65,536")),
    "huge.jpg": (claim_size(JPEG, 65_500, 65_499), TOO_LARGE.format("65,500 x 65,499")),
    "huge GIF.jpg": (b"GIF89a" + b"\xff" * 4 + encode(RGB, "GIF")[10:], TOO_LARGE.format("65,535 x 65,535")),
    "no width.png": (make_png(0, 5, b""), HEADER.format("PNG")),
}

# Folders and files whose names break globs, partitions, CSV, shells and encodings; each image is a good one.
NAMED = [
    "label=Kiwi/split=Test.jpg",
    'Pomme "Reinette", rouge/l\'été, "mûr".jpg',
    "Pe\u0302che a\u0300 l'eau/Pêche.jpg",
    "蘋果 🍎/красное яблоко.jpg",
    "100% #1/50%25 #2?a=b&c.jpg",
    "*[a-z]?/{a,b}*[0].jpg",
    "line\nbreak/two\nlines\r.jpg",
    "carriage\rreturn/a\rb.jpg",
    " spaces /  .jpg",
    "back\\slash\ttab/\\N.jpg",
    "NA/nan.jpg",
    "007/1e3.jpg",
    "-rf/--help.jpg",
    "=1+1/@SUM(A1).jpg",
    "Citrus/Lemon/deeper.jpg",
    "a.jpg/folder with a suffix.jpg",
    f"long/{'x' * 240}.jpg",
]


def link_to(target: str) -> Callable[[Path], None]:
    return lambda file: file.symlink_to(target)


def rows() -> list[Nasty]:
    """All files that are listed."""
    found = [Nasty(f"Training/odd/{name}", content) for name, content in READABLE.items()]
    found += [Nasty(f"Training/broken/{name}", content, "decode", why) for name, (content, why) in UNREADABLE.items()]
    found += [Nasty(f"Training/{name}", JPEG) for name in NAMED]
    found += [
        Nasty("Training/links/good.jpg", link_to("../odd/UPPER.JPG")),
        Nasty("Training/links/gone.jpg", link_to("nowhere.jpg"), "read", "No such file or directory"),
        Nasty("Training/links/loop.jpg", link_to("loop.jpg"), "read", "Too many levels of symbolic links"),
    ]
    if sys.platform == "linux":  # macOS refuses such names.
        name, spelt = (f"Training/links/p{byte}che.jpg" for byte in (os.fsdecode(b"\xea"), "\\udcea"))
        why = "the name is not UTF-8, or looks like one that is not; rename the file or its folder"
        found.append(Nasty(name, JPEG, "read", why, spelt))
    return found


# What is counted and not listed, with its kind; a hidden folder and one of the system count once.
Ignored = tuple[str, bytes | Callable[[Path], None]]
IGNORED: dict[str, Ignored] = {
    "Training/.DS_Store": ("hidden", b"\0\0\0\1Bud1"),
    "Training/no class.jpg": ("no class", JPEG),
    "Training/odd/.DS_Store": ("hidden", b"\0\0\0\1Bud1"),
    "Training/odd/._UPPER.JPG": ("hidden", b"\0\5\x16\7"),
    "Training/odd/Thumbs.db": ("system", b"\xd0\xcf\x11\xe0"),
    "Training/odd/desktop.ini": ("system", b"[.ShellClassInfo]"),
    "Training/odd/~$UPPER.jpg": ("system", JPEG),
    "Training/odd/Icon\r": ("system", JPEG),
    "Training/odd/half.jpg.part": (".part", JPEG[:300]),
    "Training/odd/layers.psd": (".psd", b"8BPS"),
    "Training/odd/LICENSE": ("no suffix", b"MIT License"),
    "Training/odd/CHECKSUMS": ("no suffix", b""),
    "Training/odd/photo": ("no suffix", b"\xff\x0a\xfa\x1f" + bytes(60)),
    "Training/odd/pipe.jpg": ("pipe", os.mkfifo),
    "Training/odd/.cache": ("hidden", lambda folder: folder.mkdir()),
    "Training/odd/@eaDir": ("system", lambda folder: folder.mkdir()),
    "Training/#recycle": ("system", lambda folder: folder.mkdir()),
    "Training/only notes/notes.txt": (".txt", b"buy apples"),
    "Training/links/self": ("no suffix", link_to("self")),
    "Training/links/zero.jpg": ("device", link_to("/dev/zero")),
}


def write_corpus(root: Path) -> None:
    """Write all files, folders without any image, and links that lead in circles."""
    files = [(row.path, row.content) for row in rows()] + [(path, made) for path, (_, made) in IGNORED.items()]
    for path, content in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (root / path).write_bytes(content)
        else:
            content(root / path)
    for folder in ("odd/.cache", "odd/@eaDir/UPPER.JPG", "#recycle/Kiwi"):
        (root / "Training" / folder).mkdir(parents=True, exist_ok=True)
        (root / "Training" / folder / "1.jpg").write_bytes(JPEG)
    (root / "Training/empty").mkdir()
    (root / "Training/links/up").symlink_to("..", target_is_directory=True)
    (root / "Training/links/again").symlink_to("../odd", target_is_directory=True)
