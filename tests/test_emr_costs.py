"""Costs: against sums done by hand from the prices in cluster.yaml."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from emr.context import Context
from emr.costs import Node, count_up, estimate_hour, estimate_run, show_costs
from emr.settings import load_settings

SETTINGS = load_settings()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_hour_of_the_cluster() -> None:
    hour = estimate_hour(SETTINGS)
    assert hour.ec2 == pytest.approx(3 * (0.214 + 0.005))
    assert hour.emr == pytest.approx(3 * 0.048)
    assert hour.ebs == pytest.approx(3 * 64 * 0.088 / 730)


@pytest.mark.parametrize("overrides", [[], ["core_count=1", "task_count=1"]])
def test_full_with_its_evaluation_costs_less_than_the_aim(overrides: list[str]) -> None:
    settings = load_settings(overrides)
    cost = estimate_run(settings, "FULL")
    expected = 14 + (90_380 / 101.5 + 211 * 2) / 0.4 / 8 / 60
    assert cost.minutes == pytest.approx(expected, rel=1e-3)
    assert cost.s3 == pytest.approx(289 * 0.005e-3 + 90_380 * 10_120 * 0.023e-9, rel=1e-2)
    assert cost.total == pytest.approx(estimate_hour(settings).total * expected / 60 + cost.s3, rel=1e-3)
    assert cost.total * 0.92 < 0.40


def test_nodes_cost_until_they_end_a_minute_at_least() -> None:
    def cost(market: str, ended: datetime | None) -> float:
        return count_up([Node("m5.xlarge", market, NOON, ended)], SETTINGS, now=NOON + 2 * HOUR).total

    hour = estimate_hour(SETTINGS).total / 3
    assert cost("ON_DEMAND", None) == pytest.approx(2 * hour)
    assert cost("ON_DEMAND", NOON + HOUR) == pytest.approx(hour)
    assert cost("SPOT", NOON + HOUR) == pytest.approx(hour - 0.6 * 0.214)  # neither fee nor address is discounted
    seconds = [cost("ON_DEMAND", NOON + timedelta(seconds=n)) * 3600 / hour for n in (5, 60, 61)]
    assert seconds == pytest.approx([60, 60, 61])


def test_the_table_has_every_type_and_says_what_it_rests_on() -> None:
    lines: list[str] = []
    show_costs(Context(settings=SETTINGS, home=Path(), say=lines.append, ask=lines.append))
    verdicts = {line.split()[0]: line.split()[-1] for line in lines if line.endswith(("under", "OVER"))}
    assert list(verdicts) == list(SETTINGS.prices["instances"])
    assert (verdicts["m5.xlarge"], verdicts["m5.2xlarge"]) == ("under", "OVER")
    assert [word for word in ("2025-03-02", "ASSUMED", "no AWS bill", "MINI") if word not in "\n".join(lines)] == []
