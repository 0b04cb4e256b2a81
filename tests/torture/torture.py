#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tortures a build of ketch: floods, races, hangs and interruptions, in its own machines.

Usage: run.sh plain|asan|tsan|valgrind [--seed N] [--times N] [TEST ...]

plain runs build/, asan build-asan/ (AddressSanitizer and UBSan), tsan build-tsan/, valgrind build/ under memcheck with smaller
counts. --seed repeats a run's random numbers (drivers' choices, and the pauses that sanitizer builds make: KETCH_DELAY_SEED);
--times multiplies the counts. TEST is a shell pattern of test names.
Prints `PASS name` and `FAIL name: why`, with the output of what failed, and `N passed, N failed`.

Each run must end by itself with the expected exit status, break no rule, print no FAIL, and leave on each processor
sent = delivered + coalesced + latched NMIs. A sanitizer's report fails the run by its exit status.
"""
import argparse
import fnmatch
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

VALGRIND = ['valgrind', '-q', '--error-exitcode=99', '--fair-sched=yes', f'--suppressions={HERE / "memcheck.supp"}']

# Build tree, command in front, rounds in percent, processors at most, seeds per driver, patience in seconds for one run.
MODES = {
    'plain': ('build', [], 100, 4, 1, 60),
    'asan': ('build-asan', [], 40, 4, 2, 90),
    'tsan': ('build-tsan', [], 15, 4, 2, 120),
    'valgrind': ('build', VALGRIND, 4, 2, 1, 120),
}

# How much the process may grow when a driver comes and goes 200 times. The record of an unloaded image is kept, for messages
# that name its addresses: 5 KiB each time; the checkers' own memory is in it, too.
GROWTH_KIB = {'plain': 1600, 'asan': 4096, 'tsan': 16384, 'valgrind': 16384}

TESTS = []


def test(*modes):
    """Registers a function as a test: of these modes, or of all."""
    def register(function):
        TESTS.append((function.__name__.replace('_', '-'), function, modes or tuple(MODES)))
        return function
    return register


class Failure(Exception):
    """Why a test failed."""


class Torture:
    """What the tests of one run share."""

    def __init__(self, mode, seed, times, work):
        self.mode, self.seed, self.work = mode, seed, Path(work)
        self.tree, self.front, percent, self.processors, self.seeds, self.patience = MODES[mode]
        self.tree = ROOT / self.tree
        self.ketch = self.tree / 'src/cli/ketch'
        self.percent = percent * times
        self.output = []
        self.images = {}

    def rounds(self, count):
        return max(20, count * self.percent // 100)

    def environment(self, seed=None):
        env = dict(os.environ)
        env['ASAN_OPTIONS'] = 'use_sigaltstack=0:detect_leaks=0:exitcode=99'
        env['UBSAN_OPTIONS'] = 'halt_on_error=1:print_stacktrace=1:exitcode=99'
        env['TSAN_OPTIONS'] = 'halt_on_error=1:exitcode=99'
        if seed is not None:
            env['KETCH_DELAY_SEED'] = str(seed)
        return env

    def compile(self, source, **defines):
        """A driver's image; compiled by the plain build, once for each set of definitions."""
        key = (str(source),) + tuple(sorted(defines.items()))
        if key not in self.images:
            source = ROOT / source
            folder = self.work / f'image{len(self.images)}'
            folder.mkdir()
            image = folder / (source.stem + '.sys')
            command = [ROOT / 'build/src/cli/ketch', 'cc', '-Wall', '-Wextra', '-o', image,
                       f'-I{ROOT / "tests/drivers"}', source]
            command += [f'-D{name}={value}' for name, value in defines.items()]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                self.output.append(done.stdout)
                raise Failure(f'{source.name} does not compile')
            self.images[key] = image
        return self.images[key]

    def start(self, *words, seed=None, json_file=None):
        command = self.front + [str(self.ketch), 'run']
        if json_file:
            command.append(f'--json={json_file}')
        command += [str(word) for word in words]
        return Running(command, self.environment(seed))

    def run(self, *words, seed=None, status=0, text=(), allow=()):
        """Run to the end; the facts. `text`: regular expressions that the output must match."""
        json_file = self.work / 'run.json'
        json_file.unlink(missing_ok=True)
        running = self.start(*words, seed=seed, json_file=json_file)
        return self.judge(running, json_file, status, text, allow)

    def judge(self, running, json_file, status=0, text=(), allow=()):
        output, ended = running.finish(self.patience)
        self.output.append(f'$ {" ".join(running.command)}\n{output}')
        if ended is None:
            raise Failure(f'it did not end within {self.patience} s')
        if ended != status:
            raise Failure(f'exit status {ended} instead of {status}')
        if re.search(r'^FAIL ', output, re.M):
            raise Failure('it printed FAIL')
        for pattern in text:
            if not re.search(pattern, output, re.M):
                raise Failure(f'it did not print {pattern!r}')
        try:
            facts = json.loads(json_file.read_text())
        except (OSError, ValueError) as error:
            raise Failure(f'--json: {error}') from error
        for finding in facts['findings']:
            if finding['rule'] not in allow + ('NmiSlow',):
                raise Failure(f"finding {finding['rule']}: {finding['text']}")
        for row in facts['processors']:
            nmi = row['nmi']
            if nmi['sent'] != nmi['delivered'] + nmi['coalesced'] + nmi['latched']:
                raise Failure(f"processor {row['processor']}: {nmi}: NMIs are lost or made up")
        return facts

    def each_seed(self):
        for i in range(self.seeds):
            yield self.seed + i


