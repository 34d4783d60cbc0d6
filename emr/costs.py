"""What it costs: predicted from measured speed and listed prices, and reckoned up from the hours of real nodes."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from emr.settings import Settings
from fruits.errors import UsageError
from fruits.networks import DEFAULT
from fruits.params import list_modes, load_params

_HOURS_A_MONTH = 730
_SHORTEST_SECONDS = 60  # EC2 and EMR bill by the second, a minute at least
_FEATURE_BYTES = 4 * DEFAULT.features
_PACKED_PER_GET = 1024  # images in a row group, which is what a worker reads at once
_AIM_EUR = 0.40
# The predecessor's figures for FULL: what it estimated, and what it said it paid.
PREDECESSOR = "2.35 EUR estimated (3-4 h, 1+2 m5.xlarge); 1.60 EUR claimed (83 min, 3 m5.2xlarge, without EMR's fee)"


@dataclass(frozen=True)
class Cost:
    """US dollars by what they are paid for, and the minutes they buy."""

    minutes: float
    ec2: float
    emr: float
    ebs: float
    s3: float = 0.0

    @property
    def total(self) -> float:
        """US dollars in all."""
        return self.ec2 + self.emr + self.ebs + self.s3

    def describe(self) -> str:
        """Say what the dollars are for; EC2 includes the nodes' public addresses."""
        return ", ".join(f"{name} {getattr(self, low):.3f}" for name, low in _PARTS)


_PARTS = (("EC2", "ec2"), ("EMR", "emr"), ("EBS", "ebs"), ("S3", "s3"))


@dataclass(frozen=True)
class Node:
    """A node that ran: `ended` is None while it does."""

    kind: str
    market: str
    began: datetime
    ended: datetime | None = None


def node_hour(settings: Settings, kind: str, *, market: str) -> Cost:
    """Return what a node costs an hour.

    Raises
    ------
    UsageError
        If its type has no price in cluster.yaml.
    """
    prices = settings.prices
    if kind not in prices["instances"]:
        raise UsageError(f"{kind} has no price; add it to prices.instances in emr/cluster.yaml.")
    price = prices["instances"][kind]
    discount = 1 - prices["spot_discount"] if market == "SPOT" else 1
    disk = (settings.root_gb + settings.data_gb) * prices["gp3_gb_month"] / _HOURS_A_MONTH
    return Cost(60, price["ec2"] * discount + prices["ipv4_hour"], price["emr"], disk)


def count_vcpus(settings: Settings) -> int:
    """Count the vCPUs that compute features: those of the core and task nodes."""
    instances = settings.prices["instances"]
    core = settings.core_count * int(instances[settings.core_type]["vcpus"])
    return core + settings.task_count * int(instances[settings.task_type]["vcpus"])


def estimate_hour(settings: Settings) -> Cost:
    """Return what an hour of the whole cluster costs."""
    nodes = [(node_hour(settings, kind, market=market), count) for kind, count, market in settings.node_types]
    ec2, emr, ebs = (sum(getattr(hour, part) * count for hour, count in nodes) for part in ("ec2", "emr", "ebs"))
    return Cost(60, ec2, emr, ebs)


def count_images(settings: Settings, mode: str) -> int:
    """Return how many images a mode takes; where cluster.yaml does not say it, how many it can take at most."""
    largest = max(settings.dataset.values())
    return settings.dataset.get(mode) or min(load_params(mode, "sample").max_images or largest, largest)


def explain_count(settings: Settings, mode: str) -> str:
    """Say that the number of a mode's images is not known, and what is estimated instead; empty if it is known."""
    if mode in settings.dataset:
        return ""
    return (
        f"How many images {mode} takes is not known; the estimate is for {count_images(settings, mode):,}, the most "
        "that it can take. For a closer one add the number to `dataset` in emr/cluster.yaml."
    )


def estimate_minutes(settings: Settings, mode: str) -> float:
    """Predict the minutes from the request for a cluster to its end after one run of a mode."""
    speed = settings.speed
    rate = speed["images_per_second_per_vcpu"] * speed["margin"] * count_vcpus(settings)
    boot = speed["wheelhouse_minutes"] if settings.wheelhouse else speed["bootstrap_minutes"]
    return speed["start_minutes"] + boot + speed["run_minutes"] + count_images(settings, mode) / rate / 60


