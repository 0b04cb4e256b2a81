#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/check-layers finds each violation.

A small good tree passes. Each change to it that breaks one rule fails that rule and no other, and
the report names the place.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / 'tools/check-layers'
SPDX = '/* SPDX-License-Identifier: MIT */\n'
HEADER = SPDX + '#pragma once\n'

GOOD = {
    'include/km/wdm.h': HEADER + '#include <stdint.h>\n',
    'include/ketch/ketch.h': HEADER,
    'src/port/port.h': HEADER + 'void port_spin(void);\n',
    'src/rtl/rtl.h': HEADER + '#include <wdm.h>\n',
    'src/vf/vf.h': HEADER,
    'src/vf/vf.c': SPDX + '#include "ke/ke.h"\n#include "ldr/ldr.h"\n',
    'src/ke/ke.h': HEADER + '#include "rtl/rtl.h"\n#include "port/port.h"\n#include "vf/vf.h"\n',
    'src/ke/ke_internal.h': HEADER + '#include "ke/ke.h"\n',
    'src/ke/internal.h': HEADER,
    'src/ke/good.c': SPDX + '#include "ke_internal.h"\n'
                     'void *memcpy(void *, const void *, unsigned long);\n'
                     'int table[8];\nstatic int ke_local(int n) { return table[n & 7]; }\n'
                     'int KeGood(void *a, void *b) { port_spin(); memcpy(a, b, 4000); '
                     'return ke_local(*(int *)a); }\nint Mixed(int n) { return n; }\n'
                     'int ExpInterlockedGood(int n) { return KeGood(&n, &n); }\n',
    'src/io/io.h': HEADER + '#include "ke/ke.h"\n',
    'src/ldr/ldr.h': HEADER + '#include "io/io.h"\n',
    'src/ldr/ddi/ex.def': SPDX + 'DDI(ExpInterlockedGood, NTOSKRNL, 0, 15, 0x500, R, 0)\n',
    'src/port/linux/linux.c': SPDX + '#include <signal.h>\n#include "port/port.h"\n',
    'include/km/again.h': SPDX + '/* No include guard: read several times. */\n',
    'src/cli/main.c': SPDX + '#include <ketch/ketch.h>\n#include <stdio.h>\n',
    'examples/a/a.c': SPDX + '#include <wdm.h>\n',
}

