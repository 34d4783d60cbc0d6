"""The manifest: parameters, code, versions, counts and results of a run, as one JSON document."""

import dataclasses
import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fruits
from fruits.eventlog import find_place
from fruits.features.model import Backbone
from fruits.params import RunParams, find_repository
from fruits.pca import PCA, count_components, format_share, format_target
from fruits.session import HOUR

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# New files that may change what a run does.
_NEW_CODE = re.compile(r"lib/.*\.py|params/[^/]*\.yaml", re.DOTALL)
STAGES = ("listing", "model", "extraction", "pca", "quality", "saving", "report")
_MODEL_KEYS = ("weights", "sha256", "tensors", "parameters", "bytes", "engine", "model_id", "input_size", "features")
# Spark and this package are not in the list: on a cluster no installer knows their versions.
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "pandas", "papermill", "pillow", "pyarrow")


@dataclasses.dataclass
class Stopwatch:
    """The start of a run, and the wall seconds of each stage."""

    started: str = dataclasses.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the wall time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds[stage] + time.perf_counter() - begin, 3)


def build_manifest(
    params: RunParams,
    *,
    spark: "SparkSession",
    stopwatch: Stopwatch,
    backbone: Backbone,
    pca: PCA,
    counts: dict[str, int],
    ignored_kinds: Mapping[str, int],
    notes: Sequence[str] = (),
    quality: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Gather the manifest of a run; `counts` is of `reconcile`, `quality` of `Quality.describe`."""
    repository = find_repository()
    return {
        **{name: getattr(params, name) for name in ("mode", "target")},
        "started": stopwatch.started,
        **read_commit(repository),
        "author": read_author(repository),
        "params": dataclasses.asdict(params),
        "model": {name: getattr(backbone, name) for name in _MODEL_KEYS} | {"backbone": params.backbone},
        "model_flatbuffer": str(backbone.flatbuffer),
        "counts": counts,
        "ignored": sum(ignored_kinds.values()),
        "ignored_kinds": dict(ignored_kinds),
        "notes": list(notes),
        "images_per_second": round(counts["computed"] / (stopwatch.seconds["extraction"] or 1), 2) or None,
        "pca": describe_pca(pca, variance_target=params.variance_target),
        "quality": quality,
        "seconds": dict(stopwatch.seconds),
        "cost": spark.conf.get(HOUR, None),
        "versions": read_versions(spark),
        "spark": {"application": spark.sparkContext.applicationId, "event_log_dir": find_place(spark)},
    }


def describe_pca(pca: PCA, *, variance_target: float) -> dict[str, Any]:
    """Return the part of the manifest about the PCA; `components_for_target` counts only components that were kept."""
    return {
        "requested": pca.requested,
        "kept": pca.n_components,
        "variance_target": variance_target,
        "components_for_target": count_components(pca.cumulative_variance_ratio, variance_target),
        "cumulative": float(pca.cumulative_variance_ratio[-1]),
        "first_share": float(pca.explained_variance_ratio[0]),
        "said": pca.describe(variance_target),
    }


def summarise(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the main figures of a manifest as text."""
    counts, pca, rate = manifest["counts"], manifest["pca"], manifest["images_per_second"]
    needed, target = pca["components_for_target"], format_target(pca["variance_target"])
    return {
        "images": f"{counts['listed']:,} listed = {counts['features']:,} features + {counts['errors']:,} errors",
        "features": f"{counts['computed']:,} computed in this run, {counts['reused']:,} reused",
        "extraction": f"{rate:,.0f} images/s" if rate else "nothing to compute: all features were in the store",
        "components": f"{pca['kept']} kept of {pca['requested']} asked for",
        "variance kept": format_share(pca["cumulative"], digits=4),
        f"components for {target}": str(needed) if needed else f"not reached with {pca['kept']}",
        "model": manifest["model"]["model_id"],
        "commit": f"{manifest['git_commit']}{' (edited since)' if manifest['git_dirty'] else ''}",
    }


def find_value(content: Any, *keys: str) -> Any:
    """Return what a document holds under nested keys; None if it does not."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def list_rates(manifest: Any) -> dict[str, dict[str, float]]:
    """Return how often the nearest neighbour is right in each test of a manifest, by the k of the test, 0 to 1.

    Empty where nothing was measured, and where an earlier version wrote something else.
    """
    official, groups = (find_value(manifest, "quality", part) for part in ("official", "by_group"))
    found: dict[str, dict[str, float]] = {}
    for name, test in {"official": official, **(groups if isinstance(groups, dict) else {})}.items():
        rates = find_value(test, "accuracy")
        rates = rates if isinstance(rates, dict) else {}
        known = {k: rate for k in rates if (rate := find_value(rates, k, "nn1")) is not None}
        found |= {name: known} if known else {}
    return found


def show_test(name: str) -> str:
    """Return the name of a test as readers see it: `0 → r` for `0->r`."""
    return name.replace("->", " → ")


def read_versions(spark: "SparkSession") -> dict[str, str | None]:
    """Return the platform and the versions of all software that may change a result; None if not installed."""
    import pyspark

    java = spark.sparkContext._jvm.System.getProperty("java.version")  # type: ignore[union-attr]
    return {name: _read_version(name) for name in _PACKAGES} | {
        "fruits": fruits.__version__,
        "pyspark": pyspark.__version__,
        "spark": spark.version,
        "java": java,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _read_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def read_commit(folder: Path | None) -> dict[str, Any]:
    """Return `git_commit` and `git_dirty` of a repository; None if the folder is not the top of one.

    Dirty means: a tracked file has changed, or there is a new file of code or parameters.
    """
    nothing = {"git_commit": None, "git_dirty": None}
    if folder is None:
        return nothing
    try:
        top, commit = _ask_git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        changes = _ask_git(folder, "status", "--porcelain", "-z", "--untracked-files=all").split("\0")
    except (OSError, ValueError, subprocess.SubprocessError):
        return nothing
    if not folder.samefile(top):
        return nothing
    edited = any(not change.startswith("?? ") or _NEW_CODE.match(change[3:]) for change in filter(None, changes))
    return {"git_commit": commit, "git_dirty": edited}


def read_author(folder: Path | None) -> str | None:
    """Return the name that git would give the author of a commit in a folder; None if it knows none."""
    try:
        return _ask_git(folder, "config", "user.name").strip() or None if folder else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _ask_git(folder: Path, *words: str) -> str:
    """Run git in a folder, without GIT_DIR and others, which a git hook sets to its own repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Some file systems cannot keep file modes; and this must not write to the repository.
    command = ["git", "--no-optional-locks", "-c", "core.fileMode=false", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environment).stdout
