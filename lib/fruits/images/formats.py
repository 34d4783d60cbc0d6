"""What a file is, by its name and by its first bytes. Runs on the workers."""

import re
import struct
from collections.abc import Callable, Iterator

Why = tuple[str, str]  # the kind of an ignored file, and the reason why it is ignored

# So many bytes tell what a file is.
HEAD_BYTES = 2048
# A picture is looked for behind so many bytes of something else.
_SEARCHED = 2**16
_ftyp = b".{4}ftyp(%b)"

# Names that Synology, QNAP, NetApp, Windows, macOS and their file servers use, in any case. Whole names: `@home` is a
# class.
_SYSTEM = {
    *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@sharesnap", "@syncdir", "@download"),
    *("@__thumb", "@synoresource", "@synologydrive", "@appstore", "@cloudstation", "lost.dir", "dfsrprivate"),
    *("#recycle", "#snapshot", "~snapshot", "lost+found", "__macosx", "$recycle.bin", "recycler", "recycled"),
    *("system volume information", "network trash folder", "temporary items", "thevolumesettingsfolder"),
    *("thefindbycontentfolder", "windows.~bt"),
    *("desktop db", "desktop df", "icon\r", "icon\uf00d", "desktop.ini", "autorun.inf"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"),
}
# Lock files of Office, recovered clusters, snapshots of file servers.
_SYSTEM_FORM = re.compile(r"~\$|(?i:found\.\d{3})\Z|@GMT-\d{4}\.")
_SYSTEM_REASON = "made by an operating system, a file server or an Office program for itself"

# What is decoded: PIL's name of it, the first bytes, the suffixes.
_DECODED = {
    "JPEG": (rb"\xff\xd8\xff", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")),
    "PNG": (rb"\x89PNG", (".png", ".apng")),
    "GIF": (rb"GIF8", (".gif",)),
    "BMP": (rb"BM.{4}\0{4}", (".bmp",)),
    "WebP": (rb"RIFF.{4}WEBP", (".webp",)),
    "TIFF": (rb"II[*+]\0|MM\0[*+]", (".tif", ".tiff")),
    "AVIF": (_ftyp % rb"avi[fs]|(mif1|msf1).{4}(....){0,16}?avi[fs]", (".avif", ".avifs")),
    "HEIF": (
        _ftyp % rb"hei[cxmsf]|hev[cxms]|mi[ah]f|mif1|msf1|MiHB|....{4}(....){0,16}?(hei[cxms]|mif1)",
        (".heic", ".heif", ".hif", ".heics", ".heifs"),
    ),
}
FORMATS = tuple(_DECODED)
IMAGE_SUFFIXES = tuple(suffix for _, suffixes in _DECODED.values() for suffix in suffixes)
# Pictures of other formats: a person can convert them.
_PICTURES = {
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ",
    "JPEG XR": rb"II\xbc",
    "a camera's RAW picture": _ftyp % b"crx " + rb"|FUJIFILMCCD-RAW|II(RO|RS|U\0)|MMOR|FOVb|\0MRM|II\x1a\0{3}HEAPCCDR",
    "a Photoshop picture": rb"8BPS",
    "a GIMP picture": rb"gimp xcf",
    "an icon (ICO)": rb"\0\0[\x01\x02]\0[^\0]\0",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?R(ADIANCE|GBE)",
    "Netpbm": rb"P[1-7]\s",
    "DDS": rb"DDS ",
    "QOI": rb"qoif",
    "BPG": rb"BPG\xfb",
    "MNG": rb"\x8aMNG|\x8bJNG",
    "DICOM": rb".{128}DICM",
    "FITS": rb"SIMPLE  =",
    "DjVu": rb"AT&TFORM",
}
_OTHERS = {
    "an HTML page": rb"(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html|<head|<body)",
    "a drawing (SVG)": rb"(\xef\xbb\xbf)?\s*<(svg|(\?xml|!--|!DOCTYPE svg).{0,2000}?<svg)",
    "a PDF document": rb"\s*%PDF",
    "a PostScript document": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a video": rb".{4}(ftyp|moov|mdat|wide|free)|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV|0&\xb2u",
    "a sound": rb"RIFF.{4}WAVE|ID3|OggS|fLaC",
    "a ZIP archive or an Office document": rb"PK(\x03\x04|\x05\x06)",
    "an archive": rb"Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|.{257}ustar",
    "an old Office document or Thumbs.db": rb"\xd0\xcf\x11\xe0",
    "a Git LFS pointer (`git lfs pull` brings the image)": rb"version https://git-lfs",
    "metadata that macOS keeps beside a file": rb"\0\x05\x16[\0\x07]",
    "a NumPy array": rb"\x93NUMPY",
    "an HDF5 file": rb"\x89HDF",
    "a Parquet file": rb"PAR1",
    "an SQLite database": rb"SQLite format 3",
    "an XML document": rb"(\xef\xbb\xbf)?\s*<\?xml",
    "a program": rb"\x7fELF|MZ.{6}",
}


def _compile(table: dict[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    return {name: re.compile(mark, re.DOTALL) for name, mark in table.items()}


_DECODED_MARKS = _compile({name: mark for name, (mark, _) in _DECODED.items()})
_PICTURE_MARKS, _OTHER_MARKS = _compile(_PICTURES), _compile(_OTHERS)
# What programs put before a picture: blank lines, zeros, a byte order mark, headers of HTTP, warnings of PHP.
_BEFORE = re.compile(
    rb"(?:[\t\n\r\x20-\x7e\0]|\xef\xbb\xbf){1,4096}?"
    rb"(?=\xff\xd8\xff|\x89PNG\r\n|RIFF.{4}WEBP|(?<=[\n\0\xbf])GIF8[79]a)",
    re.DOTALL,
)
# Frames of JPEG besides baseline, extended and progressive ones.
_FRAMES = dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical,")
_FRAMES |= {0xC3: "lossless,", 0xCB: "lossless and arithmetic,", 0xF7: "JPEG-LS,"}


def explain_ignored_name(name: str) -> Why | None:
    """Return why a file or folder of this name is ignored, with all that it holds; None if it is not."""
    if name.startswith("."):
        return "hidden", "hidden: the name begins with a dot"
    if name.casefold() in _SYSTEM or _SYSTEM_FORM.match(name):
        return "system", _SYSTEM_REASON
    return None


def explain_ignored_file(name: str, *, read_head: Callable[[], bytes]) -> Why | None:
    """Return why a file is not listed as an image; None if it is. Only of names without a suffix the head is read."""
    if not has_suffix(name):
        reason = _explain_head(read_head)
        return ("no suffix", f"no suffix, and {reason}") if reason else None
    if name.lower().endswith(IMAGE_SUFFIXES):
        return None
    suffix = "." + name.rpartition(".")[2].lower()
    common = len(suffix) <= 20 and suffix.isprintable() and " " not in suffix
    return suffix if common else "other suffix", f"not a suffix of images: {', '.join(IMAGE_SUFFIXES)}"


def has_suffix(name: str) -> bool:
    """Tell whether a name has a suffix, so that its first bytes are not needed."""
    return "." in name


def _explain_head(read_head: Callable[[], bytes]) -> str:
    try:
        head = read_head()
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    if name_decoded(head):
        return ""
    return name_other(head) or ("its first bytes are not those of an image" if head else "it is empty")


def name_decoded(content: bytes) -> str | None:
    """Return the name of the format that the bytes start like, if it is one that is decoded."""
    return _find(_DECODED_MARKS, content)


def name_other(content: bytes) -> str | None:
    """Say in a few words what bytes are that are not decoded, and what to do; None if nothing is known."""
    if picture := _find(_PICTURE_MARKS, content):
        return f"{picture}, which is not read; convert it to JPEG"
    other = _find(_OTHER_MARKS, content)
    if content and not content.strip(b"\0"):
        other = "zeros only, as an interrupted copy leaves them"
    return f"{other}, not an image" if other else None


def name_hidden(content: bytes) -> str | None:
    """Say that a JPEG lies behind bytes of something else, where one does."""
    place = content.find(b"\xff\xd8\xff", 1, _SEARCHED)
    return f"a JPEG behind {place:,} bytes of something else; take them away" if place > 0 else None


def _find(marks: dict[str, re.Pattern[bytes]], content: bytes) -> str | None:
    return next((name for name, mark in marks.items() if mark.match(content, 0, HEAD_BYTES)), None)


def skip_to_picture(content: bytes) -> bytes:
    """Leave out up to 4 kB of text or zeros that lie before a picture; other bytes come back as they are."""
    if name_decoded(content) or name_other(content) or not (before := _BEFORE.match(content)):
        return content
    return content[before.end() :]


def describe_jpeg(content: bytes) -> str | None:
    """Say of what kind a JPEG is, if it is one that PIL cannot read; None for all others."""
    for marker, segment in walk_jpeg(content):
        if segment and (marker in _FRAMES or marker in {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}):
            kind, bits = _FRAMES.get(marker, ""), segment[0]
            if bits == 8 and kind in {"", "lossless,"}:
                return None
            return f"{kind} {bits} bits a sample".strip()
    return None


def walk_jpeg(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the segments of a JPEG, without marker and length, up to where they are no longer well formed."""
    place = 2
    while place + 5 <= len(content) and content[place] == 0xFF:
        marker, (length,) = content[place + 1], struct.unpack_from(">H", content, place + 2)
        if marker == 0xFF:
            place += 1
        else:
            yield marker, content[place + 4 : place + 2 + length]
            place += 2 + length
