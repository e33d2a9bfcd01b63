"""Processes of a bench: start on a core, read CPU time and memory from /proc, end by pid."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path


class BenchError(Exception):
    """The bench cannot go on, or one of its runs is worth nothing."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Place:
    """Where commands run: on one core, with a priority, ended by the kernel if this process dies."""

    def __init__(self, core, nice):
        self.core = core
        self.nice = nice

    def command(self, command):
        """Both wrappers exec what follows, so the pid stays."""
        return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(self.core), *map(str, command)]

    def prioritize(self, pid):
        """Each child has a session of its own, which the scheduler weighs as a whole: `nice` would do nothing."""
        if self.nice:
            try:
                Path(f"/proc/{pid}/autogroup").write_text(str(self.nice))
            except OSError as error:
                raise BenchError(f"--nice {self.nice} is not possible here: {error}") from error


class Child:
    """A process that is ended with the `with` block, and with it what it forked."""

    def __init__(self, name, place, command, output, stdout_file=None, env=None, **pipes):
        self.name = name
        self.output = Path(output)
        with self.output.open("ab") as errors, open(stdout_file or self.output, "ab") as lines:
            self.process = subprocess.Popen(
                place.command(command),
                env={**os.environ, **(env or {})},
                start_new_session=True,  # a Ctrl-C is for the bench, which then ends its children
                **{"stdin": subprocess.DEVNULL, "stdout": lines, "stderr": errors, **pipes},
            )
        self.pid = self.process.pid
        place.prioritize(self.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        tree = [(pid, start_time(pid)) for pid in self.tree()]
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid, started in tree:
            if started and start_time(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def check(self):
        if self.process.poll() is not None:
            said = self.output.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.name} ended with code {self.process.returncode}; it said:\n{said}")

    def tree(self):
        """This pid and those of all its descendants."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                fields = stat_fields(entry.name)
                if fields:
                    parents[int(entry.name)] = int(fields[1])
        found = [self.pid]
        for pid in found:  # grows while it is walked
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self):
        return CpuReading(self.tree())

    def memory(self):
        """Rss and Pss of the tree in KiB."""
        total = {"Rss": 0, "Pss": 0}
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in total:
                    total[name] += int(value.split()[0])
        return total


class Piped(Child):
    """A child that speaks JSON lines on its standard output and obeys its standard input."""

    def __init__(self, name, place, command, output):
        super().__init__(name, place, command, output, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pending = b""

    def read(self, timeout):
        descriptor = self.process.stdout.fileno()
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise BenchError(f"{self.name}: no answer in {timeout:.0f} s")
            data = os.read(descriptor, 65536)
            if not data:
                self.process.wait(5)
                self.check()
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return json.loads(line)

    def go_on(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


class CpuReading:
    """CPU time of some processes up to now: by thread in nanoseconds, and in the coarse ticks that outlive threads."""

    def __init__(self, pids):
        self.threads = {}
        self.ticks = 0
        for pid in pids:
            fields = stat_fields(pid)
            if not fields:
                continue
            self.ticks += int(fields[11]) + int(fields[12])
            for thread in Path(f"/proc/{pid}/task").iterdir():
                try:
                    self.threads[thread.name] = int((thread / "schedstat").read_text().split()[0])
                except (FileNotFoundError, ProcessLookupError):
                    pass

    def seconds_until(self, later):
        if self.threads.keys() <= later.threads.keys():
            return (sum(later.threads.values()) - sum(self.threads.values())) / 1e9
        return (later.ticks - self.ticks) / os.sysconf("SC_CLK_TCK")


def core_times(core):
    """Seconds since boot that a core was busy for whomever, idle, and withheld by the hypervisor."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, values[:8])
            tick = os.sysconf("SC_CLK_TCK")
            busy = user + nice + system + irq + softirq
            return {"busy": busy / tick, "idle": (idle + iowait) / tick, "stolen": steal / tick}
    raise BenchError(f"no core {core}")


def stat_fields(pid):
    """/proc/PID/stat from the state on: the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_time(pid):
    fields = stat_fields(pid)
    return fields[19] if fields else None
