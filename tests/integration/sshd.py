"""The primary node as the tunnel sees it: a real sshd, and what it is asked to forward to, on a loopback of their own.

Both ends of the tunnel are port 9443 of localhost, so the far one is in a network namespace, tied to this machine by a
cable (veth). The user `hadoop` is not made: a program `ssh` at the head of PATH calls the real one for another user
and another address, and leaves all else, above all the check of the host's key, to what it was called with.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from namespaces import add_namespace, remove_namespaces, run_ip, set_cable, start_inside

SSHD = Path("/usr/sbin/sshd")
_KINDS = ("ed25519", "ecdsa")
_PRIVILEGES = Path("/run/sshd")  # sshd locks itself up there, and does not start without it
_CONFIG = """
Port 22
ListenAddress {address}
{host_keys}
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH={folder}/bin:/usr/bin:/bin
"""
_WRAPPER = """#!/bin/sh
for part; do case "$part" in hadoop@*) host="${{part#hadoop@}}" ;; esac; done
exec "{ssh}" -F none {options} -o User={user} -o HostName={address} -o HostKeyAlias="$host" "$@"
"""
# Sets a password as `chpasswd` in the Hub's container does: tests/integration/hub.py reads that file.
_SUDO = """#!/bin/sh
[ "$*" = "docker exec -i jupyterhub chpasswd" ] || exit 127
[ -d "{folder}/hub" ] || {{ echo "no such container: jupyterhub" >&2; exit 1; }}
cat > "{folder}/hub/password"
"""


def why_not() -> str:
    """Say what is missing here, if anything is."""
    if not SSHD.is_file() or shutil.which("ssh") is None:
        return f"there is no {SSHD}, or no ssh: apt-get install openssh-server"
    if os.geteuid() or shutil.which("ip") is None:
        return "a network namespace needs root and iproute2"
    space = f"fruits-{os.getpid()}-look"
    try:
        add_namespace(space)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace can be made here: {getattr(error, 'stderr', error)}"
    finally:
        remove_namespaces([space])
    return ""


@dataclass
class Primary:
    """The machine; `start` puts any program on it, and whatever runs there at the end is killed.

    `address` is its own, `gateway` that of this machine, as it sees it.
    """

    folder: Path
    address: str
    gateway: str
    namespace: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, env: Mapping[str, str] | None = None, log: str) -> Path:
        """Start a program on this machine, with its loopback; return the file that it writes to."""
        file = self.folder / log
        self.processes.append(start_inside(self.namespace, command, log=file, env=env))
        return file

    def start_sshd(self, *, keys: str = "first") -> None:
        """Start sshd with the host keys of a name, made when first named, and wait until it listens."""
        files = [self._host_key(keys, kind) for kind in _KINDS]
        text = _CONFIG.format(
            address=self.address, folder=self.folder, host_keys="\n".join(f"HostKey {file}" for file in files)
        )
        (self.folder / "sshd_config").write_text(text)
        _write_program(self.folder / "bin" / "sudo", _SUDO.format(folder=self.folder))
        (self.folder / "sshd.pid").unlink(missing_ok=True)
        log = self.start(str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config"), log="sshd.log")
        end = time.monotonic() + 20
        while not (self.folder / "sshd.pid").is_file():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)

    def restart_sshd(self, *, keys: str = "first") -> None:
        self.cut()
        self.start_sshd(keys=keys)

    def cut(self) -> None:
        """Kill sshd and every connection it has; the others on this machine go on."""
        self.kill("sshd")

    def set_cable(self, *, plugged: bool) -> None:
        set_cable(self.namespace, plugged=plugged)

    def allow(self, private_key: Path) -> None:
        """Let in whoever has this key, and nobody else."""
        public = subprocess.run(["ssh-keygen", "-y", "-f", private_key], check=True, capture_output=True)
        (self.folder / "authorized_keys").write_bytes(public.stdout)

    def host_keys(self, *, keys: str = "first") -> list[str]:
        """Return the public host keys of a name."""
        return [self._host_key(keys, kind).with_suffix(".pub").read_text().strip() for kind in _KINDS]

    def console(self, *, keys: str = "first") -> str:
        """Return what cloud-init writes to the console of an instance."""
        lines = ["-----BEGIN SSH HOST KEY KEYS-----", *self.host_keys(keys=keys), "-----END SSH HOST KEY KEYS-----"]
        return "[   12.3] cloud-init: done\r\n" + "\r\n".join(lines) + "\r\n"

    def install_ssh(self, folder: Path, *, options: str = "") -> None:
        """Put the program `ssh` that leads to this machine into a folder, which may then head a PATH."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        text = _WRAPPER.format(ssh=shutil.which("ssh"), options=options, user=user, address=self.address)
        _write_program(folder / "ssh", text)

    def kill(self, name: str = "") -> None:
        """Kill all that runs on this machine, or what bears a name, whatever it has forked."""
        while found := [pid for pid in self._list_pids() if not name or _name_of(pid) == name]:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.processes:
                process.poll()  # a zombie is on the list, too
            time.sleep(0.02)

    def _list_pids(self) -> list[int]:
        return [int(pid) for pid in run_ip("netns", "pids", self.namespace).split()]

    def _host_key(self, keys: str, kind: str) -> Path:
        file = self.folder / f"{keys}_{kind}"
        if not file.exists():
            command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "root@primary", "-f", str(file)]
            subprocess.run(command, check=True, capture_output=True)
        return file


def _write_program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def _name_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


@contextmanager
def primary_machine(folder: Path) -> Iterator[Primary]:
    """Make the machine, with sshd at work; at the end kill what runs on it, and remove it."""
    # Of this process alone, since tests of other clones may run beside it: addresses of a network of four.
    space, cable, block = f"fruits-{os.getpid()}-hub", f"hub{os.getpid()}", 4 * (os.getpid() % 16384)
    here, there = (f"10.78.{(block + number) // 256}.{(block + number) % 256}" for number in (1, 2))
    folder.mkdir(parents=True, exist_ok=True)
    primary = Primary(folder, there, here, space)
    made = not _PRIVILEGES.is_dir()
    _PRIVILEGES.mkdir(mode=0o755, exist_ok=True)
    add_namespace(space)
    try:
        run_ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        run_ip("addr", "add", f"{here}/30", "dev", cable)
        run_ip("link", "set", cable, "up")
        run_ip("-n", space, "addr", "add", f"{there}/30", "dev", "eth0")
        primary.set_cable(plugged=True)
        primary.start_sshd()
        yield primary
    finally:
        primary.kill()
        for process in primary.processes:
            process.wait(timeout=20)
        remove_namespaces([space])
        if made:
            _PRIVILEGES.rmdir()
