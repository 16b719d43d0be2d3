#!/usr/bin/env bash
# Everything that is to be measured on a GPU, from a bare clone, without a network:
#
#     bash perf/gpu.sh [--out FOLDER]      # needs python3 with torch for CUDA; at most 8 minutes on an H100
#     bash perf/gpu.sh --cpu               # rehearses the same with small shapes
#
# Writes gpu.json and gpu.md. Packages that python3 lacks are taken from wheels; fetch them beforehand where there is a network:
#
#     python3 -m pip download --no-deps --only-binary=:all: -d perf/wheels -r perf/gpu_wheels.txt
#     python3 -m pip wheel --no-deps -w perf/wheels antlr4-python3-runtime==4.9.3      # has no wheel of its own
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export HF_HUB_OFFLINE=1 WANDB_MODE=offline TOKENIZERS_PARALLELISM=false
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
export PYTHONPATH="$PWD/src:$PWD/perf:$PWD/tests${PYTHONPATH:+:$PYTHONPATH}"
missing=$("$python" - perf/gpu_wheels.txt <<'PY'
import re
import sys
from importlib.metadata import PackageNotFoundError, version

for line in open(sys.argv[1]):
    name = re.match(r"[\w.-]*", line)[0]
    try:
        name and version(name)
    except PackageNotFoundError:
        print(line.split("#")[0].strip())
PY
)
if [ -n "$missing" ]; then
    if ! "$python" -m pip install --quiet --no-deps --no-index --find-links perf/wheels --target "$packages" $missing; then
        echo "missing packages: $missing; fetch their wheels into perf/wheels as the first lines of perf/gpu.sh say" >&2
        exit 1
    fi
    export PYTHONPATH="$packages:$PYTHONPATH"
fi
"$python" perf/gpu.py "$@"
