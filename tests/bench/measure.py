"""Runs a process and says what it took: wall clock, CPU, peak memory."""

import os
import resource
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field

OWN_MOST_MIB = 40


class Failed(Exception):
    """A benchmark that can't go on; the text says why."""


@dataclass
class Run:
    """What a process took."""

    seconds: float
    user_seconds: float
    system_seconds: float
    peak_mib: float
    output: str = ""
    # (seconds since the start, resident MiB), if it was watched.
    memory: list = field(default_factory=list)

    def cpu_seconds(self):
        return self.user_seconds + self.system_seconds


def run(command, env=None, stdout=None, cwd=None, watch=None, codes=(0,)):
    """Runs `command` to its end. Raises `Failed`, with its last words, on any exit code but `codes`.

    `stdout` is where its output goes; without one it is returned. `watch(pid)` is called five times a second.
    Its peak memory is the kernel's own figure (`ru_maxrss`), so no peak falls between two samples. The kernel counts
    what this script took before the process was started as well, so that has to stay small.
    """
    if own_peak_mib() > OWN_MOST_MIB:
        raise Failed(f"the benchmark itself has taken {own_peak_mib():.0f} MiB, which would count as its children's")
    samples, done = [], threading.Event()
    with open("/dev/null", "rb") as nothing:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=nothing,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        texts = {"stdout": b"", "stderr": b""}

        def drain(name):
            texts[name] = getattr(process, name).read()

        def look():
            while not done.wait(0.2):
                memory = resident_mib(process.pid)
                if memory:
                    samples.append((time.perf_counter() - started, memory))
                watch(process.pid)

        names = [name for name in texts if getattr(process, name) is not None]
        threads = [threading.Thread(target=drain, args=(name,)) for name in names]
        if watch:
            threads.append(threading.Thread(target=look))
        for thread in threads:
            thread.start()
        try:
            # The pid stays ours until it is waited for, so this is the one place that waits.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            raise
        finally:
            done.set()
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        for thread in threads:
            thread.join()
        for name in names:
            getattr(process, name).close()
    if process.returncode not in codes:
        words = (texts["stderr"] or texts["stdout"]).decode(errors="replace").strip().splitlines()
        shown = "\n  ".join(words[-12:])
        raise Failed(f"{' '.join(map(str, command))[:300]}\n  ended with {process.returncode}: {shown}")
    return Run(
        seconds,
        usage.ru_utime,
        usage.ru_stime,
        usage.ru_maxrss / 1024,
        texts["stdout"].decode(errors="replace"),
        samples,
    )


def own_peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib(pid):
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / 2**20
    except (OSError, IndexError):
        return None


def quarters(samples):
    """The median resident memory in each quarter of a run: flat memory has four alike."""
    if len(samples) < 8:
        return []
    end = samples[-1][0]
    parts = [[mib for at, mib in samples if n * end / 4 <= at <= (n + 1) * end / 4] for n in range(4)]
    return [statistics.median(part) if part else 0.0 for part in parts]


def ratios(pairs):
    """Median, least and greatest of the per-pair ratios (a, b) → a / b."""
    values = [a / b for a, b in pairs]
    return statistics.median(values), min(values), max(values)
