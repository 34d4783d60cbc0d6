"""`make bench`: measure, print the table, write the JSON and documentation/PERFORMANCE.md."""

import json
import math
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks.baselines import facts_of
from benchmarks.corpus import make_corpus
from benchmarks.measure import describe_machine, run_job, time_command
from benchmarks.outlook import AIM, TABLES
from benchmarks.report import print_table, write_performance
from benchmarks.scaling import SHARD
from benchmarks.sections import read_sections

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_bnfolded.h5"
SMALL, APPLES, FULL = 640, 6_404, 67_692


@dataclass
class Bench:
    """Measures jobs, keeps every run, and saves after each so that nothing is lost."""

    images: Path
    weights: Path
    work: Path
    output: Path
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from fruits.features.model import load_model

        self.backbone = load_model(str(self.weights), folder=self.work / "models")

    def measure(self, job: str, *, at: int = 0, name: str = "", **settings: Any) -> None:
        """Run a job once and keep its figures under `name @ number of images`."""
        key = f"{name or job} @ {at}" if at else name or job
        click.echo(f"  {key} ...", nl=False)
        figures = run_job(job, **settings)
        self.runs.setdefault(key, []).append(figures)
        click.echo(f" {figures['seconds']:.1f} s" if "seconds" in figures else " done")
        self.output.write_text(json.dumps({"machine": describe_machine(), "runs": self.runs}, indent=1) + "\n")

    def corpus(self, images: int) -> str:
        """Return a folder of so many images."""
        classes = "*" if images > APPLES else "Apple*"
        return str(make_corpus(self.images, self.work / f"images-{images}", images=images, classes=classes))

    def extract(self, at: int, *, name: str = "ours", input_dir: str = "", warm: bool = False) -> str:
        """Measure our extraction into a new store; return the store."""
        store = self.work / f"store-{at}"
        shutil.rmtree(store, ignore_errors=True)
        job = {"input_dir": input_dir or self.corpus(at), "model": facts_of(self.backbone), "store": str(store)}
        if name == "ours, binaryFile":
            self.measure(name, at=at, **job)
        else:
            self.measure("ours", at=at, name=name, warm=warm, **job)
        return str(store)

    def baseline(self, job: str, *, at: int, name: str = "", **settings: Any) -> None:
        """Measure a baseline of the extraction."""
        output = self.work / "output"
        shutil.rmtree(output, ignore_errors=True)
        model = {"flatbuffer": str(self.backbone.flatbuffer)}
        if "UDF" in job:
            model = {"weights": str(self.backbone.tensors_file)}
        self.measure(job, at=at, name=name, input_dir=self.corpus(at), output=str(output), **model, **settings)

    def litert_alone(self, *, count: int = 1000) -> None:
        """Measure the forward pass alone, from memory."""
        flatbuffer = str(self.backbone.flatbuffer)
        self.measure("LiteRT alone", input_dir=self.corpus(APPLES), flatbuffer=flatbuffer, count=count)

    def full_run(self) -> None:
        """Time `fruits run FULL` on 67,692 images, from the command to the HTML: nothing stored, model converted."""
        target = self.work / "full"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.work / "models", target / "out" / "models")
        settings = {"input_dir": self.corpus(FULL), "weights": self.weights, "spark_master": "local[2]"}
        settings |= {"output_dir": target / "out", "report_dir": target / "reports"}
        command = [str(REPOSITORY / ".venv/bin/fruits"), "run", "FULL", "--target", "local"]
        seconds = time_command([*command, *(f"--set={key}={value}" for key, value in settings.items())], cwd=REPOSITORY)
        stages = json.loads((target / "reports/local/FULL/manifest.json").read_text())["seconds"]
        self.runs.setdefault("fruits run FULL", []).append({"seconds": seconds, "sections": stages})
        click.echo(f"  fruits run FULL ... {seconds:.1f} s")

    def make_run(self, times: int) -> None:
        """Time `fruits run` on the sample: once from nothing, then with images, model and features cached."""
        target = self.work / "sample"
        shutil.rmtree(target, ignore_errors=True)
        settings = {"input_dir": target / "images", "output_dir": target / "out", "report_dir": target / "reports"}
        command = [str(REPOSITORY / ".venv/bin/fruits"), "run", "MINI", "--target", "sample"]
        command += [f"--set={key}={value}" for key, value in settings.items()]
        for number in range(times + 1):
            started = time.time()
            seconds = time_command(command, cwd=REPOSITORY)
            executed = target / "reports/sample/MINI/run.ipynb"
            sections = read_sections(executed, started=started, ended=started + seconds)
            key = "make run" if number else "make run, first"
            self.runs.setdefault(key, []).append({"seconds": seconds, "sections": sections})
            click.echo(f"  {key} ... {seconds:.1f} s")