# name: the rule that must fail, words of the report, and the files that break it
BAD = {
    'core includes libc': ('includes', 'src/ke/bad.c:2: <stdio.h>',
                           {'src/ke/bad.c': SPDX + '#include <stdio.h>\n'}),
    'ke includes io': ('includes', 'src/ke/bad.c:2: "io/io.h"',
                       {'src/ke/bad.c': SPDX + '#include "io/io.h"\n'}),
    'include behind a comment': ('includes', 'src/ke/bad.c:3: "io/io.h"',
                                 {'src/ke/bad.c': SPDX + '/* a\n */ # include "io/io.h"\n'}),
    'private header of another part': ('includes', 'private to src/ke',
                                       {'src/io/bad.c': SPDX + '#include "ke/ke_internal.h"\n'}),
    'private header by a relative path': ('includes', 'private to src/ke',
                                          {'src/io/bad.c':
                                           SPDX + '#include "../ke/ke_internal.h"\n'}),
    'verifier includes a private header': ('includes', 'private to src/ke',
                                           {'src/vf/bad.c':
                                            SPDX + '#include "ke/internal.h"\n'}),
    'km includes the core': ('includes', 'include/km/bad.h:3',
                             {'include/km/bad.h': HEADER + '#include "../../src/rtl/rtl.h"\n'}),
    'port.h includes the core': ('includes', 'src/port/port.h:3',
                                 {'src/port/port.h': HEADER + '#include "../vf/vf.h"\n'
                                                     'void port_spin(void);\n'}),
    'linux includes the core': ('includes', 'src/port/linux/bad.c:2',
                                {'src/port/linux/bad.c': SPDX + '#include "ke/ke.h"\n'}),
    'cli includes the port': ('includes', 'src/cli/bad.c:2',
                              {'src/cli/bad.c': SPDX + '#include "port/port.h"\n'}),
    'example includes libc': ('includes', 'examples/a/bad.c:2',
                              {'examples/a/bad.c': SPDX + '#include <stdlib.h>\n'}),
    'include of a macro': ('includes', 'src/ke/bad.c:2: WHAT',
                           {'src/ke/bad.c': SPDX + '#include WHAT\n'}),
    'folder without a row': ('includes', 'no row in LAYERS',
                             {'src/new/bad.c': SPDX + '#include <stdint.h>\n'}),
    'header that needs another': ('headers-alone', 'src/ke/bad.h',
                                  {'src/ke/bad.h': HEADER + 'int ke_bad(uint8_t n);\n'}),
    'header that is not C++': ('headers-alone', 'include/km/bad.h (C++ driver)',
                               {'include/km/bad.h': HEADER + 'static int *p = (void *)8;\n'
                                                    'static inline int *f(void) { return p; }\n'}),
    'long file': ('length', 'src/ke/bad.c: 501 lines', {'src/ke/bad.c': SPDX + '\n' * 500}),
    'no licence': ('licence', 'src/ke/bad.c', {'src/ke/bad.c': '/* mine */\n'}),
    'no pragma once': ('pragma-once', 'src/ke/bad.h', {'src/ke/bad.h': SPDX}),
    'libc call': ('undefined', 'bad.o: strlen',
                  {'src/ke/bad.c': SPDX + 'int strlen(int);\n'
                                   'int ke_bad(int n) { return strlen(n); }\n'}),
    'weak libc call': ('undefined', 'bad.o: puts',
                       {'src/ke/bad.c': SPDX + '__attribute__((weak)) int puts(int);\n'
                                        'int ke_bad(int n) { return puts ? puts(n) : 0; }\n'}),
    'compiler runtime': ('undefined', 'bad.o: __divti3',
                         {'src/ke/bad.c': SPDX + '__int128 ke_bad(__int128 a, __int128 b)\n'
                                          '{\n\treturn a / b;\n}\n'}),
    'port function without declaration': ('port', 'bad.o: port_secret',
                                          {'src/ke/bad.c':
                                           SPDX + 'void port_secret(void);\n'
                                           'void ke_bad(void) { port_secret(); }\n'}),
    'unpublished name': ('unpublished', 'bad.o: KiBad',
                         {'src/ke/bad.c': SPDX + 'int KiBad(int n) { return n; }\n'}),
    'static unpublished name': ('unpublished', 'bad.o: MiBad',
                                {'src/ke/bad.c':
                                 SPDX + '__attribute__((used)) static void MiBad(void) {}\n'}),
    'thread-local variable': ('tls', 'bad.o: .tbss',
                              {'src/ke/bad.c': SPDX + '_Thread_local int ke_bad;\n'}),
    'constructor': ('constructors', 'bad.o: .init_array',
                    {'src/ke/bad.c':
                     SPDX + 'int ke_bad;\n'
                     '__attribute__((constructor)) static void bad(void) { ke_bad = 1; }\n'}),
}


def build_core(root):
    """Compile the core of a tree to an archive, as Meson does."""
    objects = []
    for source in sorted((root / 'src').rglob('*.c')):
        if 'linux' in source.parts or 'cli' in source.parts:
            continue
        objects.append(root / f'{source.stem}.o')
        subprocess.run(['gcc', '-w', '-fPIC', '-O2', '-ffreestanding', '-Iinclude/km',
                        '-Iinclude', '-Isrc', '-c', source, '-o', objects[-1]],
                       cwd=root, check=True, stderr=subprocess.DEVNULL)
    archive = root / 'core.a'
    subprocess.run(['ar', 'rcsT', archive, *objects], check=True)
    return archive


def failing_rules(files, with_core):
    """Run check-layers on a tree of files: the rules that failed, and the report."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        core = ['--core', build_core(root)] if with_core else ['--no-core']
        run = subprocess.run([CHECK, '--root', root, *core], capture_output=True, text=True)
        report = run.stdout + run.stderr
        rules = [line.split(':')[0][5:] for line in report.splitlines()
                 if line.startswith('FAIL ')]
        if (run.returncode != 0) != bool(rules):
            report += f'exit status {run.returncode} does not fit'
            rules.append('exit status')
        return rules, report


def main():
    failed = 0
    cases = [('good tree', [], '', {}, True)]
    cases += [(name, [rule], words, files, rule not in
               ('includes', 'headers-alone', 'length', 'licence', 'pragma-once'))
              for name, (rule, words, files) in BAD.items()]
    for name, expected, words, files, with_core in cases:
        rules, report = failing_rules(GOOD | files, with_core)
        if rules == expected and words in report:
            print(f'PASS check-layers: {name}')
        else:
            failed += 1
            print(f'FAIL check-layers: {name}: expected {expected} with "{words}", got:')
            print('  ' + report.replace('\n', '\n  '))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
