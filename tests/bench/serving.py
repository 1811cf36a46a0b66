"""Servers to ask and wrk to ask them."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

from measure import Failed

HERE = pathlib.Path(__file__).parent
NGINX = """
{user}
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    types {{ application/json json; }}
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    open_file_cache max=20000 inactive=60s;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        gzip_static always;
        gunzip on;
        add_header Cache-Control "public, max-age=60, s-maxage=86400";
    }}
}}
"""


def needed(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            raise Failed(f"no {program} (Debian: apt-get install wrk hey nginx-light)")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that answers on a port of the loopback address, until it is closed."""

    def __init__(self, command, port, env=None, cwd=None):
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._process.pid
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
        self.close()
        raise Failed(f"{command[0]} doesn't answer")

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def close(self):
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()


def nginx(folder, root):
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nginx.conf"
    # Folders of the benchmark are open to whoever runs it.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(folder=folder, root=root, port=port, user=user))
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    return Server([program, "-c", config, "-g", "daemon off;"], port)


def tintype(bench, site):
    port = free_port()
    command = [bench.binary, "-c", site.config, "-q", "serve", "--listen", f"127.0.0.1:{port}"]
    return Server([*command, "--admin-listen", f"127.0.0.1:{free_port()}"], port)


def peer(bench, database):
    port = free_port()
    command = [bench.python, "-m", "uvicorn", "peer_api:app", "--port", port, "--log-level", "critical"]
    return Server(command, port, env=bench.peer_environment(database), cwd=bench.peers)


def wrk(server, paths, clients, seconds):
    """Asks as fast as the answers come, over so many connections."""
    command = ["wrk", "-t", "2" if clients > 1 else "1", "-c", clients, "-d", f"{seconds}s", "--timeout", "60s"]
    command += ["-s", HERE / "serve" / "paths.lua", server.url, "--", paths]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode:
        raise Failed(f"wrk: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def hey(server, path, clients, each_per_second, seconds):
    """So many clients that ask so often each, whether the answers come or not; their latencies in milliseconds, sorted."""
    command = ["hey", "-z", f"{seconds}s", "-c", str(clients), "-q", str(each_per_second), "-t", "60", "-o", "csv"]
    command += ["-H", "Accept-Encoding: gzip", server.url + path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    rows = [line.split(",") for line in done.stdout.splitlines()[1:]]
    latencies = sorted(float(row[0]) * 1000 for row in rows if row[6] == "200")
    if not latencies:
        raise Failed(f"hey: no answer; {done.stderr.strip()}")
    return latencies, len(rows) - len(latencies)


class Connections:
    """The most connections that an application had at a time, while this is open."""

    def __init__(self, bench, application):
        self.most, self._stop = 0, threading.Event()
        sql = f"select count(*) from pg_stat_activity where application_name like '{application}%'"

        def look():
            while not self._stop.is_set():
                self.most = max(self.most, int(bench.cluster.ask("postgres", sql)))
                self._stop.wait(0.2)

        self._thread = threading.Thread(target=look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
