"""What a cluster is waited for: roles that AWS has not spread yet, states, its end."""

from pathlib import Path
from typing import Any

import pytest
from emr import cluster, shipment
from emr.account import Account, AwsError, UnclearError
from emr.context import Context
from emr.request import Request
from emr.settings import load_settings
from emr.state import State

from fruits.errors import FruitsError, UsageError


class Played(Account):
    """Answers in the order it was given answers; an exception among them is raised."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        super().__init__("eu-west-1")
        self.answers = list(answers)
        self.asked: list[Request] = []

    def _call(self, request: Request, *, region: str | None) -> dict[str, Any] | None:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cluster, "_EVERY", 0)

    def make(account: Account, said: list[str] | None = None) -> Context:
        state = State(tmp_path / "state.json")
        state.update(bucket="mine", cluster="j-1")
        say = (said if said is not None else []).append
        return Context(
            settings=load_settings(), account=account, state=state, home=tmp_path, say=say, ask=lambda _: None
        )

    return make


REQUEST = Request("emr", "run_job_flow", {})


@pytest.mark.parametrize(
    "words", ["Invalid InstanceProfile: fruits-emr-node.", "Service role fruits-emr-service is invalid"]
)
def test_a_role_just_made_is_waited_for(make: Any, words: str) -> None:
    unknown = AwsError(f"AWS refused emr run_job_flow: ValidationException: {words}", code="ValidationException")
    account = Played(unknown, unknown, {"JobFlowId": "j-7"})
    assert cluster._start(make(account), REQUEST) == "j-7"
    assert len(account.asked) == 3


@pytest.mark.parametrize(
    "refusal",
    [
        AwsError("AWS refused: vCPU limit", code="ValidationException"),
        UnclearError("emr run_job_flow: 500: cannot assume role"),
    ],
)
def test_another_refusal_and_an_unclear_start_are_not_repeated(make: Any, refusal: FruitsError) -> None:
    account = Played(refusal, {"JobFlowId": "j-7"})
    with pytest.raises(type(refusal), match=r"vCPU limit|assume role"):
        cluster._start(make(account), REQUEST)
    assert len(account.asked) == 1


def status(state: str, **reason: str) -> dict[str, Any]:
    return {"Cluster": {"Status": {"State": state, "StateChangeReason": reason}}}


def test_each_change_is_told_once(make: Any) -> None:
    said: list[str] = []
    account = Played(*(status(state) for state in ("STARTING", "STARTING", "BOOTSTRAPPING", "WAITING")))
    cluster.wait_for(make(account, said), "j-1", cluster.READY)
    assert [line.split()[1] for line in said] == ["STARTING", "BOOTSTRAPPING", "WAITING"]


def test_a_cluster_that_ends_instead_says_why_and_where_to_look(make: Any) -> None:
    failed = status("TERMINATED_WITH_ERRORS", Code="BOOTSTRAP_FAILURE", Message="bootstrap action 1 failed")
    said: list[str] = []
    with pytest.raises(cluster.EndedError, match=r"BOOTSTRAP_FAILURE.*s3://mine/logs/j-1/node/ \(bootstrap-actions"):
        cluster._wait_until_ready(make(Played(status("STARTING"), failed), said))
    assert "costs money" not in "".join(said)


def test_a_cluster_in_another_region_than_its_bucket_is_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="lies in eu-west-3, the cluster in eu-west-1"):
        cluster.check_bucket(make(Played({"LocationConstraint": "eu-west-3"})), "mine")


def test_a_cluster_of_the_same_name_but_not_ours_is_not_taken(make: Any) -> None:
    account = Played({"Cluster": {"Status": {"State": "WAITING"}, "Tags": []}})
    account.read_all = lambda *_, **__: [{"Id": "j-2", "Name": "fruits", "Status": {"State": "WAITING"}}]  # type: ignore[method-assign]
    assert cluster.find_cluster(make(account)) is None


@pytest.mark.parametrize("cut", [KeyboardInterrupt, FruitsError, OSError])
def test_whatever_cuts_the_wait_says_that_it_costs_money(
    make: Any, monkeypatch: pytest.MonkeyPatch, cut: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise cut

    said: list[str] = []
    monkeypatch.setattr(cluster, "wait_for", interrupt)
    with pytest.raises(cut):
        cluster._wait_until_ready(make(Played(), said))
    assert said == ["It goes on starting, and costs money until you end it: scripts/aws_setup.sh terminate"]


def test_ctrl_c_in_the_request_says_that_a_cluster_may_have_started(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    said: list[str] = []
    account = Played()
    monkeypatch.setattr(account, "_call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cluster._start(make(account, said), REQUEST)
    assert said == [
        "A cluster may have started; if so, it costs money until you end it: scripts/aws_setup.sh terminate"
    ]


@pytest.mark.parametrize("place", [None, "us-west-2", "eu-west-2"])
def test_nothing_is_sent_to_a_bucket_outside_the_eu(make: Any, fruit_folder: Path, place: str | None) -> None:
    account = Played({"LocationConstraint": place})
    with pytest.raises(UsageError, match="may not leave the EU"):
        shipment.upload_dataset(make(account), fruit_folder, files=True, weights=None)
    assert [request.operation for request in account.asked] == ["get_bucket_location"]
