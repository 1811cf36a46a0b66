"""A thousand clients at a time: over what is warm, over cold keys, and one that wants more than its share."""

import readers
from measure import Failed
from watching import Connections, Metrics, Statements

PART = "serve"
CLIENTS, RATE = 1000, 2000
WARM_SECONDS = 20
# Longest that a client waits to be told that the server is busy, in milliseconds.
BUSY = 1200
IN_USE = "db_pool_connections_in_use"


def run(bench, site):
    cold(bench, site)
    greedy(bench, site)


def warm(bench, site, tintype):
    """Documents that were asked for before."""
    bench.say(f"{CLIENTS:,} clients, {RATE:,} requests a second together")
    statements = Statements(bench, "scholar")
    found = readers.open_loop(bench, tintype, site.published_file, CLIENTS, RATE, WARM_SECONDS)
    executed, _ = statements.read()
    if found["unexpected"] or set(found["statuses"]) != {"200"}:
        raise Failed(f"not every answer was 200: {found}")
    what = f"{CLIENTS:,} clients, {RATE:,} requests a second together, p99"
    bench.table.at_most(PART, what, found["since_due_ms"]["all"]["p99"], 50, "ms", digits=1, seconds=told(found))
    what = "the same: statements of the database"
    bench.table.at_most(PART, what, executed, 0, "", digits=0, seconds=f"{found['requests']:,} requests")


def cold(bench, site):
    """Keys that nobody has asked for, over and over, because their answers stand for ten seconds only."""
    seconds = bench.crowd_seconds
    bench.say(f"{CLIENTS:,} clients over {len(site.cold)} cold keys for {seconds} s")
    tintype = site.serve()
    try:
        options = ("--zipf", 1, "--own-address", "--conditional", 0.3)
        with Connections(bench, "tintype/serve") as connections:
            found = readers.open_loop(bench, tintype, site.mixed_file, CLIENTS, RATE, seconds, *options)
        metrics = Metrics(tintype)
        held = "select count(*) from pg_stat_activity where application_name like 'tintype/serve%' and state like 'idle in transaction%'"
        left = int(bench.cluster.ask("postgres", held))
    finally:
        tintype.close()
    crowd = f"{CLIENTS:,} clients over {len(site.cold)} cold keys and as many published"
    statuses = ", ".join(f"{count:,} × {status}" for status, count in found["statuses"].items())
    behind = f"{statuses}; lost {found['lost'] or 'none'}; {told(found)}"
    bench.table.at_most(PART, f"{crowd}: answers other than 200, 304, 429 and 503", found["unexpected"], 0, "", digits=0, seconds=behind)
    behind = f"looked at {connections.looks:,} times; {metrics.pool('db_pool_acquires_total'):,.0f} leases"
    bench.table.at_most(PART, "the same: connections to the database, most at a time", connections.most, 4, "", digits=0, seconds=behind)
    busy = found["since_sent_ms"].get("503")
    behind = f"{busy['count']:,} of them, {found['without_retry_after']} without Retry-After; since due {found['since_due_ms']['503']['longest']:,.0f} ms" if busy else "there was none"
    bench.table.at_most(PART, "the same: the slowest 503, from sending", busy["longest"] if busy else 0, BUSY, "ms", digits=0, seconds=behind)
    if found["without_retry_after"]:
        raise Failed(f"{found['without_retry_after']} answers of 503 don't say when to come back")
    behind = f"{metrics.pool(IN_USE):.0f} leases, {left} idle in a transaction"
    bench.table.at_most(PART, "the same: left in use when the crowd has gone", metrics.pool(IN_USE) + left, 0, "", digits=0, seconds=behind)


def greedy(bench, site):
    """One client who asks for cold keys from fifty connections: the template allows it 20 answers a minute."""
    bench.say("one client over cold keys")
    tintype = site.serve()
    try:
        file = bench.work / "greedy.txt"
        file.write_text("\n".join(site.cold) + "\n")
        found = readers.open_loop(bench, tintype, file, 50, 100, 10)
        leases = Metrics(tintype).pool("db_pool_acquires_total")
    finally:
        tintype.close()
    # 20 at once, one every 3 seconds from then on, and the reading of the keys.
    statuses = ", ".join(f"{count:,} × {status}" for status, count in found["statuses"].items())
    what = "one client, 100 requests a second for cold keys: leases in 10 s"
    bench.table.at_most(PART, what, leases, 25, "", digits=0, seconds=f"{statuses}; lost {found['lost'] or 'none'}")


def told(found):
    """The latencies of a crowd in a few words, and how exact they are."""
    all_of, own = found["since_due_ms"]["all"], found["own_delay_ms"]
    text = f"{found['requests']:,} requests; p50 {all_of['p50']:,.1f}, p95 {all_of['p95']:,.1f}, p99 {all_of['p99']:,.1f}, "
    return text + f"longest {all_of['longest']:,.0f} ms, the readers' own delay p99 {own['p99']:.1f} ms"
