"""Parameters: from files, from `--set` and from a notebook, all problems in one error."""

import dataclasses
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from papermill.translators import translate_parameters

from fruits import params
from fruits.errors import UsageError
from fruits.notebook import read_params
from fruits.params import TARGETS, RunParams, keys_of, list_modes, load_params

REPOSITORY = Path(__file__).resolve().parents[1]
VALUES = dataclasses.asdict(load_params("MINI", "sample"))
WRONG = {  # YAML texts by key, with what is allowed
    ("max_images", ">= 0"): ["-1", "true", "100.0", "1e2", "", "'100'", "010", "0x10", "1_0", "1:30"],
    ("pca_components", ">= 1"): ["0", "-3", "false", "2.5"],
    ("variance_target", "above 0, at most 1"): ["0", "1.01", "true", ".nan", ".inf", "most", "01", "0:0.5"],
    ("classes", "list of globs"): ["Apple*", "[]", "[No]", "['']", "{Apple: 1}"],
    ("split", "the name of a folder in input_dir"): [
        *("../Training", "a/b", "/", "..", ".", ".hidden", "", "Training/", "a\0b"),
    ],
    ("input_dir", "folder"): ["", " "],
    ("spark_master", "local[N,FAILURES]"): [
        *("nonsense", "local[]", "local[0]", "local[2,0]", "LOCAL[2]", "local[*] ", "spark://", "yarn client", "2"),
        *('""', "local-cluster[2,1]", "k8s:host"),
    ],
    ("name", "a folder name other than"): [
        *("features", "Models", "raw", "MINI", "full", "a/b", "..", ".x", " ", "a" * 201, "a\nb"),
    ],
    ("csv", "one of international, excel-fr"): ["excel", "", "EXCEL-FR"],
    ("driver_memory", "at least 512m"): ["1m", "511m", "0g", "4", "4gb", "-4g", "", "4G"],
    ("seed", "from 0 to 2**32 - 1"): ["-1", "4294967296"],
    ("max_error_share", "from 0 to 1"): ["-0.1", "1.1", "true"],
    ("images_per_task", ">= 1"): ["0"],
    ("batch_size", ">= 1"): ["0"],
    ("seed", "YAML"): ["*", "[", "2020-13-45", "!!int x"],  # what YAML itself stumbles over
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(REPOSITORY / "params", tmp_path / "params")
    monkeypatch.setattr(params, "repository", lambda: tmp_path)
    return tmp_path / "params"


def spoil(file: Path, without: str, **changes: Any) -> None:
    content = yaml.safe_load(file.read_text()) | changes
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if key != without}))


def assign(without: str = "", **changes: Any) -> str:
    return "\n".join(f"{key} = {value!r}" for key, value in (VALUES | changes).items() if key != without)


def inject(**values: Any) -> str:
    return str(translate_parameters("python3", "python", values, "Parameters"))


def load_cells(*sources: str) -> RunParams:
    namespace: dict[str, Any] = {}  # as IPython does: one namespace, the cells' sources in `In`
    exec("\n".join(sources), namespace)  # noqa: S102 - our own cells
    return read_params(namespace | {"In": ["", *sources, "%time run()", "read_params(globals())"]})


def test_livy_keeps_no_history_and_its_variables_are_taken() -> None:
    assert read_params(VALUES | {"spark": object(), "computed": 5}) == load_cells(assign())
    without = {key: value for key, value in VALUES.items() if key != "seed"}
    with pytest.raises(UsageError, match=r"notebook: seed: missing; allowed: an integer from 0"):
        read_params(without)


