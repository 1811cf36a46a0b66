"""The shipped world map over 333,334 topics: a million small documents."""

import pathlib

from measure import Failed
from tintype_site import Site

PART = "million"


def run(bench):
    bench.load("million")
    template = bench.repository / "templates" / "world-map.sql"
    site = Site(bench, bench.shm / "million", "million", {"world-map": template.read_text()})
    sql = bench.floor_sql(template)
    bench.say("COPY of the same rows")
    bench.floor("million", sql)
    floor = bench.floor("million", sql)
    bench.say("first publish")
    first = site.publish()
    keys, serial = site.status()
    expected = 3 * int(bench.cluster.ask("million", "select count(*) from topic"))
    if keys != expected:
        raise Failed(f"{keys} documents are live instead of {expected}")
    bench.table.add(
        PART,
        f"{keys:,} documents, first publish",
        f"{first.seconds / floor.seconds:.2f} × COPY",
        "completes",
        True,
        f"{first.seconds:.1f} s; COPY {floor.seconds:.1f} s",
    )
    bench.table.at_most(PART, "peak memory", first.peak_mib, 450, "MiB", digits=0)
    public = pathlib.Path(site.folder) / "public"
    catalogue = (public / "index.json").stat().st_size
    # The catalogue, compressed as well, and the domains that have files of their own; not a million documents.
    found = [file for name in public.glob("index*") for file in (name.rglob("*") if name.is_dir() else [name])]
    sizes = ", ".join(f"{file.relative_to(public)} {file.stat().st_size:,}" for file in sorted(found) if file.is_file())
    bench.table.at_most(
        PART, "catalogue, index.json", catalogue, 16384, "bytes", digits=0, seconds=f"all of it: {sizes} bytes"
    )
    bench.say("unchanged publish")
    second = site.publish()
    if site.status() != (keys, serial):
        raise Failed("the second publish changed something")
    bench.table.add(
        PART,
        "unchanged publish",
        f"{second.seconds / floor.seconds:.2f} × COPY",
        seconds=f"{second.seconds:.1f} s, peak {second.peak_mib:.0f} MiB",
    )
    slug = bench.cluster.ask("million", "select slug from topic order by topic_id offset 200000 limit 1")
    bench.say(f"republish of world-map/{slug}/low, three times")
    runs = [site.tintype("republish", f"world-map/{slug}/low") for _ in range(3)]
    if site.status()[1] == serial:
        raise Failed("the republish committed nothing")
    slowest = max(run.seconds for run in runs)
    behind = ", ".join(f"{run.seconds:.2f}" for run in runs) + f" s; peak {max(run.peak_mib for run in runs):.0f} MiB"
    bench.table.at_most(PART, "republish of one key, slowest of 3", slowest, 3, "s", seconds=behind)
    site.remove()
