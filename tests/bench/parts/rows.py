"""Five million short rows under fifty keys: nothing to compute, so what is measured is reading, encoding and compressing."""

from measure import Failed, ratios
from table import cpu, seconds, spread
from tintype_site import DATA, Site

PART = "rows"


def run(bench):
    bench.load("short-rows")
    template = (DATA / "short-rows-template.sql").read_text()
    site = Site(bench, bench.shm / "rows", "short-rows", {"reading": template})
    sql = bench.floor_sql(DATA / "short-rows-template.sql")
    bench.say("warming up")
    bench.floor("short-rows", sql)
    _, report = site.report("publish")
    rows = report["templates"][0]["rows"]
    first, second = [], []
    for pair in range(bench.pairs):
        bench.say(f"pair {pair + 1} of {bench.pairs}")
        site.clear()
        first.append((bench.floor("short-rows", sql), site.publish()))
        before = site.status()
        second.append((bench.floor("short-rows", sql), site.publish()))
        if site.status() != before:
            raise Failed(f"the second publish changed something: {before} became {site.status()}")
    for what, pairs in (("first publish", first), ("unchanged publish", second)):
        found = ratios([(run.seconds, floor.seconds) for floor, run in pairs])
        behind = f"pairs {spread(found)}; {seconds([run for _, run in pairs])} ({cpu([run for _, run in pairs])}) over {seconds([floor for floor, _ in pairs])}"
        bench.table.at_most(PART, f"{rows:,} short rows, {what} ÷ COPY", found[0], 2, aim=1.3, seconds=behind)
    peak = max(run.peak_mib for _, run in first + second)
    bench.table.add(PART, "peak memory", f"{peak:.0f} MiB", seconds=f"{before[0]} documents")
    site.remove()
