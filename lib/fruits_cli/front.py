"""What the first screen of a report says: the answer, the main figures, and where they are from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fruits.manifest import find_value, list_rates, show_test
from fruits.pca import format_share, format_target

_DATASET, _CREDIT = "fruits-360", "Fruits-360 by Horea Muresan and Mihai Oltean, MIT licence"
_ENOUGH = ("quality", "components_within_one_point")
_SHOWN_VERSIONS = ("fruits", "python", "spark", "java", "platform")


@dataclass(frozen=True)
class Front:
    """Sentences that ask and answer; figures and facts as pairs of name and text; files beside the page."""

    asked: str
    answer: str
    tiles: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    links: Mapping[str, str]


def describe_front(manifest: Mapping[str, Any], *, links: Mapping[str, str] = MappingProxyType({})) -> Front:
    """Gather the first screen from what `manifest.json` holds; `quality`, `author` and `cost` may be missing.

    `links` are files beside the page, with what they show.
    """
    params = manifest["params"]
    classes = "all classes" if list(params["classes"]) == ["*"] else ", ".join(params["classes"])
    asked = (
        f"{manifest['mode']}: {manifest['counts']['listed']:,} images of {classes} in "
        f"{params['split']}; the variance to keep is {format_target(params['variance_target'])}."
    )
    return Front(asked, _answer(manifest), _list_tiles(manifest), _list_facts(manifest), links)


def _answer(manifest: Mapping[str, Any]) -> str:
    pca, count = manifest["pca"], _find_count(manifest)
    accuracy = dict(_list_accuracies(manifest, count))
    official = accuracy.pop("official", None)
    if find_best(manifest) and accuracy:
        films = " and ".join(f"{share} ({way})" for way, share in accuracy.items())
        every = count == manifest["model"]["features"]
        found = f"All {count:,} features are needed" if every else f"{count:,} components are enough"
        first = (
            f"{found}: trained on one group of images and tested on another (in Fruits-360: a film), a "
            f"nearest-neighbour classifier is then right for {films}, within one point of the best k tried."
        )
        return first + f" On the other split it is right for {official}{_explain_official(manifest)}." * bool(official)
    kept = f"{format_share(pca['cumulative'])} of the variance of {manifest['counts']['features']:,} images"
    needed, target = pca["components_for_target"], format_target(pca["variance_target"])
    reached = f"is reached with {needed:,}" if needed else "is not reached"
    second = (
        f"A nearest-neighbour classifier on {count:,} numbers an image is right for {official} of the official split."
    )
    return f"{pca['kept']:,} components keep {kept}. " + (second if official else f"The target of {target} {reached}.")


def _explain_official(manifest: Mapping[str, Any]) -> str:
    share = find_value(manifest, "quality", "nearest_in_same_group")
    said = "of its images have their nearest training image in their own group and class"
    return f": {100 * share:.1f}% {said}" if share else ""


def find_best(manifest: Mapping[str, Any]) -> int | None:
    """Return the number of components that the quality by group recommends; None if it was not measured."""
    best = find_value(manifest, *_ENOUGH, "by_group")
    return None if best is None else int(best)


def _find_count(manifest: Mapping[str, Any]) -> int:
    """Return the number of components whose accuracies are shown."""
    return find_best(manifest) or int(find_value(manifest, *_ENOUGH, "official") or manifest["pca"]["kept"])


def _list_accuracies(manifest: Mapping[str, Any], count: int) -> list[tuple[str, str]]:
    """Return the accuracy of 1-nearest neighbour with so many components: of the official split and each way."""
    k = "all" if count == manifest["model"]["features"] else str(count)
    rates = list_rates(manifest)
    return [(show_test(name), f"{100 * rate[k]:.1f}%") for name, rate in rates.items() if k in rate]


def _list_tiles(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts, pca, best, count = manifest["counts"], manifest["pca"], find_best(manifest), _find_count(manifest)
    rate = manifest["images_per_second"]
    return [
        ("images", f"{counts['features']:,}"),
        ("errors", f"{counts['errors']:,}"),
        ("ignored files", f"{manifest['ignored']:,}"),
        ("components kept", f"{pca['kept']:,}"),
        ("variance kept", format_share(pca["cumulative"])),
        *([("components enough", f"{best:,}")] if best else []),
        *((f"right, {name}, k = {count}", share) for name, share in _list_accuracies(manifest, count)),
        *([("images/s", f"{rate:,.0f}")] if rate else []),
    ]


def _list_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    params, model, versions = manifest["params"], manifest["model"], manifest["versions"]
    weights = "untrained weights" if params["weights"] == "random" else f"weights {Path(params['weights']).name}"
    named = (f"{name} {versions[name]}" for name in _SHOWN_VERSIONS if versions.get(name))
    facts = {
        "date": datetime.fromisoformat(manifest["started"]).strftime("%Y-%m-%d %H:%M %Z"),
        "author": manifest.get("author"),
        "commit": f"{manifest['git_commit'] or 'unknown'}{' (edited since)' * bool(manifest['git_dirty'])}",
        "images": _name_data(params),
        "network": f"{model['backbone']}, {weights}, {model['input_size']} pixels, {model['features']:,} features",
        "cost": manifest.get("cost") and f"the cluster costs {manifest['cost']}",
        "versions": ", ".join(named),
    }
    return [(name, value) for name, value in facts.items() if value]


def _name_data(params: Mapping[str, Any]) -> str:
    if params["target"] == "sample":
        return "sample, drawn by this program; it says nothing about fruit"
    known = _DATASET in params["input_dir"].lower()
    return f"{_CREDIT}; {params['input_dir']}" if known else f"{params['input_dir']}; its licence is not known here"
