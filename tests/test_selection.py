"""The same few images every time, spread evenly over the classes."""

from pathlib import Path

import pandas as pd
import pytest

from fruits.images import open_images
from fruits.images.selection import select_images


def table(**counts: int) -> pd.DataFrame:
    rows = [(f"Training/{label}/{number}.jpg", label) for label, count in counts.items() for number in range(count)]
    return pd.DataFrame(rows, columns=["path", "label"])


def chosen(images: pd.DataFrame, max_images: int, seed: int = 42) -> list[str]:
    return list(select_images(images, max_images=max_images, seed=seed)["path"])


@pytest.mark.parametrize(
    ("max_images", "counts"),
    [
        (1, [1]),
        (2, [1, 1]),
        (6, [2, 2, 2]),
        (7, [2, 2, 3]),  # the class of 2 has run out
        (9, [2, 3, 4]),
        (12, [2, 5, 5]),
        (15, [2, 5, 8]),
        (16, [2, 5, 9]),
        (999, [2, 5, 9]),
        (0, [2, 5, 9]),  # all
    ],
)
def test_images_are_spread_evenly_until_a_class_runs_out(max_images: int, counts: list[int]) -> None:
    selected = select_images(table(few=2, some=5, many=9), max_images=max_images, seed=1)
    assert sorted(selected["label"].value_counts()) == counts
    assert selected["path"].is_unique


def test_choice_is_the_same_on_every_machine() -> None:
    # Noted once: whoever changes the choice changes what MINI is, and must say so.
    assert chosen(table(a=10, b=10), 4) == [f"Training/{name}.jpg" for name in ("a/6", "a/7", "b/4", "b/6")]


@pytest.mark.parametrize("max_images", [0, 5, 99])
def test_order_and_index_of_the_listing_do_not_matter(max_images: int) -> None:
    images = table(a=4, b=30, c=9)
    shuffled = images.sample(frac=1, random_state=3)
    assert chosen(images.set_axis([0] * len(images)), max_images) == chosen(images, max_images)
    expected = select_images(images, max_images=max_images, seed=42)
    pd.testing.assert_frame_equal(select_images(shuffled, max_images=max_images, seed=42), expected)
    assert expected["path"].is_monotonic_increasing


def test_other_columns_stay_with_their_image() -> None:
    images = table(a=20, b=20).assign(length=range(40))
    selected = select_images(images, max_images=9, seed=0)
    assert selected.columns.tolist() == ["path", "label", "length"]
    pd.testing.assert_frame_equal(
        selected, images[images["path"].isin(selected["path"])].sort_values("path", ignore_index=True)
    )


def test_seed_changes_the_images_and_not_the_spread() -> None:
    images = table(a=100, b=100)
    first, second = (select_images(images, max_images=20, seed=seed) for seed in (1, 2))
    assert set(first["path"]) != set(second["path"])
    assert first["label"].value_counts().to_dict() == second["label"].value_counts().to_dict() == {"a": 10, "b": 10}


def test_choice_is_part_of_a_larger_one_and_not_the_first_files_of_a_folder() -> None:
    images = table(a=4, b=30, c=9)
    assert set(chosen(images, 5)) < set(chosen(images, 20)) < set(chosen(images, 0))
    images = table(a=1000)
    numbers = [int(Path(path).stem) for path in chosen(images, 100)]
    assert 350 < sum(numbers) / len(numbers) < 650


def test_new_class_does_not_change_the_images_of_the_others() -> None:
    images = table(a=30, b=30)
    more = pd.concat([images, table(c=30)], ignore_index=True)
    assert set(chosen(images, 20)) == {path for path in chosen(more, 30) if "/c/" not in path}


def test_names_that_are_not_utf8_can_be_chosen() -> None:
    images = pd.DataFrame({"path": ["Training/a/\udcff.jpg", "Training/a/b.jpg"], "label": "a"})
    assert len(chosen(images, 1)) == 1


def test_mini_is_7_or_8_images_of_each_of_13_apples_twice_the_same(shared: Path) -> None:
    first, second = (
        open_images(shared / "fruits-360").list_images(split="Training", classes=["Apple*"]) for _ in range(2)
    )
    mini = select_images(first, max_images=100, seed=42)
    assert (len(first), len(mini), mini["label"].nunique()) == (6404, 100, 13)
    assert set(mini["label"].value_counts()) == {7, 8}
    pd.testing.assert_frame_equal(select_images(second, max_images=100, seed=42), mini)