def estimate_run(settings: Settings, mode: str, *, packed: bool = True) -> Cost:
    """Predict what one run of a mode costs, all in: upload, start of the cluster, run, reading and writing."""
    minutes, images, prices = estimate_minutes(settings, mode), count_images(settings, mode), settings.prices
    hour = estimate_hour(settings)
    puts = math.ceil(images / _PACKED_PER_GET) if packed else images
    gets = math.ceil(images / _PACKED_PER_GET) if packed else images
    gigabytes = images * (_FEATURE_BYTES + 5_000) / 1e9
    s3 = (puts + 200) / 1000 * prices["s3_put_1000"] + gets / 1000 * prices["s3_get_1000"]
    s3 += gigabytes * prices["s3_gb_month"]  # the images and features, kept for a month
    share = minutes / 60
    return Cost(minutes, hour.ec2 * share, hour.emr * share, hour.ebs * share, s3)


def count_up(nodes: Iterable[Node], settings: Settings, *, now: datetime) -> Cost:
    """Reckon what nodes have cost by list price: by the second, a minute at least each."""
    total = Cost(0, 0, 0, 0)
    for node in nodes:
        seconds = max(((node.ended or now) - node.began).total_seconds(), _SHORTEST_SECONDS)
        hour = node_hour(settings, node.kind, market=node.market)
        parts = (getattr(total, part) + getattr(hour, part) * seconds / 3600 for part in ("ec2", "emr", "ebs"))
        total = Cost(max(total.minutes, seconds / 60), *parts)
    return total


def to_eur(usd: float, settings: Settings) -> float:
    """Convert by the rate of cluster.yaml."""
    return float(usd * settings.prices["eur_per_usd"])


def format_money(usd: float, settings: Settings) -> str:
    """Write an amount in both currencies."""
    return f"{to_eur(usd, settings):.2f} EUR ({usd:.2f} USD)"


def list_variants(settings: Settings) -> list[tuple[str, Settings, bool]]:
    """Return settings worth comparing: name, settings, packed input or files."""
    change = dataclasses.replace
    fast = change(settings, wheelhouse=True)
    graviton = {"primary_type": "c7g.xlarge", "core_type": "c7g.xlarge", "task_type": "c7g.xlarge"}
    intel = {"primary_type": "c6i.xlarge", "core_type": "c6i.xlarge", "task_type": "c6i.xlarge"}
    large = {"primary_type": "m5.2xlarge", "core_type": "m5.2xlarge"}
    return [
        ("as in cluster.yaml", settings, True),
        ("the same, images as files", settings, False),
        ("wheelhouse in the bucket", fast, True),
        ("wheelhouse, 2 spot nodes more", change(fast, task_count=2), True),
        ("wheelhouse, c6i.xlarge", change(fast, **intel), True),
        ("wheelhouse, c7g.xlarge (Graviton)", change(fast, **graviton), True),
        ("the predecessor's nodes: m5.2xlarge", change(settings, **large), True),
    ]


def format_table(settings: Settings) -> list[str]:
    """Write the prediction for each mode, and for FULL by each variant, as lines."""
    lines = ["One run, start of the cluster included:", ""]
    for mode in list_modes():
        cost = estimate_run(settings, mode)
        lines.append(f"  {mode:<14} {cost.minutes:5.1f} min  {format_money(cost.total, settings)}  {cost.describe()}")
    lines += filter(None, (explain_count(settings, mode) for mode in list_modes()))
    lines += ["", f"FULL by other settings (aim: under {_AIM_EUR:.2f} EUR):", ""]
    for name, variant, packed in list_variants(settings):
        cost = estimate_run(variant, "FULL", packed=packed)
        verdict = "under" if to_eur(cost.total, settings) < _AIM_EUR else "OVER"
        lines.append(f"  {name:<37} {cost.minutes:5.1f} min  {format_money(cost.total, settings)}  {verdict}")
    speed, prices = settings.speed, settings.prices
    return [
        *lines,
        "",
        f"The predecessor's FULL: {PREDECESSOR}.",
        f"Prices of {prices['date']}: {prices['source']}.",
        f"Reckoned with {speed['images_per_second_per_vcpu']} images/s and vCPU, measured, times a margin of "
        f"{speed['margin']}; minutes of start and the values marked ASSUMED in emr/cluster.yaml are assumptions, "
        f"among them {prices['eur_per_usd']} EUR for a dollar. None of it has been seen on an AWS bill.",
    ]
