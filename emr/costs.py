"""What it costs: predicted from measured speed and listed prices, and computed from the hours of real nodes."""

import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from emr.context import Context
from emr.settings import Settings, size_spark
from fruits.errors import UsageError
from fruits.networks import DEFAULT
from fruits.params import list_modes

_HOURS_A_MONTH = 730
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


class BuildCost(NamedTuple):
    """US dollars for the minutes of a build, and for a month of its image."""

    minutes: float
    build: float
    month: float


class Node(NamedTuple):
    """A node that ran: `ended` is None while it does."""

    kind: str
    market: str
    began: datetime
    ended: datetime | None = None


def count_up(nodes: Sequence[Node], settings: Settings, *, now: datetime) -> Cost:
    """Compute what nodes have cost at list prices: by the second, a minute at least for each, as AWS bills them."""
    shares = [max(((node.ended or now) - node.began) / timedelta(hours=1), 1 / 60) for node in nodes]
    prices = [_price_hour(settings, node.kind, node.market) for node in nodes]
    ec2, emr, ebs = (sum(share * hour[part] for share, hour in zip(shares, prices, strict=True)) for part in (1, 2, 3))
    return Cost(60 * max(shares, default=0), ec2, emr, ebs)


def estimate_hour(settings: Settings) -> Cost:
    """Return what an hour of the whole cluster costs."""
    began, ended = datetime.min, datetime.min + timedelta(hours=1)
    nodes = [Node(kind, market, began, ended) for kind, count, market in settings.node_types for _ in range(count)]
    return count_up(nodes, settings, now=ended)


def _price_hour(settings: Settings, kind: str, market: str) -> Cost:
    prices, price = settings.prices, settings.prices["instances"].get(kind)
    if price is None:
        raise UsageError(f"{kind} has no price; add it to prices.instances in emr/cluster.yaml.")
    rate = 1 - prices["spot_discount"] if market == "SPOT" else 1
    disk = (settings.root_gb + settings.data_gb) * prices["gp3_gb_month"] / _HOURS_A_MONTH
    return Cost(60, price["ec2"] * rate + prices["ipv4_hour"], price["emr"], disk)


def estimate_run(settings: Settings, mode: str) -> Cost:
    """Predict what one run costs: its images with their evaluation, and a month of keeping images and features."""
    images, prices = settings.dataset.get(mode, settings.dataset["FULL"]), settings.prices
    seconds = images / settings.speed["evaluated_per_second_per_vcpu"]
    cost = estimate_images(settings, images, more_seconds=seconds)
    kept = images * (4 * DEFAULT.features + _IMAGE_BYTES) / 1e9 * prices["s3_gb_month"]
    return cost._replace(s3=cost.s3 + kept)


def estimate_images(settings: Settings, images: int, *, packed: bool = True, more_seconds: float = 0) -> Cost:
    """Predict what the features of images cost: start of the cluster, extraction, PCA, report, end, requests to S3.

    `more_seconds` of a vCPU as fast as the measured one come on top. Files that are not packed are a request each.
    """
    speed, prices = settings.speed, settings.prices
    seconds = (images / speed["images_per_second_per_vcpu"] + more_seconds) / speed["margin"]
    minutes = seconds / size_spark(settings)["Vcpus"] / 60 + speed["start_minutes"] + speed["run_minutes"]
    reads = math.ceil(images / _PACKED_PER_GET)
    s3 = (reads + 200) / 1000 * prices["s3_put_1000"] + (reads if packed else images) / 1000 * prices["s3_get_1000"]
    _, ec2, emr, ebs, _ = (part * minutes / 60 for part in estimate_hour(settings))
    return Cost(minutes, ec2, emr, ebs, s3)


def estimate_build(settings: Settings) -> BuildCost:
    """Predict what an image costs: CodeBuild's minutes, ECR's storage."""
    minutes, prices = settings.speed["build_minutes"], settings.prices
    minute = prices["codebuild_minute"][settings.image_compute]
    return BuildCost(minutes, minutes * minute, settings.speed["image_gb"] * prices["ecr_gb_month"])


def format_money(usd: float, settings: Settings) -> str:
    """Write an amount in both currencies."""
    return f"{usd * settings.prices['eur_per_usd']:.2f} EUR ({usd:.2f} USD)"


def show_costs(context: Context) -> None:
    """Predict what each mode costs, and what FULL costs by each type of node."""
    settings, prices = context.settings, context.settings.prices
    context.say("One run, start and end of the cluster included (modes of unknown size are estimated as FULL):\n")
    for mode in list_modes():
        cost = estimate_run(settings, mode)
        context.say(f"  {mode:<14} {cost.minutes:5.1f} min  {format_money(cost.total, settings)}  {cost.describe()}")
    context.say(f"\nFULL with each allowed instance type (aim: under {_AIM_EUR:.2f} EUR):\n")
    for kind in prices["instances"]:
        cost = estimate_run(dataclasses.replace(settings, primary_type=kind, core_type=kind, task_type=kind), "FULL")
        verdict = "under" if cost.total * prices["eur_per_usd"] < _AIM_EUR else "OVER"
        context.say(f"  {kind:<14} {cost.minutes:5.1f} min  {format_money(cost.total, settings)}  {verdict}")
    context.say(
        f"\nPrices of {prices['date']}: {prices['source']}.\nSpeed was measured on another machine and multiplied by "
        f"{settings.speed['margin']} for every type; minutes of start and what emr/cluster.yaml marks ASSUMED "
        f"({prices['eur_per_usd']} EUR for a dollar, too) are assumptions; no AWS bill has been seen."
    )
