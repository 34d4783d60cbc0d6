"""The rendered sample: whole, the same every time, told apart by class, and never over foreign files."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fruits.errors import UsageError
from fruits.images import sample


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "sample" / "images"
    assert sample.ensure_sample(root) == 300
    return root


@pytest.fixture
def two_fruits(monkeypatch: pytest.MonkeyPatch) -> int:
    """Cut the sample down to what renders at once; return its number of images."""
    monkeypatch.setattr(sample, "CLASSES", tuple(dataclasses.replace(s, training=2) for s in sample.CLASSES[:2]))
    return 2 * (2 + sample.TEST_IMAGES)


def files_of(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def ages_of(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}


def thumbnails(root: Path, split: str) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    for file in sorted((root / split).rglob("*.jpg")):
        with Image.open(file) as image:
            yield file.parent.name, np.asarray(image.resize((8, 8)), dtype=np.float64).ravel()


def test_counts_of_classes_and_splits(whole: Path) -> None:
    assert len(sample.CLASSES) == 10
    for style in sample.CLASSES:
        apple = style.name.startswith("Apple ")
        training, test = (list((whole / split / style.name).glob("*_100.jpg")) for split in ("Training", "Test"))
        assert (len(training), len(test)) == (32 if apple else 22, 4)
        for files in (training, test):  # of two films, and each film is in both splits
            assert sum(file.name.startswith("r_") for file in files) * 2 == len(files)
    assert len(list(whole.glob("Training/Apple*/*.jpg"))) >= 120
    assert sorted(path.name for path in whole.iterdir()) == ["Test", "Training", "sample.json"]


def test_images_are_100_pixels_rgb_fruit_on_white(whole: Path) -> None:
    for file in whole.rglob("*.jpg"):
        with Image.open(file) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (100, 100), "RGB")
            pixels = np.asarray(image)
        assert pixels[[0, 0, -1, -1], [0, -1, 0, -1]].min() >= 250, file
        assert 0.15 < (pixels.min(axis=2) < 230).mean() < 0.85, file


def test_render_is_deterministic_and_no_two_images_are_equal() -> None:
    style = sample.CLASSES[0]
    poses = [("0", 0), ("0", 20), ("r", 0)]
    first, again = ([sample.render_fruit(style, film=film, frame=frame) for film, frame in poses] for _ in range(2))
    assert (first[0].shape, first[0].dtype) == ((100, 100, 3), np.dtype(np.uint8))
    np.testing.assert_array_equal(first, again)
    # A frame is nearer to the next one of its film than to another film's.
    start, following, other = (image.astype(float) for image in first)
    assert 0 < np.abs(following - start).mean() < np.abs(other - start).mean()


def test_two_folders_get_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    sample.ensure_sample(tmp_path / "other")
    assert files_of(tmp_path / "other") == files_of(whole)
    before = ages_of(whole)
    assert sample.ensure_sample(whole) == 300  # a second call touches nothing
    assert ages_of(whole) == before


def test_nearest_class_mean_tells_the_classes_apart(whole: Path) -> None:
    training = list(thumbnails(whole, "Training"))
    names = sorted({name for name, _ in training})
    means = np.stack([np.mean([pixels for name, pixels in training if name == wanted], axis=0) for wanted in names])
    hits = [
        names[np.linalg.norm(means - pixels, axis=1).argmin()] == name for name, pixels in thumbnails(whole, "Test")
    ]
    assert np.mean(hits) > 0.8  # chance: 0.1


@pytest.mark.parametrize("damage", ["lost image", "lost class", "old version"])
def test_damaged_sample_is_rendered_anew(two_fruits: int, tmp_path: Path, damage: str) -> None:
    root = tmp_path / "images"
    assert sample.ensure_sample(root) == two_fruits
    sound = files_of(root)
    lost = root / "Training" / sample.CLASSES[0].name / "0_100.jpg"
    if damage == "lost image":
        lost.unlink()
    elif damage == "lost class":
        lost.parent.rename(tmp_path / "elsewhere")
    else:
        (root / sample.MARKER).write_text(json.dumps({"renderer": 0, "images": two_fruits}), encoding="utf-8")
    assert sample.ensure_sample(root) == two_fruits
    assert files_of(root) == sound


@pytest.mark.parametrize("name", ["strange.jpg", "notes.txt", "Training/Mine/0_100.jpg"])
def test_a_sample_that_gained_files_is_not_rendered_anew(two_fruits: int, tmp_path: Path, name: str) -> None:
    root = tmp_path / "images"
    sample.ensure_sample(root)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("mine", encoding="utf-8")
    (root / "Training" / sample.CLASSES[0].name / "0_100.jpg").unlink()
    before = files_of(root)
    with pytest.raises(UsageError, match=f"holds 1 files or folders that no run put there: '{name}'"):
        sample.ensure_sample(root)
    assert files_of(root) == before


def test_a_file_that_appears_while_the_sample_is_rendered_stays(
    two_fruits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_args: object, **_kwargs: object) -> npt.NDArray[np.uint8]:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images/mine.txt").write_text("mine", encoding="utf-8")
        return np.zeros((100, 100, 3), np.dtype(np.uint8))

    monkeypatch.setattr(sample, "render_fruit", render)
    with pytest.raises(UsageError, match=r"'mine\.txt'"):
        sample.ensure_sample(tmp_path / "images")
    assert files_of(tmp_path / "images") == {"mine.txt": b"mine"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("holiday.jpg", "mine"), (sample.MARKER, '{"mine": 1}'), (sample.MARKER, "[]"), ("sample.json", "{")],
)
def test_foreign_folder_is_refused_and_left_alone(two_fruits: int, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"something else than our sample.*Move the files away"):
        sample.ensure_sample(tmp_path)
    assert files_of(tmp_path) == {name: content.encode()}
    with pytest.raises(UsageError, match="something else"):  # a file in the way
        sample.ensure_sample(tmp_path / name)


def test_empty_folder_is_filled_and_an_error_leaves_no_trace(
    two_fruits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "images"
    root.mkdir()
    with monkeypatch.context() as broken:
        broken.setattr(sample, "render_fruit", lambda *_args, **_kwargs: pytest.fail("no paint left"))
        with pytest.raises(pytest.fail.Exception, match="no paint left"):
            sample.ensure_sample(root)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / ".in-use", root]
    assert sample.ensure_sample(root) == two_fruits
