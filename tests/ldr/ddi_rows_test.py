#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rows of the DDI table: sorted in each file, unique in all, consistent in themselves."""
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent / 'src'
LEVELS = {'PASSIVE': 0, 'APC': 1, 'DISPATCH': 2, 'DIRQL': 12, 'IPI': 14, 'HIGH': 15}
MODULES = {'NTOSKRNL', 'HAL', 'NETIO', 'NDIS'}
FLAGS = {'0', 'DDI_THUNK', 'DDI_NMI', 'DDI_STORPORT', 'DDI_FAULT'}
VERSIONS = {0x0500, 0x0501, 0x0502, 0x0600, 0x0601, 0x0602, 0x0603, 0x0A00}
ROW = re.compile(r'(DDI|DDI_AS|DDI_DATA)\((.*)\)$')


def row_errors(columns, rules):
    """What is wrong with the columns of a function's row from the module on."""
    module, low, high, version, rule, flags = columns
    flags = {flag.strip() for flag in flags.split('|')}
    if module not in MODULES:
        yield f'{module} is no module'
    bounds = [LEVELS.get(bound, int(bound) if bound.isdigit() else 16) for bound in (low, high)]
    if bounds[0] > bounds[1] or bounds[1] > 15:
        yield f'{low} to {high} is no range of IRQLs'
    if int(version, 16) not in VERSIONS:
        yield f'{version} is no version'
    if rule not in rules:
        yield f'{rule} is no rule'
    if not flags <= FLAGS:
        yield f'{flags - FLAGS} are no flags'
    if 'DDI_FAULT' in flags and 'DDI_THUNK' not in flags:
        yield 'DDI_FAULT needs DDI_THUNK: without a record no exception can be raised at the call'
    if 'DDI_NMI' in flags and high != 'HIGH':
        yield f'DDI_NMI, but the highest IRQL is {high}'


def main():
    rules = set(re.findall(r'^RULE\((\w+)', (SOURCE / 'vf/rules.def').read_text(), re.M))
    files = re.findall(r'#include "([^"]+)"', (SOURCE / 'ldr/ddi.def').read_text())
    missing = {f'ldr/ddi/{path.name}' for path in (SOURCE / 'ldr/ddi').iterdir()} - set(files)
    errors = [f'{name}: not included by ldr/ddi.def' for name in sorted(missing)]
    seen, count = {}, 0
    for name in files:
        last = ''
        for number, line in enumerate((SOURCE / name).read_text().splitlines(), 1):
            place = f'{name}:{number}'
            if not line or line.startswith(('/*', ' *')):
                continue
            if not (match := ROW.match(line)):
                errors.append(f'{place}: not a row: {line}')
                continue
            columns = [column.strip() for column in match[2].split(',')]
            row, count = columns[0], count + 1
            if row <= last:
                errors.append(f'{place}: {row} comes after {last}: rows are sorted by name')
            if row in seen:
                errors.append(f'{place}: {row} is at {seen[row]} too')
            last, seen[row] = row, place
            if match[1] == 'DDI_DATA':
                wrong = [] if len(columns) == 3 else ['a variable has 3 columns']
            else:
                first = 2 if match[1] == 'DDI_AS' else 1
                wrong = row_errors(columns[first:], rules) if len(columns) == first + 6 \
                    else [f'{len(columns)} columns']
            errors += [f'{place}: {row}: {text}' for text in wrong]
    for error in errors:
        print(f'FAIL ddi-rows: {error}')
    if not errors and count > 100:
        print(f'PASS ddi-rows: {count} rows')
    return 1 if errors or count <= 100 else 0


if __name__ == '__main__':
    sys.exit(main())
