"""The country map into an S3 server on this machine, which counts what it is asked."""

import shutil

import measure
from measure import Failed, ratios
from s3 import BUCKET, S3
from table import seconds, spread
from tintype_site import DATA, Site, country_template

PART = "store"
# s5cmd's default is 256; on a machine with few cores fewer may do better, and its best is what counts.
S5CMD_WORKERS = (256, 64, 16)
# The object store of a neighbouring data centre.
DELAY = "20ms"


def run(bench):
    bench.load("scholar")
    files = bench.shm / "files"
    directory = Site(bench, bench.shm / "directory", "scholar", {"country-map": country_template()})
    bench.say("publishing into a folder, for the files and for the hold time")
    mark = bench.cluster.mark()
    directory.publish()
    _, _, held = bench.cluster.sessions(mark)
    keys, _ = directory.status()
    # Documents only, under the names that they have in a bucket.
    shutil.copytree(directory.folder / "public" / "country-map", files)
    directory.remove()
    upload(bench, files, keys)
    requests(bench, keys)
    hold(bench, keys, held)
    shutil.rmtree(files)


def site_in(bench, s3):
    environment = dict(s3.environment)
    return Site(bench, bench.shm / "store", "scholar", {"country-map": country_template()}, s3.store(), environment)


def upload(bench, files, keys):
    """First publish of everything, and s5cmd's upload of the same files to another server of the same kind, in turn."""
    pairs, windows, peaks, flat, publishes, counted = [], [], [], [], [], ""
    best = best_of_s5cmd(bench, files, keys)
    for pair in range(bench.pairs):
        bench.say(f"pair {pair + 1} of {bench.pairs}")
        s3 = S3(bench)
        site = site_in(bench, s3)
        released = []
        publish = site.publish(watch=note_release(bench, s3, released))
        counts = s3.counts()
        check(counts)
        if site.status()[0] != keys:
            raise Failed(f"{site.status()[0]} documents are live instead of {keys}")
        if not released:
            raise Failed("the publish ended with its database connection, so there is no phase of the store alone")
        whole = counts.window_seconds("puts", "copies")
        before = released[0]
        after = counts.writes() - before.writes()
        # Both windows begin with the first write, so what lies between their ends is the time of the store alone.
        alone = whole - (before.window_seconds("puts", "copies") if before.writes() else 0)
        if alone < 1:
            raise Failed(f"the store was worked for alone for {alone:.2f} s only, which is no measurement")
        windows.append(counts.writes() / whole)
        s3.close()
        s5cmd = upload_by_s5cmd(bench, files, keys, best)
        pairs.append((after / alone, s5cmd))
        peaks.append(publish.peak_mib)
        flat.append(measure.quarters(publish.memory))
        publishes.append(publish)
        counted = str(counts)
    found = ratios(pairs)
    mine, theirs = ([f"{pair[n]:,.0f}" for pair in pairs] for n in (0, 1))
    behind = (
        f"pairs {spread(found)}; {', '.join(mine)} (PUT + COPY)/s once the query was done, {', '.join(f'{rate:,.0f}' for rate in windows)} from the first to the last; "
        f"s5cmd with {best} workers {', '.join(theirs)} PUT/s"
    )
    bench.table.at_least(PART, "(PUT + COPY)/s ÷ s5cmd's PUT/s", found[0], 1.3, seconds=behind)
    quarters = " → ".join(f"{mib:.0f}" for mib in flat[-1])
    bench.table.at_most(
        PART,
        f"first publish of {keys:,} documents, peak memory",
        max(peaks),
        150,
        "MiB",
        digits=0,
        seconds=f"{seconds(publishes)}; memory by quarters of the run {quarters} MiB; {counted}",
    )
    floor = bench.floor("scholar", bench.floor_sql(DATA / "country.sql"))
    separate = [floor.seconds + keys / rate for _, rate in pairs]
    whole = ratios([(publish.seconds, other) for publish, other in zip(publishes, separate, strict=True)])
    behind = f"COPY {floor.seconds:.1f} s, then s5cmd: {', '.join(f'{other:.1f}' for other in separate)} s, with nothing encoded in between and one write a document instead of two"
    bench.table.add(PART, "first publish ÷ (COPY + s5cmd)", f"{whole[0]:.2f} ×", seconds=behind)
    boto3(bench, files)


def note_release(bench, s3, released):
    """Notes the counts as of when the database is done: from then on the store is all that is worked for, as with s5cmd."""
    mark = bench.cluster.mark()

    def watch(_pid):
        if not released and bench.cluster.sessions(mark)[2]:
            released.append(s3.counts())

    return watch


def best_of_s5cmd(bench, files, keys):
    rates = {}
    for workers in S5CMD_WORKERS:
        bench.say(f"s5cmd with {workers} workers")
        rates[workers] = upload_by_s5cmd(bench, files, keys, workers)
    shown = ", ".join(f"{workers}: {rate:,.0f}" for workers, rate in rates.items())
    bench.table.add(PART, "s5cmd by number of workers", f"{max(rates.values()):,.0f} PUT/s", seconds=shown)
    return max(rates, key=rates.get)


