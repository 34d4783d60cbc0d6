#!/usr/bin/env bash
# One run, on the primary node, as an EMR step: the notebook by papermill with a plain Python kernel, Spark on YARN in
# client mode. Its output is in the bucket while it runs, its exit code when it has ended.
#
#   step.sh BUCKET MODE RUN VENV      BUCKET: s3://name; RUN: a name for this run's folder in logs/runs/
#
# SPARK_HOME, FRUITS_MASTER and FRUITS_TICK (seconds between copies of the output) are for tests: a node needs none.
set -euo pipefail
bucket=$1 mode=$2 run=$3 venv=$4
spark=${SPARK_HOME:-/usr/lib/spark}
busy=/emr/metricscollector/isbusy
place="$bucket/logs/runs/$run"
work=$(mktemp -d)
log=$work/output.log
touch "$log"

share_log() {
  aws s3 cp --only-show-errors "$log" "$place/output.log" || true
}

finish() {
  code=$?
  trap - EXIT
  kill "$ticker" 2>/dev/null || true
  share_log
  echo "$code" | aws s3 cp --only-show-errors - "$place/exit" || true
  rm -rf "$work"
  exit "$code"
}

# EMR counts a cluster as idle that runs nothing on YARN, such as while the report is written; this file says it is not.
while sleep "${FRUITS_TICK:-10}"; do
  share_log
  if [ -d "$(dirname "$busy")" ]; then touch "$busy" || true; fi
done &
ticker=$!
trap finish EXIT

aws s3 cp --only-show-errors --recursive "$bucket/code/" "$work/code/" --exclude "wheelhouse/*" --exclude "weights/*"
"$venv/bin/python" -m zipfile -e "$work/code/repository.zip" "$work/fruits"

export SPARK_HOME=$spark
export KERAS_HOME=$work/code/keras
# The driver's Python, and what it tells the executors to start.
export PYSPARK_PYTHON=$venv/bin/python PYSPARK_DRIVER_PYTHON=$venv/bin/python
# The release's own PySpark, not one from a package index: it must match the cluster's Spark.
py4j=("$spark"/python/lib/py4j-*-src.zip)
export PYTHONPATH=$work/fruits/lib:$spark/python:${py4j[0]}
# Spark's own bar would overwrite the notebook's in the output.
export PYSPARK_SUBMIT_ARGS="--master ${FRUITS_MASTER:-yarn} --deploy-mode client --py-files $work/code/fruits.zip \
  --conf spark.ui.showConsoleProgress=false pyspark-shell"

# The exit code must be the run's, not tee's: pipefail is set.
"$venv/bin/python" -u -c 'from fruits.cli import main; main()' run "$mode" --target emr 2>&1 | tee -a "$log"
