"""Costs: against sums done by hand from the prices in cluster.yaml."""

from datetime import UTC, datetime, timedelta

import pytest
from emr.costs import (
    Node,
    count_up,
    estimate_hour,
    estimate_minutes,
    estimate_run,
    format_table,
    list_variants,
    node_hour,
    to_eur,
)
from emr.settings import load_settings

from fruits.errors import UsageError

SETTINGS = load_settings()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_hour_of_the_cluster() -> None:
    hour = estimate_hour(SETTINGS)
    assert hour.ec2 == pytest.approx(3 * (0.214 + 0.005))
    assert hour.emr == pytest.approx(3 * 0.048)
    assert hour.ebs == pytest.approx(3 * 64 * 0.088 / 730)
    assert hour.total == pytest.approx(0.8241, abs=1e-3)


def test_the_emr_fee_is_not_discounted_on_spot() -> None:
    spot, normal = (node_hour(SETTINGS, "m5.xlarge", market=market) for market in ("SPOT", "ON_DEMAND"))
    assert spot.emr == normal.emr == 0.048
    assert spot.ec2 == pytest.approx(0.214 * 0.4 + 0.005)
    with pytest.raises(UsageError, match=r"p4d\.24xlarge has no price"):
        node_hour(SETTINGS, "p4d.24xlarge", market="ON_DEMAND")


def test_the_minutes_of_full() -> None:
    images = 90_380 / (101.5 * 0.4 * 8) / 60
    assert estimate_minutes(SETTINGS, "FULL") == pytest.approx(7 + 3 + 4 + images)
    assert estimate_minutes(load_settings(["wheelhouse=true"]), "FULL") == pytest.approx(7 + 1 + 4 + images)
    assert estimate_minutes(load_settings(["core_count=4"]), "FULL") == pytest.approx(14 + images / 2)
    assert to_eur(estimate_run(SETTINGS, "FULL").total, SETTINGS) < 0.40  # the aim


def test_files_cost_a_request_each() -> None:
    packed, files = (estimate_run(SETTINGS, "FULL", packed=packed) for packed in (True, False))
    assert files.s3 - packed.s3 == pytest.approx((90_380 - 89) / 1000 * 0.0054, abs=1e-3)
    assert files.s3 > 0.36


def test_nodes_are_reckoned_by_the_second_a_minute_at_least() -> None:
    def cost(seconds: float) -> float:
        node = Node("m5.xlarge", "ON_DEMAND", NOON, NOON + timedelta(seconds=seconds))
        return count_up([node], SETTINGS, now=NOON).total

    assert cost(5) == cost(60) == pytest.approx(cost(3600) / 60)
    assert cost(61) > cost(60)


def test_running_nodes_cost_until_now_and_those_that_went_until_then() -> None:
    spent = count_up([Node("m5.xlarge", "ON_DEMAND", NOON)], SETTINGS, now=NOON + timedelta(hours=2))
    assert spent.minutes == 120
    assert spent.total == pytest.approx(2 * node_hour(SETTINGS, "m5.xlarge", market="ON_DEMAND").total)
    nodes = [Node("m5.xlarge", "SPOT", NOON, NOON + timedelta(minutes=30))] * 2
    spent = count_up(nodes, SETTINGS, now=NOON + timedelta(hours=9))
    assert (spent.minutes, spent.emr) == (30, pytest.approx(0.048))


def test_the_table_says_what_it_rests_on() -> None:
    text = "\n".join(format_table(SETTINGS))
    words = ("FULL", "2.35 EUR", "1.60 EUR", "2025-03-02", "ASSUMED", "Graviton", "wheelhouse", "None of it has been")
    assert [word for word in words if word not in text] == []
    verdicts = {name: line for name, *_ in list_variants(SETTINGS) for line in text.splitlines() if name in line}
    assert verdicts["as in cluster.yaml"].endswith("EUR (0.28 USD)  under")
    assert verdicts["the same, images as files"].endswith("OVER")
