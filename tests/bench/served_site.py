"""The site that readers ask for: half of its topics published, the others valid and cold, and lists of paths to ask for."""

import random
import time

import serving
from measure import Failed
from tintype_site import Site, served_template
from watching import Statements

# Topics of the database, and how many of them are published: the first, which have the most papers.
TOPICS, HOT_TOPICS = 200, 100
LEVELS = ("low", "medium", "high")
# Distinct documents of a crowd that asks for what is published; what a page of the day consists of.
PUBLISHED = 2000
# Cold keys of a crowd that asks for many of them, and published ones among these.
COLD = 200
# Documents of each topic in the log of requests.
A_TOPIC = 10


class ServedSite:
    """Published once, with nginx over its folder."""

    def __init__(self, bench):
        self.bench = bench
        self.site = Site(bench, bench.shm / "serve", "scholar", {"country-map": served_template()})
        in_memory(bench)
        statements = Statements(bench, "scholar")
        bench.say(f"publishing {HOT_TOPICS} of {TOPICS} topics")
        self.site.publish()
        # What the database executed for it, and in how many seconds.
        self.publish_statements = statements.read()
        root = self.site.folder / "public"
        found = root.glob("country-map/*/*/*.json.gz")
        documents = sorted("/" + str(file.relative_to(root))[: -len(".gz")] for file in found)
        self.regions = sorted(folder.name for folder in (root / "country-map").iterdir())
        if len(documents) != len(self.regions) * HOT_TOPICS * len(LEVELS):
            raise Failed(f"{len(documents)} documents of {len(self.regions)} regions were published")
        chance = random.Random(1)
        self.published = chance.sample(documents, PUBLISHED)
        self.published_file = self._write("published", self.published)
        cold = set()
        while len(cold) < 2 * COLD:
            cold.add(self._path(chance, chance.randint(HOT_TOPICS + 1, TOPICS)))
        cold = sorted(cold)
        chance.shuffle(cold)
        # Two sets of cold keys, so that none is warm because it was asked for one by one.
        self.cold, self.other_cold = cold[:COLD], cold[COLD:]
        mixed = self.cold + self.published[:COLD]
        chance.shuffle(mixed)
        self.mixed_file = self._write("mixed", mixed)
        # The log of a day: topics by rank, whether or not they are published.
        log = [self._path(chance, topic) for topic in range(1, TOPICS + 1) for _ in range(A_TOPIC)]
        self.log_file = self._write("log", log)
        self.nginx = serving.nginx(bench.work / "nginx", root)

    def serve(self):
        """A new server of it, with nothing in its memory, which knows the keys."""
        server = serving.tintype(self.bench, self.site)
        # Valid by its form, and of no region: 404 once the keys have been read.
        for _ in range(100):
            if server.status(f"/country-map/nowhere/topic-1/{LEVELS[0]}.json") == 404:
                return server
            time.sleep(0.1)
        server.close()
        raise Failed("tintype serve doesn't know its keys after 10 s")

    def _path(self, chance, topic):
        return f"/country-map/{chance.choice(self.regions)}/topic-{topic}/{chance.choice(LEVELS)}.json"

    def _write(self, name, paths):
        file = self.bench.work / f"{name}.txt"
        file.write_text("\n".join(paths) + "\n")
        return file

    def close(self):
        self.nginx.close()
        self.site.remove()


def in_memory(bench):
    """Has the server read all tables and indexes: what a disk takes for the first look at a page is nobody's merit."""
    bench.cluster.ask("scholar", "create extension if not exists pg_prewarm")
    of = "from pg_class where relkind in ('r', 'i') and relnamespace = 'public'::regnamespace"
    bench.cluster.ask("scholar", f"select sum(pg_prewarm(oid::regclass)) {of}")
