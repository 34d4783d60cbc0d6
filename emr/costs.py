"""What it costs: predicted from measured speed and listed prices, and computed from the hours of real nodes."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from emr.context import Context
from emr.settings import Settings, size_spark
from fruits.errors import UsageError
from fruits.networks import DEFAULT
from fruits.params import list_modes, load_params

_HOURS_A_MONTH = 730
_HOUR = timedelta(hours=1)
_IMAGE_BYTES = 5_000
_PACKED_PER_GET = 1024  # images in a row group, which is what a worker reads at once
_AIM_EUR = 0.40


class Cost(NamedTuple):
    """US dollars for nodes and their public addresses, EMR's fee, disks and S3, and the minutes that they pay."""

    minutes: float
    ec2: float
    emr: float
    ebs: float
    s3: float = 0.0

    @property
    def total(self) -> float:
        """US dollars in all."""
        return sum(self[1:])

    def describe(self) -> str:
        """Say what the dollars are for."""
        return f"EC2 {self.ec2:.3f}, EMR {self.emr:.3f}, EBS {self.ebs:.3f}, S3 {self.s3:.3f}"


class Node(NamedTuple):
    """A node that ran: `ended` is None while it does."""

    kind: str
    market: str
    began: datetime
    ended: datetime | None = None


def count_up(nodes: Iterable[Node], settings: Settings, *, now: datetime) -> Cost:
    """Compute what nodes have cost at list prices: by the second, a minute at least for each, as AWS bills them."""
    hours = [
        (_price_hour(settings, node.kind, node.market), max(((node.ended or now) - node.began) / _HOUR, 1 / 60))
        for node in nodes
    ]
    return _add(hours, minutes=60 * max((share for _, share in hours), default=0))


def estimate_hour(settings: Settings) -> Cost:
    """Return what an hour of the whole cluster costs."""
    nodes = [(_price_hour(settings, kind, market), count) for kind, count, market in settings.node_types]
    return _add(nodes, minutes=60)


def _price_hour(settings: Settings, kind: str, market: str) -> Cost:
    prices, price = settings.prices, settings.prices["instances"].get(kind)
    if price is None:
        raise UsageError(f"{kind} has no price; add it to prices.instances in emr/cluster.yaml.")
    rate = 1 - prices["spot_discount"] if market == "SPOT" else 1
    disk = (settings.root_gb + settings.data_gb) * prices["gp3_gb_month"] / _HOURS_A_MONTH
    return Cost(60, price["ec2"] * rate + prices["ipv4_hour"], price["emr"], disk)


def _add(hours: Sequence[tuple[Cost, float]], *, minutes: float, s3: float = 0.0) -> Cost:
    ec2, emr, ebs = (sum(share * hour[part] for hour, share in hours) for part in (1, 2, 3))
    return Cost(minutes, ec2, emr, ebs, s3)


def _count_images(settings: Settings, mode: str) -> int:
    largest = max(settings.dataset.values())
    return settings.dataset.get(mode) or min(load_params(mode, "sample").max_images or largest, largest)


def explain_count(settings: Settings, mode: str) -> str:
    """Say that the number of a mode's images is not known, and what is estimated instead; empty if it is known."""
    count = f"{_count_images(settings, mode):,} images, the most that it can take (emr/cluster.yaml, `dataset`)"
    return (
        "" if mode in settings.dataset else f"How many images {mode} takes is not known; the estimate is for {count}."
    )


def estimate_run(settings: Settings, mode: str) -> Cost:
    """Predict what one run costs: upload, start of the cluster, extraction, PCA, evaluation, end of the cluster."""
    speed, prices, images = settings.speed, settings.prices, _count_images(settings, mode)
    evaluate = load_params(mode, "sample").evaluate
    seconds = 1 / speed["images_per_second_per_vcpu"] + evaluate / speed["evaluated_per_second_per_vcpu"]
    minutes = images * seconds / speed["margin"] / size_spark(settings)["Vcpus"] / 60
    minutes += speed["wheelhouse_minutes"] if settings.wheelhouse else speed["bootstrap_minutes"]
    minutes += speed["start_minutes"] + speed["run_minutes"]
    reads = math.ceil(images / _PACKED_PER_GET)
    s3 = (reads + 200) / 1000 * prices["s3_put_1000"] + reads / 1000 * prices["s3_get_1000"]
    s3 += images * (4 * DEFAULT.features + _IMAGE_BYTES) / 1e9 * prices["s3_gb_month"]  # images and features, a month
    return _add([(estimate_hour(settings), minutes / 60)], minutes=minutes, s3=s3)


def format_money(usd: float, settings: Settings) -> str:
    """Write an amount in both currencies."""
    return f"{usd * settings.prices['eur_per_usd']:.2f} EUR ({usd:.2f} USD)"


def show_costs(context: Context) -> None:
    """Tell the predictions."""
    for line in format_table(context.settings):
        context.say(line)


def format_table(settings: Settings) -> list[str]:
    """Write the prediction for each mode, and for FULL with each allowed instance type."""
    lines = ["One run, start and end of the cluster included:", ""]
    for mode in list_modes():
        cost = estimate_run(settings, mode)
        lines.append(f"  {mode:<14} {cost.minutes:5.1f} min  {format_money(cost.total, settings)}  {cost.describe()}")
    lines += filter(None, (explain_count(settings, mode) for mode in list_modes()))
    lines += ["", f"FULL with each allowed instance type (aim: under {_AIM_EUR:.2f} EUR):", ""]
    for kind in settings.prices["instances"]:
        cost = estimate_run(dataclasses.replace(settings, primary_type=kind, core_type=kind, task_type=kind), "FULL")
        verdict = "under" if cost.total * settings.prices["eur_per_usd"] < _AIM_EUR else "OVER"
        lines.append(f"  {kind:<14} {cost.minutes:5.1f} min  {format_money(cost.total, settings)}  {verdict}")
    prices, margin = settings.prices, settings.speed["margin"]
    lines += ["", f"Prices of {prices['date']}: {prices['source']}.", "Speed was measured on another machine and"]
    lines[-1] += f" multiplied by {margin} for every type; minutes of start and what emr/cluster.yaml marks ASSUMED"
    lines[-1] += f" ({prices['eur_per_usd']} EUR for a dollar, too) are assumptions; no AWS bill has been seen."
    return lines
