"""Where the time of a publish goes: by tintype's own report, by CPU on both sides, and by function where perf works."""

import re
import shutil
import subprocess

from measure import Failed
from tintype_site import DATA, Site, country_template

PART = "profile"


def run(bench):
    bench.load("scholar")
    site = Site(bench, bench.shm / "profile", "scholar", {"country-map": country_template()})
    sql = bench.floor_sql(DATA / "country.sql")
    bench.floor("scholar", sql)
    before = bench.cluster.child_cpu_seconds()
    floor = bench.floor("scholar", sql)
    server = bench.cluster.child_cpu_seconds() - before
    bench.table.add(
        PART, "COPY", f"{floor.seconds:.1f} s", seconds=f"CPU: server {server:.1f} s, psql {floor.cpu_seconds():.1f} s"
    )
    for what in ("first publish", "unchanged publish"):
        before = bench.cluster.child_cpu_seconds()
        done, report = site.report("publish")
        server = bench.cluster.child_cpu_seconds() - before
        phases = ", ".join(f"{name} {value:.1f}" for name, value in report["seconds"].items() if name != "total")
        behind = (
            f"{phases} s by its own report (phases overlap); CPU: server {server:.1f} s, "
            f"tintype {done.user_seconds:.1f} s user and {done.system_seconds:.1f} s system"
        )
        bench.table.add(PART, what, f"{done.seconds:.1f} s", seconds=behind)
    site.clear()
    functions(bench, site)
    site.remove()


def functions(bench, site):
    if not shutil.which("perf"):
        bench.say("no perf here, so no functions")
        return
    record = bench.shm / "perf.data"
    command = ["perf", "record", "-q", "-F", "499", "-o", record, "--", bench.binary, "-c", site.config, "publish"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not record.exists() or done.returncode != 0:
        # A kernel that doesn't let perf in is no reason to fail.
        bench.say(f"perf doesn't work here: {(done.stderr or done.stdout).strip()[:200]}")
        return
    command = ["perf", "report", "--stdio", "-q", "--no-children", "-s", "symbol", "-i", record]
    report = subprocess.run(command, capture_output=True, text=True)
    record.unlink()
    lines = [line.strip() for line in report.stdout.splitlines() if re.match(r"\s*\d+\.\d+%", line)]
    if not lines:
        raise Failed(f"perf saw nothing: {report.stderr.strip()[:200]}")
    bench.notes.append(
        "The functions that took the most CPU of a first publish, by perf:\n\n"
        + "\n".join(f"    {line[:150]}" for line in lines[:30])
    )
