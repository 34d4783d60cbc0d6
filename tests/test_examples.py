"""Examples: one of each class in turn, what cannot be read passed over."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from fruits.images.decode import decode_image
from fruits.images.tree import ClassFolders


def test_examples_are_one_of_each_class_in_turn_without_the_unreadable(
    tmp_path: Path, image_bytes: Callable[..., bytes]
) -> None:
    good, red = image_bytes(kind="PNG"), image_bytes((255, 0, 0), kind="PNG")
    contents = {"a/1.png": b"broken", "a/2.png": good, "a/3.png": good, "b/1.png": red, "c/gone.png": None}
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        if content:
            (tmp_path / path).write_bytes(content)
    images = pd.DataFrame({"path": list(contents), "label": [path[0] for path in contents]})

    examples = ClassFolders(tmp_path).read_examples(images, count=3)

    assert [label for label, _ in examples] == ["b", "a", "a"]
    assert {pixels.shape for _, pixels in examples} == {(100, 100, 3)}
    np.testing.assert_array_equal(examples[0][1], decode_image(red, size=100))
    assert len(ClassFolders(tmp_path).read_examples(images, count=1)) == 1
    photograph = image_bytes(size=300)
    (tmp_path / "b/2.jpg").write_bytes(photograph)
    picture = np.asarray(ClassFolders(tmp_path).open_picture("b/2.jpg", size=32))
    np.testing.assert_array_equal(picture, decode_image(photograph, size=32, draft=True))
    assert (picture != decode_image(photograph, size=32)).any()
    white, shown = ClassFolders(tmp_path).read_pictures(["c/gone.png", "b/1.png"])
    assert (white == 255).all()
    np.testing.assert_array_equal(shown, decode_image(red, size=100))