class Running:
    """A `ketch run` under way."""

    def __init__(self, command, env):
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors='replace', env=env)
        self.pid = self.process.pid
        self.lines = []
        self.condition = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.condition:
                self.lines.append(line)
                self.condition.notify_all()

    def wait_for(self, pattern, limit):
        """Wait until a line matches."""
        def seen():
            return any(re.search(pattern, line) for line in self.lines)
        with self.condition:
            if not self.condition.wait_for(seen, limit):
                self.process.kill()
                raise Failure(f'it did not print {pattern!r} within {limit} s: {"".join(self.lines)}')

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def finish(self, limit):
        """The output and the exit status; None when it had to be killed."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        self.reader.join(5)
        return ''.join(self.lines), status


# ---- Races ----

@test()
def nmi_callbacks(t):
    """NMI-13, NMI-28, NMI-29: registrations and deregistrations under a flood, with poisoned contexts."""
    for seed in t.each_seed():
        image = t.compile('tests/drivers/nmi_torture.c', ROUNDS=t.rounds(2000), SEED=seed)
        for processors in {2, t.processors}:
            t.run('-p', processors, image, seed=seed, text=[r'^PASS 3'], allow=('NmiClaimsAll',))


@test()
def dispatcher(t):
    """PLT-26..39: waits, signals, DPCs, timers, IPIs, migration, priorities."""
    for seed in t.each_seed():
        image = t.compile('tests/torture/dispatcher.c', ROUNDS=t.rounds(2500), SEED=seed)
        for processors in {1, t.processors}:
            t.run('-p', processors, image, seed=seed, text=[r'^PASS 12'])
    t.run('-p', t.processors, '--no-verify', image, seed=t.seed + 100, text=[r'^PASS 12'])


@test()
def dpc(t):
    """PLT-33, NMI-32: DPCs from NMI callbacks while others remove and flush."""
    for seed in t.each_seed():
        image = t.compile('tests/torture/dpc.c', ROUNDS=t.rounds(6000), SEED=seed)
        t.run('-p', t.processors, image, seed=seed, text=[r'^PASS 6'], allow=('NmiQueueDpc',))
        t.run('-p', 2, '--no-verify', image, seed=seed, text=[r'^PASS 6'])


@test()
def emulation(t):
    """NMI-37, NMI-42, DEF-38..47, DEF-332: a flood over emulated instructions and exceptions."""
    for seed in t.each_seed():
        image = t.compile('tests/torture/emulation.c', ROUNDS=t.rounds(3000), SEED=seed,
                          FAULTS=int(t.mode != 'valgrind'))
        for processors in {1, 2, t.processors}:
            t.run('-p', processors, image, seed=seed, text=[r'^PASS 8'])


@test()
def processors(t):
    """PRC-28, PRC-41, NMI-13: processors join, from here and from outside, while all else goes on."""
    rounds = {'plain': 3, 'asan': 2, 'tsan': 1, 'valgrind': 1}[t.mode]
    actions = ['addx3', 'nmi:all', 'add:failx2', 'wait:20'] * rounds + ['wait:60000']
    outside = 2 * rounds
    expected = 2 + 3 * rounds + outside
    for seed in t.each_seed():
        image = t.compile('tests/torture/processors.c', SEED=seed, EXPECTED=expected)
        for layout in ('packed', 'spread') if t.mode == 'plain' else ('holes',):
            json_file = t.work / 'processors.json'
            json_file.unlink(missing_ok=True)
            running = t.start('-p', 2, '-P', 64, '-g', 16, f'--layout={layout}', image, *actions, json_file=json_file,
                              seed=seed)
            running.wait_for('^seed', t.patience)
            for _ in range(outside):
                added = subprocess.run([ROOT / 'build/src/cli/ketch', 'add', str(running.pid)], check=False)
                if added.returncode:
                    raise Failure(f'ketch add: exit status {added.returncode}')
            running.wait_for(f'^all {expected} processors', t.patience)
            running.interrupt()
            facts = t.judge(running, json_file, status=1, allow=('NmiClaimsAll',),
                            text=[r'^PASS 17', f'^processors: {expected} active', 'interrupted during'])
            if len(facts['processors']) < expected:
                raise Failure(f'{len(facts["processors"])} processors in the report')


@test('plain', 'asan', 'tsan')
def ndk_memory(t):
    """NDK-50, NDK-128: eight workers open and close regions, and read and write each other's; a model knows what is accessible."""
    for seed in t.each_seed():
        image = t.compile('tests/drivers/ndk_mr_torture.c', ROUNDS=t.rounds(1500), SEED=seed)
        for options in (['-p', 8], ['-p', 3, f'--ndk-complete=random:{seed}'], ['-p', 8, '--no-verify', '--ndk-complete=inline']):
            t.run(*options, image, seed=seed, text=[r'^seed .* 0 words changed after a close', r'^PASS 3'], allow=('NdkMrBusy',))


