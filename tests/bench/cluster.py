"""The benchmarks' PostgreSQL server: started, loaded once, asked, and stopped."""

import datetime
import os
import pathlib
import re
import subprocess

from measure import Failed

HERE = pathlib.Path(__file__).parent


class Cluster:
    """A running server. Its data folder may outlive it, so that the next run needn't load again."""

    def __init__(self, data, work):
        self.log = work / "postgres.log"
        complaint = work / "cluster.err"
        with open(complaint, "w") as err:
            self._guard = subprocess.Popen(
                ["bash", str(HERE / "cluster.sh"), str(data), str(self.log)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,  # a Ctrl-C is for this script, which then closes the pipe
            )
        self.url = self._guard.stdout.readline().strip()
        if not self.url:
            raise Failed(f"PostgreSQL does not start: {complaint.read_text().strip()}")
        self.version = self.ask("postgres", "show server_version").split()[0]

    def close(self):
        self._guard.stdin.close()
        self._guard.wait()

    def dsn(self, database):
        return f"{self.url}/{database}"

    def psql(self, database, *arguments):
        # As tintype: TCP on the loopback address, no password, nothing from the user's own settings.
        return ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database), *arguments]

    def ask(self, database, sql):
        done = subprocess.run(self.psql(database, "-c", sql), capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def load(self, database, script):
        """Creates a database from a script, unless it is there; half-loaded ones never get the final name."""
        if self.ask("postgres", f"select 1 from pg_database where datname = '{database}'"):
            return
        filling = f"{database}_filling"
        self.ask("postgres", f'drop database if exists "{filling}"')
        self.ask("postgres", f'create database "{filling}"')
        done = subprocess.run(self.psql(filling, "-f", str(script)), capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{script.name}: {done.stderr.strip()}")
        self.ask("postgres", f'alter database "{filling}" rename to "{database}"')
        # So that no run has to write what the load has left dirty.
        self.ask("postgres", "checkpoint")

    def child_cpu_seconds(self):
        """CPU of all backends and parallel workers that have ended, as the kernel tells it to their parent."""
        data = self.ask("postgres", "show data_directory")
        postmaster = int((pathlib.Path(data) / "postmaster.pid").read_text().split()[0])
        # After the name in brackets, which may hold spaces: cutime and cstime are fields 16 and 17.
        fields = pathlib.Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def mark(self):
        """A place in the server's log, for `sessions`."""
        return self.log.stat().st_size

    def sessions(self, since, name="tintype"):
        """The connections opened since `mark` by applications of that name: (opened, most at once, seconds held)."""
        with open(self.log, "rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        opened, open_now, most, held = 0, set(), 0, []
        for line in lines:
            stamp, _, rest = line.partition("|")
            pid, _, rest = rest.partition("|")
            if f"application_name={name}" in rest:
                opened += 1
                open_now.add(pid)
                most = max(most, len(open_now))
            session = re.search(r"disconnection: session time: (\d+):(\d+):(\d+\.\d+)", rest)
            if session and pid in open_now:
                open_now.discard(pid)
                hours, minutes, seconds = session.groups()
                held.append(
                    datetime.timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()
                )
        return opened, most, held
