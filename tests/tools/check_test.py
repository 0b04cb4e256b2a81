#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/check counts every form of test output, and nothing passes by silence."""
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

sys.dont_write_bytecode = True
LOADER = SourceFileLoader('check', str(Path(__file__).resolve().parents[2] / 'tools/check'))
check = module_from_spec(spec_from_loader('check', LOADER))
LOADER.exec_module(check)

CMOCKA = '[==========] Running 3 test(s).\n[ RUN      ] a\n[       OK ] a\n'
CMOCKA_END = '[==========] 3 test(s) run.\n[  PASSED  ] 1 test(s).\n[  FAILED  ] b\n'

# name: output, status, then the numbers of passed, failed and skipped tests
CASES = {
    'plain lines': ('PASS a\nFAIL b: why\n  detail\nSKIP c: why\nPASS d\n', 1, (2, 1, 1)),
    'words that only look like results': ('PASSED\nPASS a\n  FAIL b\nFAILURE c\n', 0, (1, 0, 0)),
    'cmocka, its closing list not counted twice':
        (CMOCKA + '[ RUN      ] b\n[  FAILED  ] b\n[ RUN      ] c\n[  SKIPPED ] c\n' + CMOCKA_END,
         1, (1, 1, 1)),
    'cmocka that crashes in a test': (CMOCKA + '[ RUN      ] b\n', -11, (1, 1, 0)),
    'cmocka that leaves quietly in a test': (CMOCKA + '[ RUN      ] b\n', 0, (1, 1, 0)),
    'cmocka that fails outside a test': (CMOCKA + CMOCKA_END, 1, (1, 1, 0)),
    'TAP': ('1..3\nok 1 - a\nnot ok 2 - b\n# why\nnot ok 3 # SKIP c\n# not ok - group\n', 1,
            (1, 1, 1)),
    'TAP that stops early': ('1..3\nok 1 - a\n', 0, (1, 1, 0)),
    'failure without a FAIL line': ('PASS a\n', 3, (1, 1, 0)),
    'killed': ('PASS a\n', -9, (1, 1, 0)),
    'stopped at its time limit': ('PASS a\n', 'stopped after 5 s', (1, 1, 0)),
    'no test at all': ('hello\n', 0, (0, 1, 0)),
    'no test at all, and fails': ('', 1, (0, 1, 0)),
    'only a skipped test': ('SKIP a: why\n', 0, (0, 0, 1)),
}


def time_limit_is_kept():
    start = time.monotonic()
    output, status = check.execute('echo PASS a; sleep 60', 1)
    return output == 'PASS a\n' and status == 'stopped after 1 s' and time.monotonic() - start < 30


def main():
    failed = 0
    for name, (output, status, expected) in CASES.items():
        result = check.count('program', output, status)
        counts = (len(result.passed), len(result.failed), len(result.skipped))
        if counts == expected:
            print(f'PASS check: {name}')
        else:
            failed += 1
            print(f'FAIL check: {name}: counted {counts}, not {expected}')
    if time_limit_is_kept():
        print('PASS check: time limit')
    else:
        failed += 1
        print('FAIL check: time limit')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
