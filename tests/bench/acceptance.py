"""What was asked of a site that used to bring its database down: connections a call, crowds of users, the database's load.

A user asks for a document a second, by rank as Zipf says, over a log in which half of the topics are published. Beside
`tintype serve` the same log goes to an API with a query a request, at the same instants.
"""

import json

import readers
import serving
from crowds import told
from measure import Failed
from watching import Connections, Metrics, Sampler, Statements, nobody_left

PART = "acceptance"
SECONDS = 15
CROWDS = (10, 50, 100, 1000)
# Cold documents that are asked for one by one.
CALLS = 50
AB_REQUESTS, AB_CLIENTS = 1000, 50
API = "an API with a query a request"


def run(bench, site):
    same_answers(bench, site)
    one_call(bench, site)
    coverage(bench, site)
    load = {clients: (with_snapshots(bench, site, clients), without(bench, site, clients)) for clients in CROWDS}
    database_load(bench, site, load)
    apache_bench(bench, site)


def same_answers(bench, site):
    """Both sides must answer the same, or it isn't the same work."""
    tintype, peer = site.serve(), serving.peer(bench, "scholar")
    try:
        for path in site.published[:20] + site.other_cold[:20]:
            ours = json.loads(serving.unpacked(tintype.get(path)))["rows"]
            theirs = json.loads(peer.get(path))
            if sorted(map(repr_of, ours)) != sorted(map(repr_of, theirs)):
                raise Failed(f"{path}: tintype and the API answer with different rows")
    finally:
        tintype.close()
        peer.close()
        nobody_left(bench, "peer_api")


def repr_of(row):
    return f"{row['city']} {row['lat']:.4f} {row['lon']:.4f} {row['scholars']}"


def one_call(bench, site):
    tintype = site.serve()
    try:
        before = Metrics(tintype)
        with Connections(bench, "tintype/serve") as connections:
            for path in site.other_cold[-CALLS:]:
                tintype.get(path)
        leases = Metrics(tintype).pool("db_pool_acquires_total") - before.pool("db_pool_acquires_total")
    finally:
        tintype.close()
    behind = f"{CALLS} cold documents one by one, {connections.most} connections open at most"
    bench.table.at_most(PART, "database connections of a call that nothing else can answer", leases / CALLS, 1, "", seconds=behind)


def coverage(bench, site):
    """What an edge has of the log: its part that is published, by asking a web server over the folder for it."""
    found = readers.open_loop(bench, site.nginx, site.log_file, 100, 1000, SECONDS, "--zipf", 1)
    answered = found["statuses"].get("200", 0)
    if answered + found["statuses"].get("404", 0) != found["requests"]:
        raise Failed(f"nginx answers with {found['statuses']}, and {found['lost']} lost")
    share = 100 * answered / found["requests"]
    behind = f"{answered:,} of {found['requests']:,} requests; half of the topics are published"
    bench.table.at_least(PART, "requests that the edge answers", share, 90, "%", digits=1, seconds=behind)


def with_snapshots(bench, site, clients):
    bench.say(f"{clients} users, tintype serve")
    tintype = site.serve()
    try:
        before, statements = Metrics(tintype), Statements(bench, "scholar")
        with Connections(bench, "tintype/serve") as connections:
            with Sampler(lambda: int(Metrics(tintype).pool("db_pool_connections_in_use"))) as leases:
                found = users(bench, tintype, site, clients)
        executed, after = statements.read(), Metrics(tintype)
    finally:
        tintype.close()
    users_line(bench, clients, "tintype serve", found, connections.most, 500)
    size = after.pool("db_pool_size")
    if clients == CROWDS[0]:
        held = after.pool("db_connection_hold_seconds_sum") - before.pool("db_connection_hold_seconds_sum")
        behind = f"at most {leases.most} of {size:.0f} at a time, looked at {leases.looks} times; {held:.2f} s held in {SECONDS} s"
        bench.table.at_most(PART, f"{clients} users: usage of the pool, on average", 100 * held / size / found["seconds"], 70, "%", digits=1, seconds=behind)
    timeouts = sum(
        after.pool(name) - before.pool(name) for name in ("db_pool_connection_timeouts_total", "db_pool_shed_total")
    )
    if clients <= 100:
        bench.table.at_most(PART, f"{clients} users: requests that found no connection in time", timeouts, 0, "", digits=0)
    hits = after.answered("memory", "store") - before.answered("memory", "store")
    share = 100 * hits / (after.answered() - before.answered())
    behind = f"of {after.answered() - before.answered():,.0f} answers; {timeouts:.0f} found no connection in time"
    bench.table.at_least(PART, f"{clients:,} users: answers without the database", share, 70, "%", digits=1, seconds=behind)
    return executed


