#!/usr/bin/env bash
# Runs on every node before Spark does: installs the pinned environment into a venv, or fails loudly, whereupon EMR
# ends the cluster and says so.
#
#   bootstrap.sh VENV REQUIREMENTS [WHEELHOUSE]      the last two are files or folders here, or s3:// places
#   bootstrap.sh VENV ENVIRONMENT.tar.gz             unpacks it for the driver, on the primary node only: Spark brings
#                                                    it to the executors
#
# FRUITS_PYTHON  the interpreter (default: /usr/bin/python3.11, which EMR 7.1 and later have)
# FRUITS_NODE    what EMR says of this node (default: /mnt/var/lib/info/instance.json)
set -euo pipefail
trap 'echo "bootstrap.sh: line $LINENO failed: the environment is not installed" >&2' ERR

if [ $# -lt 2 ]; then
  echo "usage: bootstrap.sh VENV REQUIREMENTS [WHEELHOUSE]" >&2
  exit 2
fi
venv=$1 requirements=$2 wheelhouse=${3:-}
python=${FRUITS_PYTHON:-/usr/bin/python3.11}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  echo "bootstrap.sh: $python is not Python 3.11; take a release of EMR that has it (7.1.0 or later)" >&2
  exit 1
fi

packed=
case $requirements in *.tar.gz) packed=1 ;; esac
if [ -n "$packed" ] && ! grep -q '"isMaster": *true' "${FRUITS_NODE:-/mnt/var/lib/info/instance.json}"; then
  echo "bootstrap.sh: nothing to do here: Spark brings the environment to its executors"
  exit 0
fi

# On a node the parent folder belongs to root and this script runs as hadoop.
parent=$(dirname "$venv")
if ! mkdir -p "$parent" 2>/dev/null || [ ! -w "$parent" ]; then
  sudo mkdir -p "$parent"
  sudo chown "$(id -u)" "$parent"
fi

case $requirements in
  s3://*) aws s3 cp --only-show-errors "$requirements" "$work/given" ;;
  *) cp "$requirements" "$work/given" ;;
esac
case $wheelhouse in
  s3://*)
    aws s3 cp --only-show-errors --recursive "$wheelhouse" "$work/wheels"
    wheelhouse=$work/wheels
    ;;
esac

options=(--disable-pip-version-check --no-input --require-hashes --only-binary=:all:)
# The pins are uv's, which heeds no upper bounds of Python versions: backports-strenum says "<3.11" and works on it.
options+=(--ignore-requires-python)
if [ -n "$wheelhouse" ]; then
  options+=(--no-index --find-links "$wheelhouse")
fi
rm -rf "$venv"
if [ -n "$packed" ]; then
  mkdir "$venv"
  tar -xzf "$work/given" -C "$venv"
else
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet "${options[@]}" -r "$work/given"
fi

# What only fails when a task first imports it would fail after minutes that were paid for.
"$venv/bin/python" - <<'PYTHON'
import ai_edge_litert.interpreter
import boto3
import bs4
import click
import h5py
import ipykernel
import matplotlib
import nbconvert
import numpy
import pandas
import papermill
import PIL.Image
import pyarrow.parquet
import scipy.linalg
import tqdm
import yaml
PYTHON
echo "bootstrap.sh: $venv is ready"
