"""Crowds of readers: as fast as answers come (wrk, ab), or at fixed instants whether they come or not (open-loop)."""

import json
import pathlib
import re
import subprocess

from measure import Failed

HERE = pathlib.Path(__file__).parent
# How long a crowd may take beyond what it was told: for answers that are owed.
GRACE = 120


def wrk(server, paths, clients, seconds):
    """Asks as fast as the answers come, over so many connections; None if it never ends."""
    command = ["wrk", "-t", "2" if clients > 1 else "1", "-c", clients, "-d", f"{seconds}s", "--timeout", "60s"]
    command += ["-s", HERE / "serve" / "paths.lua", server.url, "--", paths]
    try:
        done = _ended(command, seconds)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.splitlines()[-1])


def open_loop(bench, server, paths, clients, rate, seconds, *more):
    """Sends so many requests a second, each client at its own fixed instants; latencies count from those.

    A dictionary as `open-loop --json` prints it. `more` are further options of that program.
    """
    command = [bench.open_loop, "--json", "--url", server.url, "--paths", paths]
    command += ["--connections", clients, "--rate", rate, "--seconds", seconds, *more]
    return json.loads(_ended(command, seconds))


def ab(server, path, requests, clients):
    """Apache's bench: a new connection for each request. How many weren't answered with 200, and its percentiles in milliseconds."""
    command = ["ab", "-q", "-n", requests, "-c", clients, "-s", "60", "-H", "Accept-Encoding: gzip", server.url + path]
    text = _ended(command, 60)
    # Bodies of another length count as failed: an error page that has 200.
    counted = re.findall(r"^(?:Failed requests|Non-2xx responses):\s+(\d+)", text, re.MULTILINE)
    complete = re.search(r"^Complete requests:\s+(\d+)", text, re.MULTILINE)
    percentiles = {int(at): int(took) for at, took in re.findall(r"^\s+(\d+)%\s+(\d+)", text, re.MULTILINE)}
    if not counted or not complete or 100 not in percentiles:
        raise Failed(f"ab says nothing of its requests: {text.strip()[-300:]}")
    return max(map(int, counted)) + requests - int(complete[1]), percentiles


def _ended(command, seconds):
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE)
    if done.returncode:
        raise Failed(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
