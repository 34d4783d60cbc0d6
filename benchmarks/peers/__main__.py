"""`make bench-peers`: measure, save after each run, write documentation/PEERS.md from what was saved."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.__main__ import APPLES, FULL, REPOSITORY, SHARED, WEIGHTS
from benchmarks.baselines import facts_of
from benchmarks.corpus import make_corpus
from benchmarks.measure import describe_machine
from benchmarks.peers.catalogue import PCAS, PEERS, Model, Peer, pca_words
from benchmarks.peers.page import OURS, SMALL, write_page
from benchmarks.peers.store import repeat_store
from benchmarks.peers.trials import cut_file, find_gap, judge_cut, read_features, run

RESULTS = REPOSITORY / "benchmarks" / "results" / "peers.json"
# A second round of what takes longer would not end within the 35 minutes.
SLOW = 240.0


@dataclass
class Trials:
    """Measures peers and keeps what was found; what is kept is not measured again."""

    source: Path
    work: Path
    images: int
    model: Model
    results: Path
    found: dict[str, Any] = field(default_factory=dict)

    def corpus(self, images: int) -> str:
        """Return a folder of so many images."""
        return str(make_corpus(self.source, self.work / f"images-{images}", images=images))

    def start(self, words: list[str], *, environment: str, name: str, **settings: Any) -> dict[str, Any]:
        """Run one command and say how it went."""
        click.echo(f"  {name} ...", nl=False)
        python = str(REPOSITORY / environment / "bin" / "python")
        done = run([python, *words], work=self.work, log=self.work / "log", **settings)
        click.echo(
            f" {done['seconds']:.1f} s" + (f", exit code {done['code']}: {done['said']}" if done["code"] else "")
        )
        return done

    def save(self) -> None:
        """Write down all that is known by now."""
        self.found |= {"machine": describe_machine(), "images": self.images}
        self.results.write_text(json.dumps(self.found, indent=1) + "\n")

    def measure(self, peer: Peer, *, number: int, small: bool = False) -> None:
        """Run a peer on all its images, or on a few, undisturbed."""
        runs = self.found.setdefault("small" if small else "runs", {}).setdefault(peer.name, [])
        if len(runs) > number or (peer.rounds and number >= peer.rounds) or any(one["seconds"] > SLOW for one in runs):
            return
        images = SMALL if small else min(peer.images or self.images, self.images)
        output = self.empty("output")
        words = peer.words(self.corpus(images), self.model, str(output))
        done = self.start(words, environment=peer.environment, name=f"{peer.name} @ {images}, round {number + 1}")
        runs.append({**done, "images": images, **(self.check(peer, output, images) if not done["code"] else {})})
        self.save()

    def check(self, peer: Peer, output: Path, images: int) -> dict[str, Any]:
        """Compare what a peer wrote with what ours wrote."""
        reference = self.work / "reference"
        try:
            if peer.name == OURS and images == self.images:
                shutil.rmtree(reference, ignore_errors=True)
                shutil.copytree(output, reference)
            names, rows = read_features(reference)
            written = len(read_features(output)[0])
            return {"gap": find_gap(output, dict(zip(names, rows, strict=True))), "written": written, "asked": images}
        except Exception as error:  # one peer's files must not end the others
            return {"gap": None, "said": f"{type(error).__name__}: {error}"[:300]}

    def cut(self, peer: Peer) -> None:
        """Run a peer over images of which one is cut in half."""
        if peer.name in self.found.setdefault("cut", {}):
            return
        folder, output = self.work / "cut", self.empty("output")
        name = cut_file(Path(self.corpus(SMALL)), folder)
        words = peer.words(str(folder), self.model, str(output))
        done = self.start(words, environment=peer.environment, name=f"{peer.name}, one file cut")
        text = (self.work / "log").read_text(errors="replace")
        verdict = judge_cut(done, output, name=name, images=SMALL, text=text)
        self.found["cut"][peer.name] = {**done, "verdict": verdict}
        self.save()

    def kill(self, peer: Peer) -> None:
        """Kill a peer when half of its time is over, and run it again on what that left, if it left files."""
        whole = [one["seconds"] for one in self.found["runs"].get(peer.name, []) if not one["code"]]
        if peer.name in self.found.setdefault("killed", {}) or peer.rounds or not whole:
            return
        output = self.empty("output")
        words = peer.words(self.corpus(self.images), self.model, str(output))
        settings = {"environment": peer.environment, "name": f"{peer.name}, killed"}
        killed = self.start(words, **settings, kill_after=median(whole) / 2)
        if not killed["code"]:  # it was faster than before, and had ended
            words = peer.words(self.corpus(self.images), self.model, str(self.empty("output")))
            whole = [killed["seconds"]]
            killed = self.start(words, **settings, kill_after=killed["seconds"] / 2)
        again: dict[str, Any] = {}
        if any(entry.is_file() for entry in output.rglob("*")):
            again = self.start(words, environment=peer.environment, name=f"{peer.name}, again")
        rows = len(read_features(output)[0]) if again and not again["code"] else 0
        lost = killed["seconds"] + (again["seconds"] - median(whole) if rows else 0)
        self.found["killed"][peer.name] = {
            "killed": killed,
            "again": again,
            "rows": rows,
            "images": self.images,
            "lost": lost,
            "whole": median(whole),
        }
        self.save()

    def pca(self, name: str, *, number: int) -> None:
        """Fit a PCA to 67,692 rows."""
        fits = self.found.setdefault("pca", {}).setdefault(name, [])
        if len(fits) > number:
            return
        store = repeat_store(self.work, self.corpus(self.images), self.model, rows=FULL)
        output = self.empty("output")
        done = self.start(pca_words(name, str(store), str(output)), environment=".venv", name=f"PCA of {name}")
        result = output / "result.json"
        fits.append(
            {**done, **(json.loads(result.read_text()) | {"seconds": done["seconds"]} if result.exists() else {})}
        )
        self.save()

    def empty(self, name: str) -> Path:
        """Make an empty folder."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def measure_all(trials: Trials, *, rounds: int) -> None:
    """Measure each peer in turn, round by round; then what damage and death cost, then the PCAs."""
    for number in range(rounds):
        for peer in PEERS:
            trials.measure(peer, number=number)
            trials.measure(peer, number=number, small=True)
    for peer in PEERS:
        trials.cut(peer)
    for peer in PEERS:
        trials.kill(peer)
    for number in range(rounds):
        for name in PCAS:
            trials.pca(name, number=number)


