"""What a run was told, did and found, as one JSON document."""

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
from fruits.features.model import Backbone
from fruits.params import RunParams, find_repository
from fruits.pca import Components, count_components, format_share, format_target

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A new file that may change what a run does.
_NEW_CODE = re.compile(r"lib/.*\.py|params/[^/]*\.yaml", re.DOTALL)
STAGES = ("listing", "model", "extraction", "pca", "saving", "report")
_MODEL_KEYS = ("weights", "sha256", "tensors", "parameters", "bytes", "engine", "model_id")
# Nodes of a cluster have no Keras; Spark and this package reach them in other ways than by an installer.
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "pandas", "papermill", "pillow", "pyarrow")


@dataclasses.dataclass
class Stopwatch:
    """When a run started, and the wall seconds of each of its stages."""

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
    components: Components,
    counts: dict[str, int],
    ignored: int,
    ignored_kinds: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Gather the manifest of a run.

    Parameters
    ----------
    counts
        `listed`, `features`, `errors`, `reused` and `computed`.
    ignored, ignored_kinds
        How many files in the class folders are no images, and how many of each kind.
    notes
        Sentences that a reader should know, such as why features were computed anew.
    """
    extraction, computed = stopwatch.seconds["extraction"], counts["computed"]
    return {
        **{name: getattr(params, name) for name in ("mode", "target")},
        "started": stopwatch.started,
        **read_commit(find_repository()),
        "params": dataclasses.asdict(params),
        "model": {name: getattr(backbone, name) for name in _MODEL_KEYS},
        "model_flatbuffer": str(backbone.flatbuffer),
        "counts": counts,
        "ignored": ignored,
        "ignored_kinds": dict(ignored_kinds or {}),
        "notes": list(notes),
        "images_per_second": round(computed / extraction, 2) if computed else None,
        "pca": describe_components(components, variance_target=params.variance_target),
        "seconds": dict(stopwatch.seconds),
        "versions": read_versions(spark),
    }


def describe_components(components: Components, *, variance_target: float) -> dict[str, Any]:
    """Return what the manifest says of a PCA; `components_for_target` looks at the components kept only."""
    return {
        "requested": components.requested,
        "kept": components.kept,
        "variance_target": variance_target,
        "components_for_target": count_components(components.cumulative, variance_target),
        "cumulative": float(components.cumulative[-1]),
        "first_share": float(components.shares[0]),
        "said": components.describe(variance_target),
    }


def summarise(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the figures of a manifest that a reader looks for first."""
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


def read_versions(spark: "SparkSession") -> dict[str, str | None]:
    """Return the versions of everything that may change a figure, and the machine; None for what is not there."""
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
    """Return `git_commit` of the checkout whose top is a folder, and whether its code was edited since (`git_dirty`).

    Edited means: a file that git tracks has changed, or a new file is in `lib/` or `params/`. What runs write is no
    edit. Both are None outside git, and in a copy that lies in another repository.
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


def _ask_git(folder: Path, *words: str) -> str:
    """Ask git about a folder, whatever repository the environment of a git hook names (GIT_DIR)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # A mode that a file system cannot keep is no edit; and looking must not write.
    command = ["git", "--no-optional-locks", "-c", "core.fileMode=false", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environment).stdout
