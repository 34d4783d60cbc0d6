"""`make bench`: measure, print the table, write the JSON and documentation/PERFORMANCE.md."""

import json
import math
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.baselines import facts_of
from benchmarks.corpus import make_corpus
from benchmarks.measure import describe_machine, run_job, time_command
from benchmarks.outlook import AIM, TABLES, Runs
from benchmarks.report import print_table, write_performance
from benchmarks.scaling import SHARD
from benchmarks.sections import read_sections

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fruits.features.model import Backbone

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
WEIGHTS = "weights/mobilenet_v2_1.0_224_no_top_bnfolded.h5"
SMALL, APPLES, FULL = 640, 6_404, 67_692


@dataclass
class Bench:
    """Measures jobs and keeps every run; saves after each part."""

    images: Path
    weights: Path
    work: Path
    output: Path
    parts: dict[str, Runs] = field(default_factory=dict)
    runs: Runs = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backbone = self.load_model()

    def load_model(self, input_size: int = 0) -> "Backbone":
        """Return the model for images of so many pixels, converted once."""
        from fruits.features.model import load_model

        return load_model(str(self.weights), folder=self.work / "models", input_size=input_size)

    def measure_part(self, part: str, measure: "Callable[[Bench], None]") -> None:
        """Measure one part anew; keep it once it is whole."""
        self.runs = {}
        measure(self)
        self.parts[part] = self.runs
        self.output.write_text(json.dumps({"machine": describe_machine(), "parts": self.parts}, indent=1) + "\n")

    def measure(self, job: str, *, at: int = 0, name: str = "", **settings: Any) -> None:
        """Run a job once and keep its figures under `name @ number of images`."""
        key = f"{name or job} @ {at}" if at else name or job
        click.echo(f"  {key} ...", nl=False)
        figures = run_job(job, **settings)
        self.runs.setdefault(key, []).append(figures)
        click.echo(f" {figures['seconds']:.1f} s" if "seconds" in figures else " done")

    def corpus(self, images: int) -> str:
        """Return a folder of so many images."""
        classes = "*" if images > APPLES else "Apple*"
        return str(make_corpus(self.images, self.work / f"images-{images}", images=images, classes=classes))

    def extract(self, at: int, *, name: str = "ours", input_dir: str = "", warm: bool = False, size: int = 0) -> str:
        """Measure our extraction into a new store; return the store."""
        store = self.work / f"store-{at}"
        shutil.rmtree(store, ignore_errors=True)
        model = facts_of(self.load_model(size))
        job = {"input_dir": input_dir or self.corpus(at), "model": model, "store": str(store)}
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


def measure_extraction(bench: Bench) -> None:
    """Measure extraction and PCA, ours and the baseline in turn."""
    store = bench.extract(FULL)
    bench.baseline("two plain processes", at=FULL)
    for warm in (False, True):
        for job in ("ours, PCA", "pyspark PCA") * 3:
            bench.measure(job, name=f"{job}, warm" if warm else job, store=store, warm=warm)
    _measure_apples(bench)
    _measure_short_runs(bench)


def measure_sizes(bench: Bench) -> None:
    """Measure extraction for inputs of several sizes in turn, workers warm."""
    for _ in range(3):
        for size in (224, 128):
            bench.extract(APPLES, name=f"ours, {size} pixels", warm=True, size=size)


def measure_commands(bench: Bench) -> None:
    """Measure whole commands: MINI from nothing and cached, FULL."""
    bench.make_run(3)
    bench.full_run()


def measure_scale(bench: Bench) -> None:
    """Measure what grows with the images, where these are made up."""
    for images in TABLES:
        with tempfile.TemporaryDirectory(dir=bench.work) as folder:
            bench.measure("table", at=images, images=images, folder=folder)
    tasks = math.ceil(AIM / SHARD)
    with tempfile.TemporaryDirectory(dir=bench.work) as folder:
        bench.measure("table", at=AIM, images=100 * tasks, tasks=tasks, folder=folder)
    bench.measure("million listing", images=1_000_000)
    bench.measure("million PCA", images=1_000_000)


PARTS = {"extraction": measure_extraction, "sizes": measure_sizes, "commands": measure_commands, "scale": measure_scale}


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


def _keep(results: Path, chosen: "Collection[str]") -> dict[str, Runs]:
    """Return the earlier figures of the parts that are not chosen."""
    found = json.loads(results.read_text()) if results.exists() else {}
    kept = {part: runs for part, runs in found.get("parts", {}).items() if part not in chosen}
    if kept and found["machine"] != describe_machine():
        raise click.UsageError(f"{results} is of another machine or other packages: measure all parts, without --only.")
    return kept


@click.command()
@click.option("--quick", is_flag=True, help="Under 3 minutes; writes benchmarks/results/quick.json only.")
@click.option("--only", "parts", multiple=True, type=click.Choice(list(PARTS)), help="A part; keep the other figures.")
@click.option("--render", is_flag=True, help="Measure nothing: write documentation/PERFORMANCE.md from the JSON.")
@click.option("--images", default=SHARED / "fruits-360", type=click.Path(path_type=Path), show_default=False)
@click.option("--weights", default=SHARED / WEIGHTS, type=click.Path(path_type=Path), show_default=False)
@click.option("--work", default=REPOSITORY / ".bench", type=click.Path(path_type=Path), help="Scratch folder (1 GB).")
def main(*, quick: bool, parts: tuple[str, ...], render: bool, images: Path, weights: Path, work: Path) -> None:
    """Measure the pipeline beside its baselines, on an idle machine."""
    results = REPOSITORY / "benchmarks" / "results" / ("quick.json" if quick else "full.json")
    if not render:
        for needed in (images, weights):
            if not needed.exists():
                raise click.UsageError(f"{needed} is not there; name the images and the weights: --images, --weights")
        results.parent.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        chosen = {"quick": measure_quickly} if quick else {part: PARTS[part] for part in parts or PARTS}
        bench = Bench(images.resolve(), weights.resolve(), work.resolve(), results, _keep(results, chosen))
        for part, measure in chosen.items():
            bench.measure_part(part, measure)
    found = json.loads(results.read_text())
    runs = {key: figures for part in found["parts"].values() for key, figures in part.items()}
    print_table(runs)
    if PARTS.keys() <= found["parts"].keys():
        write_performance(runs, REPOSITORY / "documentation", machine=found["machine"])


if __name__ == "__main__":
    main()