@test()
def load_unload(t):
    """PLT-59, VER-40: a driver comes and goes 200 times in one machine."""
    image = t.compile('tests/torture/cycle.c')
    command = t.front + [str(t.tree / 'tests/torture/load_unload'), str(image), str(max(60, min(200, t.rounds(200)))),
                         str(GROWTH_KIB[t.mode])]
    running = Running(command, t.environment(t.seed))
    output, status = running.finish(t.patience)
    t.output.append(output)
    if status != 0:
        raise Failure(f'exit status {status}')


@test('plain', 'asan', 'tsan')
def user_entry(t):
    """Threads leave the kernel for user mode and enter it on borrowed processors, under NMIs, APCs, DPCs and migration."""
    for seed in t.each_seed():
        running = Running([str(t.tree / 'tests/torture/user_entry'), str(t.rounds(1500)), str(seed)], t.environment(seed))
        output, status = running.finish(t.patience)
        t.output.append(output)
        if status != 0:
            raise Failure(f'exit status {status}')


# ---- From outside ----

@test()
def external_nmis(t):
    """NMIs that other processes raise in a run."""
    image = t.compile('tests/torture/phases.c', PHASE=0)
    json_file = t.work / 'external.json'
    json_file.unlink(missing_ok=True)
    running = t.start('-p', t.processors, image, 'wait:60000', json_file=json_file, seed=t.seed)
    running.wait_for('^phase', t.patience)
    raised = 0
    for i in range(25):
        senders = [subprocess.Popen([ROOT / 'build/src/cli/ketch', 'nmi', f'{running.pid}:{(i + k) % t.processors}'],
                                    stderr=subprocess.DEVNULL) for k in range(4)]
        raised += sum(sender.wait() == 0 for sender in senders)
    none_such = subprocess.run([ROOT / 'build/src/cli/ketch', 'nmi', f'{running.pid}:99'], stderr=subprocess.DEVNULL)
    running.interrupt()
    facts = t.judge(running, json_file, status=1, text=['interrupted during wait', 'goodbye'],
                    allow=('NmiClaimsAll',))
    sent = sum(row['nmi']['sent'] for row in facts['processors'])
    if raised != 100 or sent != raised:
        raise Failure(f'of 100 NMIs {raised} were accepted and {sent} were sent')
    if none_such.returncode != 2:
        raise Failure(f'an NMI for processor 99: exit status {none_such.returncode} instead of 2')


