"""What the other side sees: connections and statements by the database's count, figures by the server's own."""

import json
import subprocess
import threading
import time
import urllib.request

from measure import Failed

# How often connections and leases are counted, in seconds.
OFTEN = 0.05
# How long what is left of a crowd may take to go.
PATIENCE = 60


class Session:
    """One connection to the database that is kept, so that asking often costs little."""

    def __init__(self, bench, database="postgres"):
        command = bench.cluster.psql(database)
        self._psql = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, sql):
        """The one cell of a statement's answer."""
        self._psql.stdin.write(sql + ";\n")
        self._psql.stdin.flush()
        line = self._psql.stdout.readline()
        if not line:
            raise Failed(f"the database ends the connection at: {sql}")
        return line.strip()

    def close(self):
        self._psql.stdin.close()
        self._psql.wait()


class Sampler:
    """The largest of what is seen by looking often, while this is open."""

    def __init__(self, look):
        self.most, self.looks, self._error = 0, 0, None
        self._look, self._stop = look, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._stop.is_set():
                self.most = max(self.most, self._look())
                self.looks += 1
                self._stop.wait(OFTEN)
        except Exception as error:  # It is told where the figure is wanted.
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join()
        if kind is None and (self._error or not self.looks):
            raise Failed(f"what was to be counted could not be: {self._error}")


class Connections(Sampler):
    """The most connections that an application had at a time."""

    def __init__(self, bench, application):
        self._session = Session(bench)
        sql = f"select count(*) from pg_stat_activity where application_name like '{application}%'"
        super().__init__(lambda: int(self._session.ask(sql)))

    def __exit__(self, *how):
        try:
            super().__exit__(*how)
        finally:
            self._session.close()


class Metrics:
    """The figures of `tintype serve` at one instant, as Prometheus would read them."""

    def __init__(self, server):
        with urllib.request.urlopen(server.admin + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        self._samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    def pool(self, name):
        return float(self._samples[f'{name}{{pool="serve"}}'])

    def answered(self, *sources):
        """Requests answered with a document by one of these sources; with all of them without one."""
        name = 'tintype_fallback_requests_total{source="'
        of = [sample for sample in self._samples if sample.startswith(name)]
        return sum(
            float(self._samples[sample]) for sample in of if not sources or sample[len(name) :].split('"')[0] in sources
        )


class Statements:
    """What the database has executed since: statements, and the seconds that they took, by its own count."""

    def __init__(self, bench, database):
        self._bench = bench
        # In a database of its own, so that what is measured isn't touched.
        bench.cluster.ask("postgres", "create extension if not exists pg_stat_statements")
        self._of = f"from pg_stat_statements where dbid = (select oid from pg_database where datname = '{database}')"
        bench.cluster.ask("postgres", "select pg_stat_statements_reset()")

    def read(self):
        """(statements, seconds)."""
        sql = f"select json_build_array(coalesce(sum(calls), 0), coalesce(sum(total_exec_time), 0) / 1000) {self._of}"
        calls, seconds = json.loads(self._bench.cluster.ask("postgres", sql))
        return calls, seconds


def nobody_left(bench, application):
    """Waits until an application has no connection any more; what it left running would be the next one's load."""
    of = f"from pg_stat_activity where application_name like '{application}%'"
    bench.cluster.ask("postgres", f"select count(pg_terminate_backend(pid)) {of}")
    until = time.monotonic() + PATIENCE
    while int(bench.cluster.ask("postgres", f"select count(*) {of}")):
        if time.monotonic() > until:
            raise Failed(f"connections of {application} don't end")
        time.sleep(0.1)
