#!/bin/sh
# make_env.sh PYTHON ALLOWED UV: build .venv from requirements.lock, for `make env`.
# PYTHON: a version or an interpreter; ALLOWED: requires-python of pyproject.toml; UV: the uv to fetch if there is none.
set -eu
python=$1 allowed=$2 uv_version=$3
NEEDED_MB=2900 # `du -sm .venv`, measured on Linux x86_64; uv's cache shares most of it if it is on the same disk

say() { echo "make env: $*" >&2; }

fail() {
  say "$@"
  exit 1
}

# uv is a program in one package; any Python from 3.8 on can fetch it, by either of two ways: Debian leaves out both.
fetch_uv() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  log=$folder/log
  for other in python3 python; do
    if { "$other" -m venv "$folder/venv" && "$folder/venv/bin/python" -m pip install --quiet "uv==$uv_version" &&
      uv=$folder/venv/bin/uv; } >>"$log" 2>&1 ||
      { "$other" -m pip install --quiet --target "$folder/uv" "uv==$uv_version" && uv=$folder/uv/bin/uv; } >>"$log" 2>&1; then
      return
    fi
  done
  tail -n 3 "$log" >&2
  fail "uv $uv_version is needed and could not be fetched. Install one of: uv; Python 3.8 or newer with pip or venv" \
    "(apt-get install python3-venv, brew install python). Then run make env again."
}

case $PWD in
  *[\"\$\`\\:{}]*)
    fail "The name of this folder must hold none of \" \$ \` \\ : { } (programs installed in it would not start); move it."
    ;;
esac

uv=.venv/bin/uv
made_in=
[ ! -f .venv/.ready ] || read -r made_in <.venv/.ready || true
if [ "$made_in" != "$(pwd -P)" ] || ! { "$uv" --version && .venv/bin/python --version; } >/dev/null 2>&1; then
  free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')
  [ "$free" -ge "$NEEDED_MB" ] || fail "$NEEDED_MB MB are needed on the disk of this folder, $free MB are free."
  uv=$(command -v uv) || fetch_uv
  say "the environment takes $NEEDED_MB MB in .venv: TensorFlow 1080, PySpark 340, pyarrow 150, bytecode 250, Spark's archive 150."
  say "What uv's cache ($("$uv" cache dir)) does not have is downloaded from the package index: at most 950 MB."
  case $python in
    */*) ;;
    *) "$uv" python find --system "$python" >/dev/null 2>&1 || say "Python $python is not on this machine. uv fetches" \
      "it into $("$uv" python dir), from the releases of python-build-standalone on GitHub, and tells its size." \
      "To use another one: make env PYTHON=/path/to/python3" ;;
  esac
  rm -rf .venv
  "$uv" venv --no-progress --python "$python" .venv || fail "no environment of Python $python could be made" \
    "(see above). Python $allowed is allowed; to name another one: make env PYTHON=/path/to/python3"
fi

.venv/bin/python -c '
import re, sys
low, high = (tuple(map(int, version.split("."))) for version in re.findall(r"[\d.]+", sys.argv[1]))
sys.exit(not low <= sys.version_info[:2] < high)' "$allowed" || {
  found=$(.venv/bin/python --version)
  rm -rf .venv
  fail "$found was found; $allowed is allowed. Name another one: make env PYTHON=/path/to/python3"
}
"$uv" pip sync --quiet --compile-bytecode --python .venv requirements.lock
# Not by uv, which takes a # in the folder's name for the end of it.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
.venv/bin/python -m scripts.archive_classes || say "Spark's classes were not archived (see above); Spark starts slower."
