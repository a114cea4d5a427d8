#!/bin/sh
# Every bundle must also run on tflite-runtime 2.14, the fall-back where LiteRT has no wheel. It needs Python
# 3.11 and numpy < 2, so it gets an environment of its own (kept between runs).
#   .ci/tflite-runtime-check.sh [BUNDLE...]     default: the shipped bundles
# Exit 0: all agree; 1: one does not; 77: not checked here (no Python 3.11, or no wheel for this machine).
set -eu
cd "$(dirname "$0")/.."
environment=${TFLITE_RUNTIME_VENV:-build/tflite-runtime}
if [ ! -x "$environment/bin/python" ] || ! "$environment/bin/python" -c "import tflite_runtime" 2>/dev/null; then
    if ! command -v python3.11 >/dev/null; then
        echo "tflite-runtime: not checked, there is no python3.11 here" >&2
        exit 77
    fi
    python3.11 -m venv --clear "$environment"
    if ! "$environment/bin/pip" install --quiet --disable-pip-version-check "tflite-runtime==2.14.0" "numpy<2"; then
        echo "tflite-runtime: not checked, pip cannot install tflite-runtime 2.14.0 here" >&2
        exit 77
    fi
fi
[ $# -gt 0 ] || set -- device/bundles/*.tnh
exec "$environment/bin/python" .ci/tflite_runtime_check.py "$@"
