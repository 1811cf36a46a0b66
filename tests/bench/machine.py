"""What the figures were measured on."""

import os
import platform
import subprocess


def _first(path, prefix):
    try:
        with open(path) as lines:
            for line in lines:
                if line.startswith(prefix):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def memory_mib():
    kib = _first("/proc/meminfo", "MemTotal").split()
    return int(kib[0]) // 1024 if kib else 0


def load():
    """How busy the machine is without us; above a quarter of a core, ratios begin to move."""
    return os.getloadavg()[0]


def commit(folder):
    def git(*arguments):
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def line(postgres, tintype):
    cpu = _first("/proc/cpuinfo", "model name") or platform.machine()
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cpu}, {cores} cores, {memory_mib() / 1024:.0f} GiB, Linux {platform.release()}; "
        f"PostgreSQL {postgres}; {tintype}"
    )