def interrupt_phase(t, phase, stage, *actions, unloads=True, status=1, **defines):
    """Ctrl-C when the driver has said `phase`."""
    image = t.compile('tests/torture/phases.c', PHASE=phase, **defines)
    json_file = t.work / 'phase.json'
    json_file.unlink(missing_ok=True)
    running = t.start('-p', 2, image, *actions, json_file=json_file, seed=t.seed)
    running.wait_for('^phase', t.patience)
    time.sleep(0.1)
    begin = time.monotonic()
    running.interrupt()
    t.judge(running, json_file, status=status, allow=('NmiClaimsAll',),
            text=[f'interrupted during {stage}; the drivers were ' + ('unloaded' if unloads else 'not unloaded within 5 s')] +
            ['goodbye'] * unloads)
    took = time.monotonic() - begin
    if t.mode in ('plain', 'asan') and took > (3 if unloads else 9):
        raise Failure(f'it took {took:.1f} s')


@test()
def ctrl_c_in_driver_entry(t):
    interrupt_phase(t, 1, 'load', SLEEP_MS=700)


@test('plain', 'asan')
def ctrl_c_in_long_driver_entry(t):
    interrupt_phase(t, 1, 'load', unloads=False)


@test('plain', 'tsan')
def ctrl_c_while_driver_entry_spins(t):
    interrupt_phase(t, 2, 'load', unloads=False)


@test()
def ctrl_c_in_wait(t):
    interrupt_phase(t, 0, 'wait', 'wait:60000')


@test()
def ctrl_c_in_nmi_flood(t):
    interrupt_phase(t, 0, 'nmi', 'nmi:allx1000000000')


@test()
def ctrl_c_in_ioctl(t):
    interrupt_phase(t, 3, 'ioctl:Phases,0x222000', 'ioctl:Phases,0x222000', SLEEP_MS=700)


@test()
def ctrl_c_in_add(t):
    """PRC-41: unloading waits for the addition that is under way."""
    interrupt_phase(t, 5, 'addx3', 'addx3', SLEEP_MS=700)


@test('plain', 'asan')
def ctrl_c_in_unload(t):
    interrupt_phase(t, 4, 'unload', SLEEP_MS=700)


@test('plain')
def ctrl_c_twice(t):
    """The second one ends the process at once."""
    image = t.compile('tests/torture/phases.c', PHASE=4)
    running = t.start(image)
    running.wait_for('^phase', t.patience)
    running.interrupt()
    time.sleep(0.05)
    running.interrupt()
    output, status = running.finish(10)
    t.output.append(output)
    if status != 1:
        raise Failure(f'exit status {status} instead of 1')


# ---- Hangs ----

def hang(t, where, level, count=2, limit=1):
    image = t.compile('tests/torture/hang.c', WHERE=where)
    begin = time.monotonic()
    facts = t.run('-p', count, f'--timeout={limit}', image, seed=t.seed, status=1,
                  text=['time ran out'] + [f'^  processor {i} at {level}\n +hang.sys.*hang_here' for i in range(count)]
                  if where != 1 else ['time ran out', '^  processor 0 at .*, idle'])
    if facts['outcome'] != 'timeout':
        raise Failure(f"outcome {facts['outcome']}")
    if where != 1 and not all('hang_here' in str(row.get('stack')) for row in facts['processors']):
        raise Failure('--json: a processor without its stack')
    took = time.monotonic() - begin
    if t.mode == 'plain' and took > limit + 5:
        raise Failure(f'it took {took:.1f} s')