def test_a_package_that_came_as_a_zip_has_no_repository(tmp_path: Path) -> None:
    """As Livy's session has it: no params/ to look modes up in, and no place that a relative path could start from."""
    archive = tmp_path / "fruits.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in sorted((REPOSITORY / "lib" / "fruits").rglob("*.py")):
            zipped.write(file, file.relative_to(REPOSITORY / "lib"))
    code = f"""
import sys
sys.path.insert(0, {str(archive)!r})
from fruits.errors import UsageError
from fruits.params import find_repository
from fruits.notebook import read_params
from fruits.session import find_s3_jars
params = read_params({VALUES | {"mode": "MY_OWN", "output_dir": "/there", "input_dir": "data/here"}!r})
print(find_repository(), find_s3_jars(), params.path("output_dir"), params.mode)
try:
    params.path("input_dir")
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "None [] /there MY_OWN",
        "data/here is relative, and no repository is here; name s3://BUCKET/... or an absolute path.",
    ]


@pytest.mark.parametrize("file", sorted((REPOSITORY / "params").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_states_every_key_of_its_kind_and_no_other(file: Path) -> None:
    group = "what" if file.stem.isupper() else "where"
    optional = {name for name, field in params.KEYS.items() if field.default is not dataclasses.MISSING}
    assert set(yaml.safe_load(file.read_text(encoding="utf-8"))) | optional == set(keys_of(group)) | optional
    assert not set(keys_of("what")) & set(keys_of("where"))


def test_every_mode_loads_with_every_target(folder: Path) -> None:
    shutil.copy(folder / "emr.example.yaml", folder / "emr.yaml")
    loaded = [load_params(mode, target) for mode in list_modes() for target in TARGETS]
    modes = {("APPLES", "Apple*", 0), ("FULL", "*", 0), ("MINI", "Apple*", 100), ("SINGLE_CLASS", "Apple Braeburn", 0)}
    assert {(p.mode, *p.classes, p.max_images) for p in loaded} >= modes
    assert ("Training", 200, 0.95) in {(p.split, p.pca_components, p.variance_target) for p in loaded}


def test_one_error_lists_unknown_missing_mistyped_and_misplaced_keys(folder: Path) -> None:
    spoil(folder / "MINI.yaml", "seed", max_imgs=5, max_images="many", engine="litert", name=None, mode="MODE")
    spoil(folder / "local.yaml", "output_dir")
    expected = [
        r"--set: target = 'emr': must equal the file's name, local",
        r"--set: variance_target = 2: .*above 0, at most 1",
        r"params/MINI.yaml: engine = 'litert': .*other file",
        r"params/MINI.yaml: max_images = 'many': .*integer >= 0",
        r"params/MINI.yaml: max_imgs = 5: unknown.*max_images, split",
        r"params/MINI.yaml: mode = 'MODE': must equal the file's name, MINI",
        r"params/MINI.yaml: name = None: .*empty \(the mode\)",
        r"params/MINI.yaml: seed: missing.*integer from 0",
        r"params/local.yaml: output_dir: missing.*a folder",
    ]
    with pytest.raises(UsageError) as caught:
        load_params("MINI", "local", {"variance_target": "2", "target": "emr"})
    lines = sorted(str(caught.value).splitlines()[1:])
    assert [pattern for pattern, line in zip(expected, lines, strict=True) if not re.search(pattern, line)] == []


@pytest.mark.parametrize(("key", "allowed", "text"), [(*key, text) for key, texts in WRONG.items() for text in texts])
def test_wrong_value_is_refused_with_key_and_what_is_allowed(key: str, allowed: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"--set.* {key}[ =]") as caught:
        load_params("MINI", "sample", {key: text})
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["/data/base #2", "2024", "2024-11-25", "~x", "a: b", "[a]", "'quoted'", "null", "on", "007", "!x", " a ", "%é"],
)
@pytest.mark.parametrize("key", ["input_dir", "output_dir", "report_dir", "weights"])
def test_a_text_is_taken_as_it_is(key: str, text: str) -> None:
    assert getattr(load_params("MINI", "sample", {key: text}), key) == text


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        *(
            ("max_images", "0", 0),
            ("seed", "10", 10),
            ("variance_target", "9.5e-1", 0.95),
            ("max_error_share", ".5", 0.5),
        ),
        *(
            ("seed", "0", 0),
            ("seed", "4294967295", 2**32 - 1),
            ("max_error_share", "0", 0.0),
            ("max_error_share", "1", 1.0),
        ),
        *((key, "1", 1) for key in ("pca_components", "images_per_task", "batch_size")),
    ],
)
def test_numbers_are_read_as_people_write_them_up_to_the_last_allowed(key: str, text: str, value: float) -> None:
    taken = getattr(load_params("MINI", "sample", {key: text}), key)
    assert (taken, type(taken)) == (value, type(value))


def test_a_number_in_a_file_is_not_octal(folder: Path) -> None:
    text = (folder / "MINI.yaml").read_text()
    (folder / "MINI.yaml").write_text(text.replace("max_images: 100", "max_images: 0100"))
    with pytest.raises(UsageError, match=r"MINI.yaml: max_images = '0100': allowed: an integer >= 0"):
        load_params("MINI", "sample")


@pytest.mark.parametrize("split", ["Test", "Validation", "Entraînement 2", "test-multiple_fruits", "a\\b"])
def test_any_folder_is_a_split(split: str) -> None:
    assert load_params("MINI", "sample", {"split": split}).split == split


def test_overrides_are_taken_in_the_type_of_their_key_and_frozen() -> None:
    taken = load_params("MINI", "sample", {"variance_target": "1", "spark_master": "", "classes": "[A, 'B*']"})
    assert (taken.spark_master, taken.classes) == ("", ("A", "B*"))
    assert isinstance(taken.variance_target, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        taken.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "master",
    [
        *("", "local", "local[*]", "local[4]", "local[*,4]", "local[2, 4]", "local-cluster[2,1,1024]"),
        *("spark://host:7077,other:7077", "yarn", "k8s://https://host:443"),
    ],
)
def test_every_form_of_a_master_is_taken(master: str) -> None:
    assert load_params("MINI", "sample", {"spark_master": master}).spark_master == master


@pytest.mark.parametrize("size", ["512m", "1g", "1024m", "16g"])
def test_enough_memory_is_taken(size: str) -> None:
    assert load_params("MINI", "sample", {"driver_memory": size}).driver_memory == size


@pytest.mark.parametrize("content", ["- a list", "", "seed: [", "\xff", "{}seed: 1"], ids=repr)
def test_file_that_holds_no_distinct_keys_is_refused_by_name(folder: Path, content: str) -> None:
    (folder / "MINI.yaml").write_bytes(content.format((folder / "MINI.yaml").read_text()).encode("latin-1"))
    with pytest.raises(UsageError, match=r"MINI\.yaml"):
        load_params("MINI", "sample")


@pytest.mark.parametrize(
    ("mode", "target", "names"),
    [
        ("mini", "sample", "APPLES, FULL, MINI"),
        ("MINI", "moon", "local, emr"),
        ("MINI", "emr", "copy emr.example.yaml"),
    ],
)
def test_unknown_file_names_those_that_are_there(folder: Path, mode: str, target: str, names: str) -> None:
    with pytest.raises(UsageError, match=names):
        load_params(mode, target)


@pytest.mark.parametrize("cwd", [REPOSITORY, REPOSITORY / "notebooks", Path("/")], ids=str)
def test_relative_paths_start_at_the_repository(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cwd)
    local = load_params("MINI", "local", {"report_dir": "../elsewhere"})
    assert local.path("input_dir") == REPOSITORY / "data/raw/fruits-360_dataset/fruits-360"
    assert local.results_dir == REPOSITORY / "data/MINI"
    assert local.report_folder == REPOSITORY.parent / "elsewhere/local/MINI"
    named = dataclasses.replace(local, name="été 2024")
    assert (named.results_dir.name, named.report_folder.name) == ("été 2024", "été 2024")


@pytest.mark.parametrize(
    ("cells", "changes"),
    [
        ([assign(), inject(max_images=7, classes=["Kiwi"])], {"max_images": 7, "classes": ("Kiwi",)}),
        ([assign(), "n = 1\nfor fruit in 'ab': n += 1", assign(seed=3)], {"seed": 3}),
        ([assign(), "seed = 5\nwidth = 8"], {"seed": 5}),  # a scratch cell tries another seed
        ([assign("max_images", max_imgs=5), assign()], {}),  # misspelt, mended, run again
    ],
)
def test_notebook_gives_the_parameters_and_nothing_else(cells: list[str], changes: dict[str, Any]) -> None:
    assert load_cells(*cells) == dataclasses.replace(load_params("MINI", "sample"), **changes)


@pytest.mark.parametrize(
    ("cells", "problems"),
    [
        ([assign(), inject(max_imgs=7, seed="x")], "max_imgs = 7: unknown(?s:.*)seed = 'x': allowed: an integer"),
        ([assign("seed", mode="MAXI")], "seed: missing(?s:.*)unknown mode 'MAXI'; allowed: APPLES"),
        ([assign(mode="mini")], "mode = 'mini': allowed: upper-case letters"),
        ([inject(max_images=7), assign()], "lost its `parameters` tag"),
    ],
)
def test_notebook_is_refused_with_every_problem(cells: list[str], problems: str) -> None:
    with pytest.raises(UsageError, match=problems):
        load_cells(*cells)
