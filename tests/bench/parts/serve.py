"""Readers: `tintype serve` beside nginx over the same files, and beside an API that asks the database for every page."""

import random
import subprocess

import serving
from measure import Failed, ratios, resident_mib
from table import spread
from tintype_site import Site, country_template

PART = "serve"
# Distinct documents that are asked for; what a page of the day consists of.
PATHS = 2000
SECONDS = 10


def run(bench):
    serving.needed("wrk", "hey", "nginx")
    bench.load("scholar")
    site = Site(bench, bench.shm / "serve", "scholar", {"country-map": country_template()})
    site.publish()
    root = site.folder / "public"
    documents = sorted("/" + str(file.relative_to(root))[: -len(".gz")] for file in root.glob("country-map/*/*/*.json.gz"))
    paths = bench.work / "paths.txt"
    paths.write_text("\n".join(random.Random(1).sample(documents, PATHS)) + "\n")
    some = paths.read_text().split()
    nginx, tintype = serving.nginx(bench.work / "nginx", root), serving.tintype(bench, site)
    try:
        for path in some:
            if nginx.get(path) != tintype.get(path):
                raise Failed(f"{path}: nginx and tintype answer with different bytes")
        beside_nginx(bench, nginx, tintype, paths, some[0])
        beside_api(bench, tintype, paths)
    finally:
        nginx.close()
        tintype.close()
    site.remove()


def beside_nginx(bench, nginx, tintype, paths, path):
    found = []
    for pair in range(bench.pairs):
        bench.say(f"64 connections, pair {pair + 1} of {bench.pairs}")
        found.append([serving.wrk(server, paths, 64, SECONDS) for server in (tintype, nginx)])
        if any(one["not_200"] or one["lost"] for one in found[-1]):
            raise Failed(f"not every answer was 200: {found[-1]}")
    rates = [[one["requests"] / one["seconds"] for one in pair] for pair in found]
    median = ratios(rates)
    behind = f"pairs {spread(median)}; {', '.join(f'{ours:,.0f} over {theirs:,.0f}' for ours, theirs in rates)} a second"
    what = "64 connections, published documents, requests a second ÷ nginx's"
    bench.table.at_least(PART, what, median[0], 0.5, seconds=behind)
    bench.say("1,000 clients, 2 requests a second each")
    latencies, failed = serving.hey(tintype, path, 1000, 2, 2 * SECONDS)
    at = lambda part: latencies[min(len(latencies) - 1, int(part * len(latencies)))]
    behind = f"{len(latencies):,} answers, {failed} others; p50 {at(0.5):.1f}, p95 {at(0.95):.1f}, slowest {latencies[-1]:.0f} ms"
    bench.table.at_most(PART, "1,000 clients, 2,000 requests a second together, p99", at(0.99), 50, "ms", digits=1, seconds=behind)
    bench.table.add(PART, "memory of tintype serve", f"{resident_mib(tintype.pid):.0f} MiB", seconds=f"{PATHS:,} documents asked for")


def beside_api(bench, tintype, paths):
    for clients in (10, 50, 100, 1000):
        asked(bench, "tintype serve", tintype, "tintype/serve", paths, clients)
        # A server of its own for each crowd: one that is asked for more than it can do goes on after the crowd has left.
        peer = serving.peer(bench, "scholar")
        try:
            asked(bench, "an API with a query a request", peer, "peer_api", paths, clients)
        finally:
            peer.close()


def asked(bench, name, server, application, paths, clients):
    bench.say(f"{clients} clients, {name}")
    with serving.Connections(bench, application) as connections:
        try:
            one = serving.wrk(server, paths, clients, SECONDS)
        except subprocess.TimeoutExpired:
            one = None
    if one is None:
        bench.table.add(PART, f"{clients:,} users, {name}", "no end", seconds=f"{connections.most} connections")
        return
    rate = one["requests"] / one["seconds"]
    behind = f"p50 {one['p50_ms']:,.0f} ms, p99 {one['p99_ms']:,.0f} ms; {rate:,.0f} requests a second"
    behind += f", {one['not_200']} errors, {one['lost']} lost; {connections.most} connections"
    bench.table.add(PART, f"{clients:,} users, {name}, p95", f"{one['p95_ms']:,.1f} ms", seconds=behind)
