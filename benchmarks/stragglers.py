"""What a slow and a lost machine cost an extraction, on the cluster of tests/integration (root, iproute2).

`python -m benchmarks.stragglers`: two workers of one core each, one of which runs a fifth of
the time. A batch is a job of one task here: Spark speculates only with `spark.speculation.task.duration.threshold`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click
import pyarrow.dataset as ds

from benchmarks.corpus import make_corpus

REPOSITORY = Path(__file__).resolve().parents[1]
INTEGRATION = REPOSITORY / "tests" / "integration"
SETTINGS = {"spark.network.timeout": "20s", "spark.network.timeoutInterval": "10s"}
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "1s",
    "spark.speculation.task.duration.threshold": "2s",  # a task takes about 1 s here
}
TASK = 64


def drive(master: str, images: str, store: str, models: str) -> None:
    """Extract on a cluster, after two batches that start its workers; files in the store tell how far it is."""
    from machines_driver import wait_for_executors

    from fruits.features.extraction import compute_features
    from fruits.features.model import load_model
    from fruits.images import open_images
    from fruits.session import open_session

    backbone = load_model("random", folder=Path(models))
    listed = open_images(Path(images)).list_images(split="Training", classes=["*"])
    spark = open_session(master=master, driver_memory="512m", name="stragglers")
    wait_for_executors(spark, 2)
    settings: dict[str, Any] = {"backbone": backbone, "input_dir": Path(images), "batch_size": 16}
    compute_features(spark, listed[:16], images_per_task=8, store=Path(store, "warm"), **settings)
    Path(store, "started").touch()
    started = time.perf_counter()
    done = compute_features(spark, listed, images_per_task=TASK, store=Path(store, "features"), **settings)
    seconds = time.perf_counter() - started
    Path(store, "done").write_text(json.dumps({"seconds": seconds, "computed": done.computed}))
    os._exit(0)  # Spark waits for a lost machine when it stops


def run(fault: str, *, speculation: bool, images: Path, models: Path) -> dict[str, Any]:
    """Run one extraction on a new cluster with a fault: "", "slow" or "lost"."""
    from machines import start_cluster

    settings = SETTINGS | (SPECULATION if speculation else {})
    options = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    environ = {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
        "PYTHONPATH": f"{REPOSITORY}:{INTEGRATION}",
    }
    with tempfile.TemporaryDirectory() as folder, start_cluster(Path(folder) / "machines") as cluster:
        store = Path(folder) / "store"
        (store / "features").mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.stragglers", "--drive", cluster.master, str(images), str(store)]
        log = cluster.primary.start(*command, str(models), env=environ, log="driver.log")
        driver, second = cluster.primary.processes[-1], cluster.workers[1]
        while driver.poll() is None:
            time.sleep(0.1)
            if fault == "slow" and (store / "started").exists():
                _pause(second.processes[0].pid, seconds=0.4)
            if fault == "lost" and len(list((store / "features").glob("*/_SUCCESS"))) >= 3:
                second.lose()
                fault = ""
        if not (store / "done").exists():
            raise RuntimeError(log.read_text()[-3000:])
        files = [str(file) for file in (store / "features").glob("batch-*/*.parquet")]
        table = ds.dataset(files).to_table(columns=["path", "features"]).to_pandas()
        rows = {(path, features.tobytes()) for path, features in table.itertuples(index=False)}
        return {**json.loads((store / "done").read_text()), "rows": rows, "doubles": len(table) - len(rows)}


def _pause(group: int, *, seconds: float) -> None:
    """Stop the worker of a machine, its executors and their Pythons for a while; they are in sessions of their own."""
    tree = subprocess.run(
        ["pgrep", "--session", str(group)], capture_output=True, text=True, check=False
    ).stdout.split()
    for sign in (signal.SIGSTOP, signal.SIGCONT):
        for pid in map(int, tree):
            os.kill(pid, sign)
        if sign == signal.SIGSTOP:
            time.sleep(seconds)


@click.command()
@click.option("--drive", "arguments", nargs=4, hidden=True)
@click.option("--images", default=REPOSITORY.parent / "shared/data/fruits-360", type=click.Path(path_type=Path))
@click.option("--count", default=640)
@click.option("--rounds", default=3)
def main(*, arguments: tuple[str, ...], images: Path, count: int, rounds: int) -> None:
    """Print the seconds of each state, and whether all states gave the same rows."""
    if arguments:
        drive(*arguments)
    sys.path.insert(0, str(INTEGRATION))
    from fruits.features.model import load_model

    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        load_model("random", folder=models)
        corpus = make_corpus(images, Path(folder) / "images", images=count, classes="Apple*")
        first: set[Any] = set()
        seconds: dict[tuple[str, bool], list[float]] = {}
        for state in [(fault, on) for _ in range(rounds) for fault in ("", "slow", "lost") for on in (False, True)]:
            found = run(state[0], speculation=state[1], images=corpus, models=models)
            first = first or found["rows"]
            seconds.setdefault(state, []).append(found["seconds"])
            said = f"{found['computed']} computed, {found['doubles']} twice, equal: {found['rows'] == first}"
            click.echo(f"{state}: {found['seconds']:.1f} s, {said}")
        for (fault, on), each in seconds.items():
            click.echo(f"{fault or 'all well'}, speculation {'on' if on else 'off'}: {median(each):.1f} s")


if __name__ == "__main__":
    main()
