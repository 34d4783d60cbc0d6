"""A cluster whose Spark, Livy and Hub are set by the classifications of emr/, with this machine as its only node.

The bucket is filled by the commands of emr/ themselves; only what a machine without YARN and EMRFS cannot do is put
in the place of what the classifications say: two cores here for YARN, S3A for EMRFS.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hub
import pytest
from cloud import BUCKET, shell
from doubles import KEYS, REGION, list_keys, local_s3, make_client
from emr.cli import HOME_VARIABLE
from emr.cluster import VENV
from emr.context import SPARK_LOGS
from emr.settings import load_settings
from livy_server import LOCAL_SPARK, Livy, find_obstacle, start_livy
from template import read_cluster, read_properties

from fruits.params import repository
from fruits.session import connect_s3, find_s3_jars

OBSTACLES = [
    pytest.mark.skipif(not find_s3_jars(), reason="Spark has no S3A here: make s3 fetches it"),
    pytest.mark.skipif(bool(find_obstacle()), reason=find_obstacle()),
    pytest.mark.skipif(not hub.is_built(), reason=hub.NO_HUB),
]
SCRIPT = repository() / "scripts" / "aws_setup.sh"
NOTEBOOK_KEY = "jupyter/jovyan/emr_jupyterhub.ipynb"
_YARN = ("spark.yarn.", "spark.dynamicAllocation.", "spark.executor.", "spark.default.parallelism")


@dataclass(frozen=True)
class Cluster:
    """What is there: the bucket's client and address, Livy, the images, and the classifications that set it all."""

    s3: Any
    endpoint: str
    livy: Livy
    images: Path
    classifications: list[dict[str, Any]]

    def keys(self, prefix: str) -> set[str]:
        found = list_keys(self.s3, BUCKET, prefix=prefix)
        return {key.removeprefix(prefix) for key in found if not key.endswith("/")}

    def remove(self, prefix: str) -> None:
        """Remove what an earlier test put there: results of other images are not replaced."""
        for key in list_keys(self.s3, BUCKET, prefix=prefix):
            self.s3.delete_object(Bucket=BUCKET, Key=key)

    def get(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


@contextmanager
def start_cluster(folder: Path, *, images: Path, weights: Path, home: Path, python: Path) -> Iterator[Cluster]:
    """Fill a bucket by `create-bucket` and `upload-dataset`, and start Livy as the classifications say.

    Parameters
    ----------
    home
        Where the commands keep their state; `data/models` in it holds the converted weights.
    python
        The interpreter of a node, made by bootstrap.sh.
    """
    with local_s3() as endpoint:
        cloud = KEYS | {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": REGION, HOME_VARIABLE: str(home)}
        upload = ["upload-dataset", str(images), "--weights", str(weights)]
        for command in (["create-bucket", BUCKET], upload):
            done = shell(str(SCRIPT), *command, "--yes", env=os.environ | cloud, cwd=folder)
            assert done.returncode == 0, done.stdout + done.stderr
        make_client(endpoint).put_object(Bucket=BUCKET, Key=SPARK_LOGS)  # as `create-cluster` does
        classifications = read_cluster(load_settings(), bucket=BUCKET)["Configurations"]
        spark = read_settings(classifications, "spark-defaults", python=python)
        spark = {name: value for name, value in spark.items() if not name.startswith(_YARN)}
        here = {name: value for name, value in LOCAL_SPARK.items() if not name.startswith("spark.pyspark.")}
        jars = {"spark.driver.extraClassPath": os.pathsep.join(map(str, find_s3_jars()))}
        spark |= connect_s3(find_s3_jars(), local=True, environ=cloud) | jars | here | {"spark.driver.memory": "1g"}
        livy = read_settings(classifications, "livy-conf", python=python)
        env = cloud | read_settings(classifications, "livy-env", python=python)
        with start_livy(folder / "livy", spark=spark, livy=livy, env=env) as server:
            yield Cluster(make_client(endpoint), endpoint, server, images, classifications)


def read_settings(classifications: list[dict[str, Any]], name: str, *, python: Path) -> dict[str, str]:
    """Return the properties of a classification, or those it exports, with a node's Python as it lies here."""
    values = read_properties(classifications, name)
    return {key: value.replace(f"{VENV}/bin/python", str(python)) for key, value in values.items()}
