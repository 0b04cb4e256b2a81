#!/bin/bash
# SPDX-License-Identifier: MIT
# Torture under a mode of checking; see torture.py.
# Usage: run.sh plain|asan|tsan|valgrind [--seed N] [--times N] [TEST ...]   TEST: patterns of test names
exec python3 "$(dirname "$(readlink -f "$0")")/torture.py" "$@"