def prepare_model(weights: Path, folder: Path) -> Model:
    """Convert the weights once, also into the folder where fruits looks for them by itself."""
    from fruits.features.model import load_model

    load_model(str(weights))
    backbone = load_model(str(weights), folder=folder)
    flatbuffer, tensors = str(backbone.flatbuffer), str(backbone.tensors_file)
    return Model(weights=str(weights), flatbuffer=flatbuffer, tensors=tensors, facts=facts_of(backbone))


@click.command()
@click.option("--render", is_flag=True, help="Measure nothing: write documentation/PEERS.md from the JSON.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier call measured; without it, go on from there.")
@click.option("--rounds", default=2, show_default=True)
@click.option("--images", "count", default=APPLES, show_default=True, help="So many JPEG files.")
@click.option("--work", default=REPOSITORY / ".bench", type=click.Path(path_type=Path), help="Scratch folder (2 GB).")
@click.option("--results", default=RESULTS, type=click.Path(path_type=Path), help="The JSON.")
def main(*, render: bool, fresh: bool, rounds: int, count: int, work: Path, results: Path) -> None:
    """Measure ours beside other ways from images to features, on an idle machine."""
    found = json.loads(results.read_text()) if results.exists() and not fresh else {}
    if not render:
        if found.get("images", count) != count:
            raise click.UsageError(
                f"{results} is of {found['images']:,} images, not {count:,}: add --fresh or --results."
            )
        work.mkdir(exist_ok=True)
        model = prepare_model((SHARED / WEIGHTS).resolve(), work.resolve() / "models")
        trials = Trials((SHARED / "fruits-360").resolve(), work.resolve(), count, model, results, found)
        measure_all(trials, rounds=rounds)
        found = trials.found
    write_page(found, REPOSITORY / "documentation")


if __name__ == "__main__":
    main()