def measure_quickly(bench: Bench) -> None:
    """Measure what later work must not lose: extraction beside its baselines, `make run`."""
    for _ in range(2):
        bench.extract(1600)
        bench.baseline("two plain processes", at=1600)
    bench.litert_alone(count=500)
    bench.baseline("tf.function UDF", at=640)
    bench.extract(640)
    bench.make_run(1)


def measure_all(bench: Bench) -> None:
    """Measure everything in the table, ours and the baseline in turn."""
    store = bench.extract(FULL)
    bench.baseline("two plain processes", at=FULL)
    for warm in (False, True):
        for job in ("ours, PCA", "pyspark PCA") * 3:
            bench.measure(job, name=f"{job}, warm" if warm else job, store=store, warm=warm)
    _measure_apples(bench)
    _measure_short_runs(bench)
    bench.make_run(2)
    bench.full_run()
    measure_scale(bench)


def measure_scale(bench: Bench) -> None:
    """Measure what grows with the images where these are made up; earlier figures of it are replaced."""
    for key in ("million listing", "million PCA", *(f"table @ {images}" for images in (*TABLES, AIM))):
        bench.runs.pop(key, None)
    for images in TABLES:
        with tempfile.TemporaryDirectory(dir=bench.work) as folder:
            bench.measure("table", at=images, images=images, folder=folder)
    tasks = math.ceil(AIM / SHARD)
    with tempfile.TemporaryDirectory(dir=bench.work) as folder:
        bench.measure("table", at=AIM, images=100 * tasks, tasks=tasks, folder=folder)
    bench.measure("million listing", images=1_000_000)
    bench.measure("million PCA", images=1_000_000)


def _measure_apples(bench: Bench) -> None:
    for _ in range(3):
        bench.extract(APPLES)
        bench.baseline("two plain processes", at=APPLES)
        bench.litert_alone()
    bench.extract(APPLES, name="ours, binaryFile")
    bench.extract(APPLES, name="ours, packed", input_dir=_pack(bench))


def _measure_short_runs(bench: Bench) -> None:
    for _ in range(2):
        bench.extract(SMALL, name="ours, warm", warm=True)
        bench.extract(APPLES, name="ours, warm", warm=True)
        bench.extract(SMALL)
    for _ in range(2):
        bench.extract(1600)
        bench.baseline("tf.function UDF", at=1600)
        bench.extract(300)
        bench.extract(300 + 64, name="ours, warm", warm=True)
    bench.baseline("naive UDF", at=300)
    bench.baseline("naive UDF", at=300, name="naive UDF, warm", warm_up=bench.corpus(8))
    flatbuffer = str(bench.backbone.flatbuffer)
    bench.measure("milliseconds", input_dir=bench.corpus(APPLES), flatbuffer=flatbuffer, count=640)


def _pack(bench: Bench) -> str:
    from fruits_cli.pack import pack_images

    packed = bench.work / "packed"
    pack_images(Path(bench.corpus(APPLES)), packed)
    return str(packed)


@click.command()
@click.option("--quick", is_flag=True, help="Under 3 minutes; writes benchmarks/results/quick.json only.")
@click.option("--scale", is_flag=True, help="Measure made-up millions of images alone; keep the other figures.")
@click.option("--render", is_flag=True, help="Measure nothing: write documentation/PERFORMANCE.md from the JSON.")
@click.option("--images", default=SHARED / "fruits-360", type=click.Path(path_type=Path), show_default=False)
@click.option("--weights", default=SHARED / WEIGHTS, type=click.Path(path_type=Path), show_default=False)
@click.option("--work", default=REPOSITORY / ".bench", type=click.Path(path_type=Path), help="Scratch folder (1 GB).")
def main(*, quick: bool, scale: bool, render: bool, images: Path, weights: Path, work: Path) -> None:
    """Measure the pipeline beside its baselines, on an idle machine."""
    results = REPOSITORY / "benchmarks" / "results" / ("quick.json" if quick else "full.json")
    if not render:
        for needed in (images, weights):
            if not needed.exists():
                raise click.UsageError(f"{needed} is not there; name the images and the weights: --images, --weights")
        results.parent.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        kept = json.loads(results.read_text())["runs"] if scale else {}
        bench = Bench(images.resolve(), weights.resolve(), work.resolve(), results, kept)
        (measure_quickly if quick else measure_scale if scale else measure_all)(bench)
        results.write_text(json.dumps({"machine": describe_machine(), "runs": bench.runs}, indent=1) + "\n")
    found = json.loads(results.read_text())
    print_table(found)
    if not quick:
        write_performance(found, REPOSITORY / "documentation")


if __name__ == "__main__":
    main()