@test()
def hang_at_passive(t):
    hang(t, 0, 'PASSIVE_LEVEL', t.processors)


@test()
def hang_at_dispatch(t):
    hang(t, 2, 'DISPATCH_LEVEL', t.processors)


@test()
def hang_at_high(t):
    hang(t, 15, 'HIGH_LEVEL', t.processors)


@test()
def hang_in_nmi(t):
    hang(t, 16, 'HIGH_LEVEL', t.processors)


@test()
def hang_in_wait(t):
    hang(t, 1, 'PASSIVE_LEVEL')


# ---- Large machines ----

@test('plain', 'asan')
def many_processors(t):
    """PLT-1: 256 processors, one NMI each."""
    image = t.compile('tests/torture/phases.c', PHASE=0)
    facts = t.run('-p', 256, '-P', 256, image, 'nmi:all', seed=None, allow=('NmiClaimsAll',))
    counts = [row['nmi'] for row in facts['processors']]
    if len(counts) != 256 or any(nmi['sent'] != 1 or nmi['delivered'] != 1 for nmi in counts):
        raise Failure(f'{sum(nmi["delivered"] for nmi in counts)} NMIs on {len(counts)} processors')


@test('plain')
def many_processors_memory(t):
    """Resident memory of a machine with 256 processors: below 64 MiB."""
    image = t.compile('tests/torture/phases.c', PHASE=0)
    running = t.start('-p', 256, '-P', 256, image, 'nmi:all', 'wait:60000')
    running.wait_for('^phase', t.patience)
    time.sleep(1)
    peak = int(re.search(r'VmHWM:\s+(\d+)', Path(f'/proc/{running.pid}/status').read_text())[1])
    running.interrupt()
    output, status = running.finish(t.patience)
    t.output.append(f'{output}peak of the resident memory: {peak} KiB\n')
    if status != 1:
        raise Failure(f'exit status {status} instead of 1')
    if peak >= 64 << 10:
        raise Failure(f'{peak} KiB')


@test('plain', 'asan', 'tsan')
def groups(t):
    """PLT-1, DEF-7: sixteen processors in groups of four."""
    image = t.compile('tests/drivers/nmi_torture.c', ROUNDS=t.rounds(300), SEED=t.seed)
    t.run('-g', 4, '-p', 16, image, 'nmi:all', seed=t.seed, status=3, text=['NMI_HARDWARE_FAILURE'])
    image = t.compile('tests/torture/phases.c', PHASE=0)
    facts = t.run('-g', 4, '-p', 16, image, 'nmi:allx3', seed=t.seed, allow=('NmiClaimsAll',))
    if [row['nmi']['delivered'] for row in facts['processors']] != [3] * 16:
        raise Failure('not every processor had its NMIs')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('mode', choices=MODES)
    parser.add_argument('tests', nargs='*', default=['*'])
    parser.add_argument('--seed', type=int, default=random.randrange(1, 1 << 31))
    parser.add_argument('--times', type=int, default=1)
    parser.add_argument('-v', action='store_true', help='show the output of tests that pass, too')
    options = parser.parse_intermixed_args()
    work = tempfile.mkdtemp(prefix='ketch-torture-')
    torture = Torture(options.mode, options.seed, options.times, work)
    print(f'torture {options.mode}: --seed {options.seed}', flush=True)
    passed = failed = 0
    try:
        for name, function, modes in TESTS:
            if options.mode not in modes or not any(fnmatch.fnmatch(name, p) for p in options.tests):
                continue
            torture.output.clear()
            begin = time.monotonic()
            try:
                function(torture)
                passed += 1
                why = None
                print(f'PASS {name} ({time.monotonic() - begin:.1f} s)', flush=True)
            except Failure as failure:
                failed += 1
                why = failure
            if why or options.v:
                print(re.sub(r'^', '    ', ''.join(torture.output), flags=re.M))
            if why:
                print(f'FAIL {name}: {why} (--seed {options.seed})', flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f'{passed} passed, {failed} failed')
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
