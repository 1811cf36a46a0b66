"""Readers: `tintype serve` beside nginx over the same files, beside an API with a query a request, and under crowds."""

import acceptance
import crowds
import readers
import serving
from measure import Failed, ratios, resident_mib
from served_site import ServedSite
from table import spread
from watching import Connections, nobody_left

PART = "serve"
SECONDS = 10


def run(bench):
    serving.needed("wrk", "ab", "nginx")
    if not bench.open_loop:
        raise Failed("no --open-loop; run.sh builds it")
    bench.load("scholar")
    site = ServedSite(bench)
    try:
        beside_nginx(bench, site)
        crowds.run(bench, site)
        acceptance.run(bench, site)
        beside_api(bench, site)
    finally:
        site.close()


def beside_nginx(bench, site):
    """Published documents, from memory: what the server itself costs."""
    tintype = site.serve()
    try:
        for path in site.published:
            if site.nginx.get(path) != tintype.get(path):
                raise Failed(f"{path}: nginx and tintype answer with different bytes")
        found = []
        for pair in range(bench.pairs):
            bench.say(f"64 connections, pair {pair + 1} of {bench.pairs}")
            found.append([fast(server, site.published_file) for server in (tintype, site.nginx)])
        rates = [[one["requests"] / one["seconds"] for one in pair] for pair in found]
        median = ratios(rates)
        each = ", ".join(f"{ours:,.0f} over {theirs:,.0f}" for ours, theirs in rates)
        behind = f"pairs {spread(median)}; {each} a second"
        what = "64 connections, published documents, requests a second ÷ nginx's"
        bench.table.at_least(PART, what, median[0], 0.5, seconds=behind)
        crowds.warm(bench, site, tintype)
        behind = f"{len(site.published):,} documents asked for, by 1,000 connections at most"
        bench.table.add(PART, "memory of tintype serve", f"{resident_mib(tintype.pid):.0f} MiB", seconds=behind)
    finally:
        tintype.close()


def fast(server, paths):
    found = readers.wrk(server, paths, 64, SECONDS)
    if not found or found["not_200"] or found["lost"]:
        raise Failed(f"not every answer was 200: {found}")
    return found


def beside_api(bench, site):
    """Documents that are published, asked for as fast as the answers come: what one would use instead asks its database."""
    for clients in (10, 50, 100, 1000):
        tintype = site.serve()
        try:
            asked(bench, "tintype serve", tintype, "tintype/serve", site.published_file, clients)
        finally:
            tintype.close()
        # A server of its own for each crowd: one that is asked for more than it can do goes on after the crowd has left.
        peer = serving.peer(bench, "scholar")
        try:
            asked(bench, "an API with a query a request", peer, "peer_api", site.published_file, clients)
        finally:
            peer.close()
            nobody_left(bench, "peer_api")


def asked(bench, name, server, application, paths, clients):
    bench.say(f"{clients} clients, {name}")
    with Connections(bench, application) as connections:
        one = readers.wrk(server, paths, clients, SECONDS)
    what = f"{clients:,} connections, {name}, p95"
    held = f"{connections.most} connections to the database"
    if one is None or not one["requests"]:
        bench.table.add(PART, what, "no answer", seconds=held)
        return
    rate = one["requests"] / one["seconds"]
    behind = f"p50 {one['p50_ms']:,.0f} ms, p99 {one['p99_ms']:,.0f} ms; {rate:,.0f} requests a second"
    behind += f", {one['not_200']} errors, {one['lost']} lost; {held}"
    bench.table.add(PART, what, f"{one['p95_ms']:,.1f} ms", seconds=behind)
