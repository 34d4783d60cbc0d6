"""Runs side by side and in pairs, against known answers and scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
from finished_runs import RATES, make_features, make_run
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.neighbors import NearestNeighbors

from fruits.comparison import facts, findings, pairs
from fruits.comparison.findings import find_nearest, measure_features
from fruits.comparison.runs import Run, find_manifests, read_runs
from fruits.errors import UsageError
from fruits.features.engines import TOLERANCE
from fruits.ownership import CLUSTER
from fruits.results import VARIANCE

FEATURES = make_features()
NOISE = TOLERANCE * np.asarray(np.random.default_rng(1).uniform(-0.1, 0.1, FEATURES.shape), np.float32)


def read(*manifests: Path) -> list[Run]:
    return read_runs(manifests)


def find_results(manifest: Path) -> Path:
    (run,) = read(manifest)
    assert run.results
    return run.results


def judge(*manifests: Path) -> dict[str, str]:
    """Return the verdict on each thing that was compared of two runs."""
    (pair,) = pairs.compare_pairs(read(*manifests))
    return {finding.what: finding.verdict for finding in pair.findings}


def say(*manifests: Path) -> str:
    (pair,) = pairs.compare_pairs(read(*manifests))
    return pair.describe()


def test_runs_are_found_by_name_folder_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [make_run(tmp_path, name, FEATURES) for name in ("one", "two", "caf\u00e9")]
    reports = tmp_path / "reports"
    monkeypatch.chdir(reports / "local")
    asked = ["one", "./two", "cafe\u0301", str(files[0])]
    assert find_manifests(asked, target="local", report_dir=reports) == [*files, files[0]]
    with pytest.raises(UsageError, match=r"three is no run of .*there are reports of café, one, two\. Name one"):
        find_manifests(["three"], target="local", report_dir=reports)
    with pytest.raises(UsageError, match=r"no mode has a report to compare; .* café, one, two"):
        find_manifests([], target="local", report_dir=reports)
    with pytest.raises(UsageError, match="there are reports of no run"):
        find_manifests([], target="emr", report_dir=reports)
    (reports / "local/MINI").mkdir()
    (reports / "local/MINI/manifest.json").write_text("{}")
    assert find_manifests([], target="local", report_dir=reports) == [reports / "local/MINI/manifest.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"params": {"name": ""}, "mode": "MINI", "target": "emr"}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UsageError, match=r"manifest\.json is no manifest of a finished run \("):
        read(tmp_path / "manifest.json")


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    here, there = (make_run(tmp_path / place, "mine", FEATURES) for place in ("a", "b"))
    other = make_run(tmp_path / "c", "mine", FEATURES, target="emr")
    assert [run.name for run in read(here, other)] == ["mine (local)", "mine (emr)"]
    assert [run.name for run in read(here, there, other)] == ["mine (local) 1", "mine (local) 2", "mine (emr)"]


def test_facts_are_side_by_side_and_dashes_where_a_manifest_says_nothing(tmp_path: Path) -> None:
    new = make_run(tmp_path, "new", FEATURES)
    (new.parent / CLUSTER).write_text(json.dumps({"cost": {"amount": 1.234, "currency": "USD", "minutes": 9}}))
    told = json.loads(make_run(tmp_path, "old", FEATURES[:20]).read_text())
    old = tmp_path / "reports/local/old/manifest.json"
    for key in ("quality", "seconds", "images_per_second", "git_commit", "started"):
        del told[key]
    old.write_text(json.dumps(told))
    runs = read(new, old)
    table = facts.tabulate_runs(runs)
    assert table["new"].to_dict() == {
        "mode, target": "MINI, local",
        "started": "2026-11-26 08:00",
        "commit": "abc1234",
        "network": "mobilenet_v2",
        "engine": "litert",
        "input, pixels": "–",
        "images": "30",
        "computed in this run": "30",
        "images/s": "100",
        "seconds, all stages": "12",
        "components kept (k)": "8",
        "variance kept": "100.0%",
        "components for 95%": "more than 8",
        "components enough, by group": "–",
        "accuracy, official, k = 2": "90.0%",
        "accuracy, 0 → r, k = 2": "60.0%",
        "cost": "1.23 USD",
    }
    missing = {name for name, text in table["old"].items() if text == "–"}
    assert missing - {"input, pixels", "components enough, by group"} == {
        *(
            "started",
            "commit",
            "images/s",
            "seconds, all stages",
            "accuracy, official, k = 2",
            "accuracy, 0 → r, k = 2",
            "cost",
        ),
    }
    assert facts.list_seconds(runs).to_dict("index") == {
        "new": {"listing": 1.0, "extraction": 8.0, "pca": 2.5},
        "old": {"listing": 0.0, "extraction": 0.0, "pca": 0.0},
    }


def test_results_of_another_run_are_not_taken(tmp_path: Path) -> None:
    kept, changed, gone, other = (make_run(tmp_path, name, FEATURES) for name in ("kept", "changed", "gone", "other"))
    variance = tmp_path / "data/changed" / VARIANCE
    variance.write_text(variance.read_text().replace("\n1,0.", "\n1,0.1"))
    (tmp_path / "data/gone/run.json").unlink()
    told = json.loads(other.read_text())
    other.write_text(json.dumps(told | {"pca": told["pca"] | {"cumulative": 0.97}}))
    runs = read(kept, changed, gone, other)
    assert [run.note for run in runs] == [
        "",
        f"{tmp_path}/data/changed holds a mixed set of results: {VARIANCE} was changed; run again",
        f"its results are not in {tmp_path}/data/gone",
        f"{tmp_path}/data/other holds results of another run",
    ]
    table = pairs.tabulate_pairs(pairs.compare_pairs(runs))
    assert table["common images"].tolist() == ["0"] * 6
    # Manifests that chose the same images are enough for the accuracies.
    assert judge(kept, gone) == {
        "images": "not compared",
        "accuracy, official": "same within noise",
        "accuracy, 0 → r": "same within noise",
    }
    few = make_run(tmp_path, "few", FEATURES[:9])
    assert judge(few, gone) == {"images": "not compared"}


def test_runs_that_differ_by_less_than_the_tolerance_are_the_same(tmp_path: Path) -> None:
    one = make_run(tmp_path, "one", FEATURES)
    two = make_run(tmp_path, "two", FEATURES + NOISE, model="model-b", rates={**RATES, "official": (0.94, 0.89, 0.97)})
    assert judge(one, two) == dict.fromkeys(
        ["features", "variances", "accuracy, official", "accuracy, 0 → r", "neighbours"], "same within noise"
    )
    assert say(one, two).startswith("30 images in common. Changed: nothing that the manifests record.\n\n- features:")


def test_runs_that_differ_by_more_are_not(tmp_path: Path) -> None:
    one = make_run(tmp_path, "one", FEATURES)
    other = make_features(30, 9)[:, 1:]
    two = make_run(tmp_path, "two", other, model="model-b", rates={"official": (0.94, 0.91, 0.97), "r->0": (1, 1, 1)})
    assert judge(one, two) == dict.fromkeys(["features", "variances", "accuracy, official", "neighbours"], "differs")
    gap = np.abs(FEATURES.astype(np.float64) - other).max()
    cosine = 1 - paired_cosine_distances(FEATURES.astype(np.float64), other.astype(np.float64))
    said = say(one, two)
    assert f"the largest difference is {gap:#.2g} (noise: up to 0.0002)" in said
    assert f"{cosine.mean():.6f} on average, {cosine.min():.6f} at least, of 30 images" in said
    assert "90.0% [85.0, 95.0] and 94.0% [91.0, 97.0] with k = 2: at least one lies outside" in said
    table = pairs.tabulate_pairs(pairs.compare_pairs(read(one, two)))
    assert table.columns.tolist() == ["common images", "features", "variances", "official", "neighbours"]
    assert table.loc["one and two", "official"] == "differs (+4.0)"


def test_features_are_measured_image_by_image(tmp_path: Path) -> None:
    other = FEATURES.copy()
    other[3] *= -2
    files = [make_run(tmp_path, "one", FEATURES), make_run(tmp_path, "two", other, model="model-b")]
    images = [pairs.read_images(run) for run in read(*files)]
    gaps = measure_features(pairs.match_images(*images))
    assert np.flatnonzero(gaps["largest"]).tolist() == [3]
    np.testing.assert_allclose(gaps["cosine"], np.where(np.arange(30) == 3, -1, 1))
    assert gaps["magnitude"][3] == 2 * np.abs(FEATURES[3]).max()


def test_neighbours_are_those_of_scikit_learn(tmp_path: Path) -> None:
    features = make_features(300)
    file = make_run(tmp_path, "one", features)
    chosen = np.arange(0, 300, 2)[::-1]
    found = find_nearest(find_results(file), [f"Training/Kiwi/{row:03}.jpg" for row in chosen], count=10)
    right = NearestNeighbors(n_neighbors=10).fit(features[chosen]).kneighbors(return_distance=False)
    np.testing.assert_array_equal(found, right)
    other = features[::-1].copy()
    theirs = NearestNeighbors(n_neighbors=10).fit(other).kneighbors(return_distance=False)
    ours = NearestNeighbors(n_neighbors=10).fit(features).kneighbors(return_distance=False)
    kept = np.mean([len(set(one) & set(two)) / 10 for one, two in zip(ours, theirs, strict=True)])
    said = say(file, make_run(tmp_path, "two", other, model="model-b"))
    share = np.floor(1000 * np.mean(ours[:, 0] == theirs[:, 0]) + 1e-9) / 10
    assert f"{share:.1f}% of 300 images keep their nearest neighbour" in said
    assert f"of the 10 nearest {np.floor(1000 * kept + 1e-9) / 10:.1f}% are the same" in said


def test_very_many_images_are_thinned_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = make_features(300)
    file = make_run(tmp_path, "one", features)
    paths = [f"Training/Kiwi/{row:03}.jpg" for row in range(300)]
    results = find_results(file)
    everything = find_nearest(results, paths, count=3)
    monkeypatch.setattr(findings, "QUERIES", 100)
    monkeypatch.setattr(findings, "_ROWS", 30)
    np.testing.assert_array_equal(find_nearest(results, paths, count=3), everything[::3])


def test_other_widths_still_have_neighbours(tmp_path: Path) -> None:
    wide = np.hstack([FEATURES, np.zeros((30, 2), np.float32)])
    files = make_run(tmp_path, "one", FEATURES), make_run(tmp_path, "two", wide, model="model-b")
    found = judge(*files)
    assert (found["features"], found["neighbours"]) == ("not compared", "same within noise")
    assert "they have 8 and 10 values" in say(*files)


def test_features_of_untrained_weights_may_differ_by_their_size(tmp_path: Path) -> None:
    large = {"one": 1000.0 * FEATURES, "two": 1000.0 * (FEATURES + NOISE)}
    files = [make_run(tmp_path, name, features, model=name) for name, features in large.items()]
    assert judge(*files)["features"] == "differs"
    for file in files:
        told = json.loads(file.read_text())
        file.write_text(json.dumps(told | {"params": told["params"] | {"weights": "random"}}))
    assert judge(*files)["features"] == "same within noise"


def test_the_same_stored_features_are_not_read(tmp_path: Path) -> None:
    one, part = make_run(tmp_path, "one", FEATURES), make_run(tmp_path, "part", FEATURES[:20])
    said = say(one, part)
    assert "20 images in common" in said
    assert "both runs read the same stored features" in said
    assert said.count("one run has images that the other has not") == 2


def test_images_are_the_same_by_path_and_content(tmp_path: Path) -> None:
    one = make_run(tmp_path, "one", FEATURES)
    assert "10 images in common" in say(one, make_run(tmp_path, "later", FEATURES, model="model-b", first=20))
    assert "the runs have no images in common" in say(one, make_run(tmp_path, "none", FEATURES, first=30))
    changed = make_run(tmp_path, "changed", FEATURES, model="model-c", digest="x")
    assert "the runs have no images in common" in say(one, changed)
    tagged = make_run(tmp_path, "tagged", FEATURES, model="model-d", digest="tag:")
    assert "30 images in common" in say(one, tagged)
    assert "there is one common image only" in say(
        one, make_run(tmp_path, "end", FEATURES[:2], model="model-e", first=29)
    )


def test_features_that_are_not_stored_are_said_to_be_missing(tmp_path: Path) -> None:
    one, two = make_run(tmp_path, "one", FEATURES), make_run(tmp_path, "two", FEATURES, model="model-b")
    (tmp_path / "data/features/model-b/batch-two/_SUCCESS").unlink()
    assert "features: **not compared**: those of two are not stored here" in say(one, two)
    assert judge(one, two)["neighbours"] == "same within noise"


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (None, "accuracy: **not compared**: the manifests have no test in common"),
        ({"official": {"accuracy": {"2": {"nn1": 0.9}}, "test": 40}}, "a manifest has no intervals"),
        (
            {"official": {"accuracy": {"2": {"nn1": 0.9}}, "interval": {"2": {"nn1": [0.8, 1]}}, "test": 41}},
            "tested on 40 and on 41 images",
        ),
    ],
)
def test_accuracies_that_cannot_be_compared_are_not(tmp_path: Path, quality: object, said: str) -> None:
    one = make_run(tmp_path, "one", FEATURES)
    assert said in say(one, make_run(tmp_path, "two", FEATURES, model="model-b", quality=quality))


def test_what_was_changed_is_named(tmp_path: Path) -> None:
    one = make_run(tmp_path, "one", FEATURES, versions={"numpy": "2.1"})
    two = make_run(tmp_path, "two", FEATURES, git_commit="9" * 40, versions={"numpy": "2.2"})
    told = json.loads(two.read_text())
    params = told["params"] | {"classes": ["Kiwi", "Fig"], "seed": 7}
    two.write_text(json.dumps(told | {"params": params, "model": told["model"] | {"engine": "tensorflow"}}))
    assert pairs.list_changes(*read(one, two)) == [
        "engine: litert → tensorflow",
        "classes: Apple* → Kiwi, Fig",
        "seed: 42 → 7",
        "commit: abc1234def → 9999999",
        "numpy: 2.1 → 2.2",
    ]
