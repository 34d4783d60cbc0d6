"""`scripts/aws_setup.sh connect` through a real sshd on a loopback of its own; budget: 60 seconds.

The cluster is moto's, the key is the one that `create-bucket` fetched, the host keys come by `get_console_output`.
"""

import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cloud import shell
from connection import SCRIPT, Connection, ask_hub, connecting, find_cluster, home_of, open_terminal, show_console
from emr.context import Context
from emr.settings import load_settings
from emr.tunnel import HISTORY, KNOWN_HOSTS, LIVE, PORT, is_taken, ssh_commands
from machines import wait_for
from sshd import Primary, primary_machine, why_not

pytestmark = pytest.mark.integration
pytest_plugins = ("cloud_fixtures", "tunnel_fixtures")
HUB = Path(__file__).with_name("hub_double.py")
OPEN = "Open: https://localhost:9443"


@pytest.fixture(scope="module")
def primary(port: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    if missing := why_not():
        pytest.skip(missing)
    with primary_machine(tmp_path_factory.mktemp("primary")) as primary:
        log = primary.start(sys.executable, str(HUB), str(primary.folder), log="hub.log")
        wait_for(log, r"(listening)")
        yield primary


@pytest.fixture
def connect(far: Primary, env: dict[str, str], tmp_path: Path) -> Iterator[Connection]:
    with connecting(env, tmp_path) as connection:
        yield connection


def test_the_tunnel_opens_and_ctrl_c_ends_it(connect: Connection, far: Primary, env: dict[str, str]) -> None:
    connect.wait_for(OPEN)
    assert ask_hub(far) == "the Hub"
    assert (far.folder / "hub" / "password").read_text() == f"jovyan:{connect.read_password()}\n"
    pinned = (home_of(env) / KNOWN_HOSTS).read_text().splitlines()
    assert {line.split(" ", 1)[1] for line in pinned} == {key.rsplit(" ", 1)[0] for key in far.host_keys()}
    assert len({line.split(" ")[0] for line in pinned}) == 1
    programs = [child.name() for child in psutil.Process(connect.process.pid).children(recursive=True)]
    assert programs == ["ssh"]
    code, output = connect.interrupt()
    assert (code, output.splitlines()[-1]) == (130, "aws_setup.sh: interrupted")
    assert not is_taken()


def test_the_history_server_of_the_node_is_reached_on_this_machine_only(connect: Connection, far: Primary) -> None:
    page = far.folder / "history" / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("History Server")
    command = ("-u", "-m", "http.server", "18080", "--bind", "127.0.0.1", "--directory", str(page.parent))
    wait_for(far.start(sys.executable, *command, log="history.log"), "(Serving)")
    connect.wait_for(OPEN)
    assert urllib.request.urlopen(f"http://localhost:{HISTORY}/", timeout=10).read() == b"History Server"
    ports = {HISTORY, LIVE, PORT}
    (ssh,) = psutil.Process(connect.process.pid).children(recursive=True)
    listening = {found.laddr for found in ssh.net_connections() if found.status == psutil.CONN_LISTEN}
    assert {address.port for address in listening} == ports
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_nothing_stays_behind_when_it_is_terminated(connect: Connection) -> None:
    connect.wait_for(OPEN)
    connect.process.terminate()
    code, output = connect.end()
    assert (code, output.splitlines()[-1]) == (143, "aws_setup.sh: terminated")
    assert not is_taken()


def test_another_host_is_refused(far: Primary, env: dict[str, str], tmp_path: Path) -> None:
    far.restart_sshd(keys="another")
    with connecting(env, tmp_path) as connection:
        code, output = connection.end()
    assert code == 1
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in output  # ssh's own words
    assert "If the host's key is another one, `terminate`" in output.splitlines()[-1]
    assert "Open" not in output
    assert "the new password" not in output
    assert not is_taken()


def test_without_keys_on_the_console_the_person_is_asked_at_the_terminal(
    far: Primary, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_console(monkeypatch, "still booting")
    (home_of(env) / KNOWN_HOSTS).unlink(missing_ok=True)
    with open_terminal() as terminal, connecting(env, tmp_path, terminal=terminal) as connection:
        terminal.wait_for(b"continue connecting")
        assert not is_taken()
        terminal.type(b"yes\n")
        connection.wait_for(OPEN)
        assert ask_hub(far) == "the Hub"
        terminal.type(b"\x03")
        assert connection.end()[0] == 130
    assert (home_of(env) / KNOWN_HOSTS).read_text()


def test_another_key_is_refused(far: Primary, env: dict[str, str], tmp_path: Path) -> None:
    far.allow(far.folder / "first_ed25519")
    with connecting(env, tmp_path) as connection:
        code, output = connection.end()
    assert code == 1
    assert "Permission denied (publickey)" in output
    assert "if your key was refused, move its file away" in output.splitlines()[-1]
    assert "Open" not in output
    assert not is_taken()


@pytest.mark.parametrize("fault", ["sshd", "container"])
def test_without_a_new_password_there_is_no_tunnel(
    far: Primary, env: dict[str, str], tmp_path: Path, fault: str
) -> None:
    if fault == "sshd":
        far.cut()
    else:
        shutil.rmtree(far.folder / "hub")
    with connecting(env, tmp_path) as connection:
        code, output = connection.end()
    assert code == 1
    assert "no new password was set" in output
    assert ("Connection refused" if fault == "sshd" else "no such container: jupyterhub") in output
    assert "Open" not in output


def test_a_cut_tunnel_is_opened_again(connect: Connection, far: Primary) -> None:
    connect.wait_for(OPEN)
    far.cut()
    connect.wait_for(r"\d\d:\d\d:\d\d The tunnel was cut: ssh ended with 255; trying again in 3 s")
    connect.wait_for("Not open again yet")
    far.start_sshd()
    connect.wait_for(OPEN, times=2)
    assert ask_hub(far) == "the Hub"
    assert connect.interrupt()[0] == 130


def test_the_tunnel_of_a_cluster_that_is_over_is_not_tried_for_long(
    connect: Connection, far: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect.wait_for(OPEN)
    monkeypatch.setattr(find_cluster(), "state", "TERMINATED")
    far.cut()
    code, output = connect.end()
    assert code == 1
    assert re.search(r"the tunnel is over: cluster j-\w+ is TERMINATED", output.splitlines()[-1])
    assert output.count("trying again") <= 2


def test_another_host_after_a_cut_is_refused(connect: Connection, far: Primary) -> None:
    connect.wait_for(OPEN)
    far.restart_sshd(keys="another")
    connect.wait_for("REMOTE HOST IDENTIFICATION HAS CHANGED", times=2)
    code, output = connect.interrupt()
    assert code == 130
    assert output.count(OPEN) == 1
    assert not is_taken()


def test_a_dead_link_is_noticed(far: Primary, env: dict[str, str], tmp_path: Path) -> None:
    """With smaller numbers than the house's (tests/test_emr_tunnel.py), which take a minute; ssh heeds the first."""
    short = "-o ServerAliveInterval=1 -o ServerAliveCountMax=2"
    far.install_ssh(tmp_path / "bin", options=short)
    with connecting(env | {"PATH": f"{tmp_path / 'bin'}:{env['PATH']}"}, tmp_path) as connection:
        connection.wait_for(OPEN)
        began = time.monotonic()
        far.set_cable(plugged=False)
        connection.wait_for("The tunnel was cut", seconds=10)
        assert time.monotonic() - began < 6
        far.set_cable(plugged=True)
        connection.wait_for(OPEN, times=2)
        assert ask_hub(far) == "the Hub"
        code, output = connection.interrupt()
    assert code == 130
    assert "not responding" in output


def test_a_taken_port_is_told_before_anything_is_done(far: Primary, env: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", PORT)), connecting(env, tmp_path) as connection:
        code, output = connection.end()
    assert code == 1
    (line,) = output.splitlines()
    assert line.startswith(f"aws_setup.sh: port {PORT} of this machine is taken")


def test_printing_opens_nothing(far: Primary, env: dict[str, str]) -> None:
    (far.folder / "hub" / "password").write_text("as it was")
    done = shell(str(SCRIPT), "connect", "--print", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"-N -L 9443:localhost:9443 -L 9444:localhost:18080 -L 9445:(ec2-\S+):20888 hadoop@\1\n", done.stdout
    )
    assert (far.folder / "hub" / "password").read_text() == "as it was"
    assert done.stdout.splitlines()[-1].startswith("Tunnel:")
    assert not is_taken()


@pytest.mark.parametrize("name", ["plain", "with space", "50%d of", 'a "quoted" one', "back\\slash", "it's"])
def test_ssh_finds_the_files_of_any_home(tmp_path: Path, name: str) -> None:
    context = Context(settings=load_settings(), home=tmp_path / name, say=print, ask=print)
    command = ssh_commands(context, "ec2-1", certain=True)["tunnel"]
    done = shell(command[0], "-G", "-F", "none", *command[1:])
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert told["userknownhostsfile"] == str(tmp_path / name / KNOWN_HOSTS)
    # Told before its %% is read as one.
    assert told["identityfile"].replace("%%", "%") == str(context.key_file)
    assert told["identityfile"].count("%") == 2 * str(context.key_file).count("%")
