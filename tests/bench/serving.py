"""Servers to ask."""

import gzip
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from measure import Failed

# Numbers of clients that ask by themselves.
CLIENTS = itertools.count()
NGINX = """
{user}
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    log_not_found off;
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
            raise Failed(f"no {program} (Debian: apt-get install wrk nginx-light apache2-utils)")


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
        """The body of a document; each time as another client, whose limits are its own."""
        client = next(CLIENTS)
        headers = {"Accept-Encoding": "gzip", "X-Forwarded-For": f"10.200.{client // 256 % 256}.{client % 256}"}
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def status(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def close(self):
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()


def unpacked(body):
    """A body as it was before it was gzipped, if it was."""
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


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
    """A new server of the site, with nothing in its memory; it believes what a proxy here says about clients."""
    port, admin = free_port(), free_port()
    command = [bench.binary, "-c", site.config, "-q", "serve", "--listen", f"127.0.0.1:{port}"]
    command += ["--admin-listen", f"127.0.0.1:{admin}"]
    server = Server(command, port, env={"TINTYPE_FALLBACK_TRUSTED_PROXIES": "127.0.0.1"})
    server.admin = f"http://127.0.0.1:{admin}"
    # It has looked at the store.
    for _ in range(300):
        if is_ready(server.admin):
            return server
        time.sleep(0.1)
    server.close()
    raise Failed("tintype serve isn't ready after 30 s")


def is_ready(admin):
    try:
        with urllib.request.urlopen(f"{admin}/health/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def peer(bench, database):
    port = free_port()
    command = [bench.python, "-m", "uvicorn", "peer_api:app", "--port", port, "--log-level", "critical"]
    return Server(command, port, env=bench.peer_environment(database), cwd=bench.peers)
