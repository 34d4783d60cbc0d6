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

# Waits up to 10 s.
has_ended() {
  for _ in {1..50}; do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.2
  done
  return 1
}

end_driver() {
  kill -- "-$driver" 2>/dev/null || true
  # Its end closes the output, unless something holds on that heeds no signal, or is out of the group.
  has_ended "$tee" || kill -KILL -- "-$driver" 2>/dev/null || true
  has_ended "$tee" || kill -KILL "$tee" 2>/dev/null || true
}

finish() {
  code=$?
  trap - EXIT
  trap '' TERM INT HUP
  # A copy that is on its way would overwrite the last one.
  if [ -n "$ticker" ]; then kill -- "-$ticker" 2>/dev/null || true; fi
  if [ -n "$driver" ]; then end_driver; fi
  share_log
  echo "$code" | aws s3 cp --only-show-errors - "$place/exit" || true
  rm -rf "$work"
  exit "$code"
}

ticker='' driver='' tee=''
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

aws s3 cp --only-show-errors --recursive "$bucket/code/" "$work/code/" --exclude "wheelhouse/*" --exclude "weights/*" \
  --exclude environment.tar.gz
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

# In the background: bash runs a trap only when what is in the foreground has ended.
exec 3> >(trap '' TERM INT HUP && exec tee -a "$log")
tee=$!
# Each job a process group of its own, so that its children can be ended with it.
set -m
"$venv/bin/python" -u -c 'from fruits_cli.cli import main; main()' run "$mode" --target emr </dev/null >&3 2>&1 3>&- &
driver=$!
exec 3>&-

# EMR counts a cluster as idle that runs nothing on YARN, such as while the report is written; this file says it is not.
# Killed outright, this script runs no trap: then nothing of it may go on, or the cluster would never end itself.
while sleep "${FRUITS_TICK:-10}"; do
  kill -0 $$ 2>/dev/null || { end_driver && share_log && rm -rf "$work" && break; }
  share_log
  if [ -d "$(dirname "$busy")" ]; then touch "$busy" || true; fi
done &
ticker=$!
set +m
wait "$driver"