def without(bench, site, clients):
    bench.say(f"{clients} users, {API}")
    peer = serving.peer(bench, "scholar")
    try:
        statements = Statements(bench, "scholar")
        with Connections(bench, "peer_api") as connections:
            found = users(bench, peer, site, clients)
        executed = statements.read()
    finally:
        peer.close()
        nobody_left(bench, "peer_api")
    users_line(bench, clients, API, found, connections.most, None)
    return executed


def users(bench, server, site, clients):
    return readers.open_loop(bench, server, site.log_file, clients, clients, SECONDS, "--zipf", 1, "--own-address")


def users_line(bench, clients, name, found, connections, limit):
    p95 = found["since_due_ms"]["all"]["p95"]
    statuses = ", ".join(f"{count:,} × {status}" for status, count in found["statuses"].items()) or "no answer"
    behind = f"{statuses}; lost {found['lost'] or 'none'}; {told(found)}; {connections} connections to the database at most"
    what = f"{clients:,} users, {name}, p95"
    # Those that were never answered count with the time that they waited.
    if limit:
        bench.table.at_most(PART, what, p95, limit, "ms", digits=1, seconds=behind)
    else:
        bench.table.add(PART, what, f"{p95:,.1f} ms", seconds=behind)


def database_load(bench, site, load):
    statements, seconds = site.publish_statements
    for clients, (ours, theirs) in load.items():
        behind = f"{ours[1]:.2f} s in {ours[0]:,} statements, over {theirs[1]:.2f} s in {theirs[0]:,}; "
        behind += f"the publish before took {seconds:.1f} s in {statements}, once a night"
        what = f"{clients:,} users: the database's time with snapshots ÷ without"
        bench.table.at_most(PART, what, 100 * ours[1] / theirs[1], 50, "%", digits=1, seconds=behind)


def apache_bench(bench, site):
    """The command that the first complaint was measured with, on one document that nobody has asked for."""
    tintype, path = site.serve(), site.other_cold[0]
    try:
        wrong, at = readers.ab(tintype, path, AB_REQUESTS, AB_CLIENTS)
    finally:
        tintype.close()
    command = f"ab -n {AB_REQUESTS} -c {AB_CLIENTS} on a cold document"
    behind = f"p50 {at[50]}, p95 {at[95]}, p99 {at[99]} ms"
    bench.table.at_most(PART, f"{command}: failed requests", wrong, 0, "", digits=0, seconds=behind)
    bench.table.at_most(PART, f"{command}: the slowest", at[100], 500, "ms", digits=0, seconds=behind)
    peer = serving.peer(bench, "scholar")
    try:
        wrong, at = readers.ab(peer, path, AB_REQUESTS, AB_CLIENTS)
    finally:
        peer.close()
        nobody_left(bench, "peer_api")
    behind = f"p50 {at[50]}, p95 {at[95]}, p99 {at[99]} ms; {wrong} failed"
    bench.table.add(PART, f"{command}: the slowest of {API}", f"{at[100]:,} ms", seconds=behind)
