"""The country map into a folder: against the database's own COPY, against tar, and against two scripts in Python."""

import os
import re
import shutil
import subprocess

import measure
from measure import Failed, ratios
from table import cpu, seconds, spread
from tintype_site import DATA, Site, country_template

PART = "directory"


def run(bench):
    bench.load("scholar")
    site = Site(bench, bench.shm / "directory", "scholar", {"country-map": country_template()})
    sql = bench.floor_sql(DATA / "country.sql")
    keys = warm_up(bench, site, sql)
    firsts = alternate(bench, site, sql, keys)
    bench.table.add(
        PART, "size", f"{keys:,} documents", seconds=f"{folder_mib(site.folder / 'public'):.0f} MiB of gzip"
    )
    onepass(bench, site, keys, firsts)
    perkey(bench, keys, firsts)
    site.remove()
    on_disk(bench, sql, keys)


def warm_up(bench, site, sql):
    """Fills the server's cache, and counts connections in the server's log, where none can be missed."""
    bench.say("warming up")
    bench.floor("scholar", sql)
    mark = bench.cluster.mark()
    site.publish()
    opened, most, _ = bench.cluster.sessions(mark)
    keys, _ = site.status()
    bench.table.at_most(
        PART,
        "database connections of a publish",
        opened,
        1,
        "",
        digits=0,
        seconds=f"{most} at a time, by the server's log",
    )
    _, report = site.report("publish")
    if report["outcome"] != "unchanged":
        raise Failed(f"the second publish was {report['outcome']}")
    return keys


def alternate(bench, site, sql, keys):
    first, second, peaks = [], [], []
    for pair in range(bench.pairs):
        bench.say(f"pair {pair + 1} of {bench.pairs}")
        site.clear()
        first.append((bench.floor("scholar", sql), site.publish()))
        serial = site.status()
        second.append((bench.floor("scholar", sql), site.publish()))
        if site.status() != serial or serial[0] != keys:
            raise Failed(f"the second publish changed something: {serial} became {site.status()}")
        peaks += [first[-1][1].peak_mib, second[-1][1].peak_mib]
    for what, pairs, limit, aim in (
        ("first publish ÷ COPY", first, 1.4, 1.15),
        ("unchanged publish ÷ COPY", second, 1.2, 1.05),
    ):
        found = ratios([(run.seconds, floor.seconds) for floor, run in pairs])
        behind = f"pairs {spread(found)}; {seconds([run for _, run in pairs])} ({cpu([run for _, run in pairs])}) over {seconds([floor for floor, _ in pairs])}"
        bench.table.at_most(PART, what, found[0], limit, aim=aim, seconds=behind)
    bench.table.at_most(
        PART,
        "peak memory of a publish",
        max(peaks),
        150,
        "MiB",
        digits=0,
        seconds=f"{min(peaks):.0f}–{max(peaks):.0f} MiB in {len(peaks)} runs",
    )
    return first


def onepass(bench, site, keys, firsts):
    """The careful script in full, each run beside a publish."""
    pairs = []
    for pair in range(max(1, bench.pairs // 2)):
        bench.say(f"peer_onepass.py, run {pair + 1}")
        out = bench.shm / "onepass"
        peer = measure.run([bench.python, bench.peers / "peer_onepass.py", out], env=bench.peer_environment("scholar"))
        written = int(re.search(r"(\d+) keys", peer.output).group(1))
        shutil.rmtree(out)
        if written != keys:
            raise Failed(f"peer_onepass.py wrote {written} documents, tintype {keys}")
        site.clear()
        pairs.append((peer, site.publish()))
    found = ratios([(peer.seconds, run.seconds) for peer, run in pairs])
    behind = f"pairs {spread(found)}; {seconds([peer for peer, _ in pairs])} against {seconds([run for _, run in pairs])}; its peak {max(peer.peak_mib for peer, _ in pairs):.0f} MiB"
    bench.table.at_least(PART, "faster than peer_onepass.py", found[0], 2.5, seconds=behind)


def perkey(bench, keys, firsts):
    """The usual script over a sample, scaled up; a full run takes half an hour."""
    sample = bench.sample
    bench.say(f"peer_perkey.py, {sample} of {keys} keys")
    out = bench.shm / "perkey"
    peer = measure.run(
        [bench.python, bench.peers / "peer_perkey.py", str(sample), "8", out], env=bench.peer_environment("scholar")
    )
    shutil.rmtree(out)
    took = float(re.search(r"in ([\d.]+) s", peer.output).group(1))
    publish = ratios([(run.seconds, 1) for _, run in firsts])[0]
    behind = f"{sample} keys in {took:.1f} s over 8 connections, so {keys:,} in {took / sample * keys:,.0f} s (extrapolated); publish {publish:.1f} s"
    bench.table.at_least(
        PART, "faster than peer_perkey.py, sampled", took / sample * keys / publish, 80, digits=0, seconds=behind
    )


def on_disk(bench, sql, keys):
    """A publish to a disk against the floor and what tar needs to write the same files there, both twice over."""
    site = Site(bench, bench.disk / "site", "scholar", {"country-map": country_template()})
    archive, beside = bench.shm / "site.tar", bench.disk / "untarred"
    rows = []
    for pair in range(bench.pairs):
        bench.say(f"on disk, run {pair + 1} of {bench.pairs}")
        site.clear()
        shutil.rmtree(beside, ignore_errors=True)
        os.sync()
        floor = bench.floor("scholar", sql)
        run = site.publish()
        if not archive.exists():
            # With hard links as they are: what tintype writes once, tar writes once.
            subprocess.run(["tar", "-C", site.folder, "-cf", archive, "public", ".tintype"], check=True)
        os.sync()
        beside.mkdir()
        tar = measure.run(["tar", "-C", beside, "-xf", archive])
        sync = measure.run(["sync", "-f", beside])
        rows.append((floor, run, tar, sync))
    found = ratios([(run.seconds, floor.seconds + 2 * tar.seconds) for floor, run, tar, _ in rows])
    behind = (
        f"pairs {spread(found)}; publish {seconds([row[1] for row in rows])}, COPY {seconds([row[0] for row in rows])}, "
        f"tar -xf {seconds([row[2] for row in rows])} (its data not yet on the disk; sync after it {seconds([row[3] for row in rows])}, which a publish includes)"
    )
    bench.table.at_most(PART, "first publish to disk ÷ (COPY + 2 × tar -xf)", found[0], 1, seconds=behind)
    archive.unlink()
    shutil.rmtree(beside)
    site.remove()


def folder_mib(folder):
    # Not by this process: a hundred thousand paths would stay in its peak.
    command = ["sh", "-c", 'find "$1" -type f -printf "%s\\n" | awk \'{ sum += $1 } END { print sum }\'', "sh", folder]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 2**20
