"""The plots of documentation/PERFORMANCE.md."""

from pathlib import Path
from statistics import median

from matplotlib import pyplot as plt

INK = ["#b3361e", "#e08e45", "#4a6c8c", "#8a8a8a", "#3f7d54"]


def draw_throughput(lines: dict[str, dict[int, list[float]]], *, alone: float, file: Path) -> None:
    """Draw images a second against the number of images, every run a dot, medians joined."""
    figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for (label, points), colour in zip(lines.items(), INK, strict=False):
        for images, rates in points.items():
            ax.plot([images] * len(rates), rates, ".", color=colour, alpha=0.5)
        ax.plot(list(points), [median(rates) for rates in points.values()], "o-", color=colour, label=label)
    ax.axhline(alone, color=INK[3], linestyle="--", label="LiteRT alone, pixels in memory")
    ax.set(xscale="log", ylim=(0, None), xlabel="images", ylabel="images a second, 2 cores")
    ax.set_title("Extraction: what a long run reaches, and what starting costs a short one", loc="left")
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def draw_milliseconds(steps: dict[str, float], folder: Path) -> None:
    """Draw where a core's milliseconds of an image go, as one bar."""
    figure, ax = plt.subplots(figsize=(8, 2.3), layout="constrained")
    left = 0.0
    for (name, spent), colour in zip(steps.items(), INK, strict=True):
        ax.barh([0], [spent], left=left, color=colour, label=f"{name} {spent:.2f} ms")
        left += spent
    ax.set(yticks=[], xlabel="milliseconds of one core")
    ax.set_title(f"An image takes {left:.1f} ms of a core", loc="left")
    figure.legend(frameon=False, ncols=3, loc="outside lower center", fontsize=8)
    ax.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(folder / "milliseconds.png", dpi=110)
    plt.close(figure)


def draw_scale(lines: dict[str, dict[int, float]], file: Path) -> None:
    """Draw seconds of the steps and memory of the processes against the images; the last point, reckoned, is hollow."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
    for (name, line), colour in zip(lines.items(), INK * 2, strict=False):
        ax = axes[int(name in ("driver", "jvm", "worker"))]
        images, values = list(line), list(line.values())
        ax.plot(images[:-1], values[:-1], "o-", color=colour, label=name)
        ax.plot(images[-2:], values[-2:], "o:", color=colour, markerfacecolor="white")
    axes[0].set(xscale="log", yscale="log", xlabel="images", ylabel="seconds, 2 cores")
    axes[1].set(xscale="log", ylim=(0, None), xlabel="images", ylabel="peak, MiB")
    for ax in axes:
        ax.legend(frameon=False, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)