def upload_by_s5cmd(bench, files, keys, workers):
    """PUTs a second, by the server's count and clock."""
    s3 = S3(bench)
    command = [bench.s5cmd, "--endpoint-url", s3.endpoint, "--numworkers", workers, "--log", "error", "cp"]
    command += [
        "--content-type",
        "application/json",
        "--content-encoding",
        "gzip",
        f"{files}/",
        f"s3://{BUCKET}/s5cmd/",
    ]
    measure.run(command, env=s3.environment)
    counts = s3.counts()
    check(counts)
    s3.close()
    if counts["puts"] != keys:
        raise Failed(f"s5cmd put {counts['puts']} objects instead of {keys}")
    return counts["puts"] / counts.window_seconds("puts")


def boto3(bench, files):
    sample = 10_000
    bench.say(f"boto3, {sample} files")
    s3 = S3(bench)
    command = [bench.python, bench.peers / "upload_boto3.py", files, str(sample), s3.endpoint, BUCKET]
    measure.run(command, env=s3.environment)
    counts = s3.counts()
    check(counts)
    s3.close()
    bench.table.add(
        PART,
        "boto3 with 32 threads",
        f"{counts['puts'] / counts.window_seconds('puts'):,.0f} PUT/s",
        seconds=f"{counts['puts']:,} files",
    )


def requests(bench, keys):
    """What later publishes ask for, as the server counts it."""
    s3 = S3(bench)
    site = site_in(bench, s3)
    bench.say("first publish, then unchanged")
    site.publish()
    serial = site.status()
    s3.reset()
    unchanged = site.publish()
    counts = s3.counts()
    check(counts)
    bench.table.at_most(
        PART,
        "unchanged publish, requests",
        counts.total(),
        6,
        "",
        digits=0,
        seconds=f"{counts}; {unchanged.seconds:.1f} s",
    )
    if site.status() != serial:
        raise Failed("the unchanged publish changed something")

    bench.say("one per cent of the keys changed")
    # The session looks into a schema with moved cities; the shared data stays as it was loaded.
    move_cities(bench, keys)
    site.configure('{ search_path = "moved" }')
    s3.reset()
    _, report = site.report("publish")
    counts = s3.counts()
    check(counts)
    template = report["templates"][0]
    changed = template["changed"] + template["added"] + template["removed"]
    if not 0.005 * keys <= changed <= 0.02 * keys:
        raise Failed(f"{changed} of {keys} keys changed, which isn't one per cent")
    behind = f"{changed:,} of {keys:,} documents changed; {counts}"
    bench.table.at_most(
        PART, "one per cent changed, requests", counts.total(), 2 * changed + 30, "", digits=0, seconds=behind
    )
    bench.table.at_most(PART, "one per cent changed, LISTs", counts["lists"], 0, "", digits=0)

    bench.say("header policy changed")
    site.write({"country-map": country_template(max_age="120s")})
    s3.reset()
    policy = site.publish()
    counts = s3.counts()
    check(counts)
    if counts["copies"] < keys:
        raise Failed(f"the new max_age reached {counts['copies']} objects of {keys}")
    # What else is written is a manifest, the head and the catalogue: no bodies.
    bench.table.at_most(
        PART,
        "header policy changed, requests other than COPY",
        counts.total() - counts["copies"],
        30,
        "",
        digits=0,
        seconds=f"{counts}; {policy.seconds:.1f} s",
    )
    site.remove()
    s3.close()


def move_cities(bench, keys):
    """A schema with its own city table: in the smallest number of countries whose documents are 1 % of all, one city moved."""
    per_country = keys / int(bench.cluster.ask("scholar", "select count(distinct country) from city"))
    countries = max(1, round(0.01 * keys / per_country))
    bench.cluster.ask(
        "scholar",
        f"""
        drop schema if exists moved cascade;
        create schema moved;
        create view moved.authorship as select * from public.authorship;
        create view moved.paper as select * from public.paper;
        create view moved.topic as select * from public.topic;
        create table moved.city as select * from public.city;
        alter table moved.city add primary key (city_id);
        update moved.city set lat = lat / 2 + 0.5
        where city_id in (
            select min(city_id) from public.city
            where country in (select country from public.city group by country order by min(city_id), country limit {countries})
            group by country);
        analyze moved.city;
        """,
    )


def hold(bench, keys, held_before):
    """How long the connection is held when every request takes its time."""
    bench.say(f"a store that takes {DELAY} a request")
    s3 = S3(bench, DELAY)
    site = site_in(bench, s3)
    mark = bench.cluster.mark()
    done, report = site.report("publish")
    _, _, held = bench.cluster.sessions(mark)
    check(s3.counts())
    most = s3.counts().most_in_flight
    s3.close()
    site.remove()
    query = report["seconds"]["query"]
    behind = f"held {max(held):.1f} s by the server's log, query {query:.1f} s by its own report; publish {done.seconds:.1f} s, at most {most} requests in flight, peak {done.peak_mib:.0f} MiB"
    bench.table.at_most(PART, f"connection held ÷ query, {DELAY} a request", max(held) / query, 1.1, seconds=behind)
    behind = f"{max(held):.1f} s and {max(held_before):.1f} s by the server's log"
    bench.table.at_most(
        PART, f"connection held, {DELAY} a request ÷ folder on tmpfs", max(held) / max(held_before), 1.1, seconds=behind
    )


def check(counts):
    if counts.failed:
        raise Failed(f"the server had to refuse requests: {counts}")
