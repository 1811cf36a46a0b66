"""The S3 server of the benchmarks, started and asked for its counts."""

import json
import os
import subprocess
import urllib.request

from measure import Failed

BUCKET = "bench"
# What is not there yet, and what a compare-and-swap refuses: a publisher asks for both.
EXPECTED = ("404", "412")


class S3:
    """A server with an empty bucket, in memory. Ends with `close`, or with this process."""

    def __init__(self, bench, delay="0s"):
        self.environment = {
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "a secret of nobody",
            "AWS_REGION": "us-east-1",
        }
        self._server = subprocess.Popen(
            [str(bench.s3_server), "--memory", "--bucket", BUCKET, "--delay", delay],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
            start_new_session=True,
        )
        self.endpoint = self._server.stdout.readline().strip()
        if not self.endpoint:
            raise Failed(f"{bench.s3_server} does not start")

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def store(self):
        """The lines of [store] for a site in it."""
        return f'url = "s3://{BUCKET}/site"\nendpoint = "{self.endpoint}"\nregion = "us-east-1"'

    def counts(self):
        """Requests by kind, as the server counted them, and what else it saw."""
        with urllib.request.urlopen(f"{self.endpoint}/-/requests") as answer:
            report = json.load(answer)
        failed = {
            status: count for status, count in report["statuses"].items() if status >= "400" and status not in EXPECTED
        }
        return Counts(report["kinds"], failed, report["most_in_flight"])

    def reset(self):
        request = urllib.request.Request(f"{self.endpoint}/-/reset", method="POST")
        urllib.request.urlopen(request).close()


class Counts:
    def __init__(self, kinds, failed, most_in_flight):
        self.kinds, self.failed, self.most_in_flight = kinds, failed, most_in_flight

    def __getitem__(self, kind):
        return self.kinds.get(kind, {}).get("count", 0)

    def total(self):
        return sum(self[kind] for kind in self.kinds)

    def writes(self):
        return self["puts"] + self["copies"]

    def window_seconds(self, *names):
        """From the first to the last request of these kinds."""
        seen = [self.kinds[name] for name in names if name in self.kinds]
        if not seen:
            raise Failed(f"the server saw no {' and no '.join(names)}")
        return max(kind["first_seconds_ago"] for kind in seen) - min(kind["last_seconds_ago"] for kind in seen)

    def __str__(self):
        text = ", ".join(f"{self[kind]:,} {kind}" for kind in sorted(self.kinds)) or "none"
        return text + (f"; failed: {self.failed}" if self.failed else "")
