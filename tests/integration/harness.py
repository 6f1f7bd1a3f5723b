"""Shared by the integration tests: a network namespace of one's own, servers from Debian packages, and one line per check.

A test is an executable tests/integration/NAME.test that calls main(run). It runs in a fresh network namespace (own
loopback, no other interface), so fixed ports are safe and tests run in parallel; nothing can reach a real network.
Every check prints `ok - text` or `not ok - text`; tools/check counts these lines.
"""
import atexit
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
MIXIFY = os.path.join(BUILD, "mixify")
LAB = os.path.join(BUILD, "smolmix-lab")
PRELOAD = os.path.join(BUILD, "libsmolmix.so")
FULL = os.environ.get("CHECK_FULL") == "1"

_failed = 0
_children = []
tmp = None


def check(name, condition, detail=""):
    """One result line; the detail is shown when the check failed."""
    global _failed
    print(("ok" if condition else "not ok") + " - " + name, flush=True)
    if not condition:
        _failed += 1
        for line in str(detail).splitlines()[-30:]:
            print("    " + line, flush=True)
    return condition


def _own_namespace():
    if os.environ.get("SMX_TEST_NETNS") == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["SMX_TEST_NETNS"] = "1"
    flags = ["-n"] if os.geteuid() == 0 else ["-rn"]
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


def _cleanup():
    for child in reversed(_children):
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
    for child in reversed(_children):
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if tmp:
        shutil.rmtree(tmp, ignore_errors=True)


def main(run):
    """Runs the test function in its own network namespace and exits with its verdict."""
    global tmp
    _own_namespace()
    for name in list(os.environ):
        if name.startswith("SMOLMIX_"):
            del os.environ[name]
    tmp = tempfile.mkdtemp(prefix="smolmix-test-")
    atexit.register(_cleanup)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        run()
    except Exception as error:  # a broken test is a failed one
        import traceback
        check("runs to its end", False, traceback.format_exc())
    sys.exit(1 if _failed else 0)


def spawn(args, **kwargs):
    """Starts a long-running helper in a process group of its own; it is ended with the test."""
    child = subprocess.Popen(args, start_new_session=True, **kwargs)
    _children.append(child)
    return child


def run(args, timeout=60, env=None, input=None):
    """Runs a command to its end; the result has returncode, stdout, stderr (text) and seconds. 124: timed out."""
    start = time.monotonic()
    child = subprocess.Popen(args, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
                             start_new_session=True, text=True, errors="replace")
    _children.append(child)
    try:
        out, err = child.communicate(input, timeout)
        code = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        code, err = 124, err + f"\n(timed out after {timeout} s)"
    _children.remove(child)
    result = subprocess.CompletedProcess(args, code, out, err)
    result.seconds = time.monotonic() - start
    result.report = f"$ {' '.join(map(str, args))}\nstatus {code} after {result.seconds:.1f} s\n{out[-1500:]}\n{err[-1500:]}"
    return result


LAB_IP, CLIENT_IP = "10.99.0.1", "10.99.0.2"


def client_namespace():
    """A second network namespace for the client, joined to this one by a pair of interfaces, LAB_IP here and CLIENT_IP
    there; labs listen on LAB_IP, which is also called directory.test and gateway.test there. Returns the prefix for
    commands inside. The client's default route leads here, so what leaks has a way out, and can be seen."""
    hosts = os.path.join(tmp, "hosts")
    with open(hosts, "w") as file:
        file.write(f"127.0.0.1 localhost\n{LAB_IP} directory.test gateway.test\n")
    keeper = spawn(["unshare", "-nm", "sh", "-c", 'mount --bind "$1" /etc/hosts && exec sleep 900', "sh", hosts])
    end = time.monotonic() + 5
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{keeper.pid}/ns/net") == own and time.monotonic() < end:
        time.sleep(0.02)
    while os.stat(f"/proc/{keeper.pid}/root/etc/hosts").st_ino != os.stat(hosts).st_ino and time.monotonic() < end:
        time.sleep(0.02)
    inside = ["nsenter", "-t", str(keeper.pid), "-n", "-m"]
    for command in (
        ["ip", "link", "add", "lab0", "type", "veth", "peer", "name", "cli0"],
        ["ip", "link", "set", "cli0", "netns", str(keeper.pid)],
        ["ip", "addr", "add", f"{LAB_IP}/24", "dev", "lab0"], ["ip", "link", "set", "lab0", "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
        [*inside, "ip", "addr", "add", f"{CLIENT_IP}/24", "dev", "cli0"],
        [*inside, "ip", "link", "set", "cli0", "up"],
        [*inside, "ip", "route", "add", "default", "via", LAB_IP],
    ):
        subprocess.run(command, check=True)
    return inside


class LeakWatch:
    """Sees whatever a client in client_namespace() sends that is not TCP to LAB_IP."""

    def __init__(self, inside):
        self.inside, self.path = inside, os.path.join(tmp, "leaks")
        self.child = spawn([*inside, "tcpdump", "-ni", "cli0", "-l", f"(ip and not host {LAB_IP}) or udp or (ip6 and tcp)"],
                           stdout=open(self.path, "w"), stderr=subprocess.PIPE, text=True)
        self.child.stderr.readline()

    def judge(self):
        """Two checks: that it works, and that it saw nothing else."""
        subprocess.run([*self.inside, "curl", "-s", "-m", "1", "http://198.18.0.99/"])
        time.sleep(0.5)
        self.child.send_signal(signal.SIGINT)
        self.child.wait(10)
        with open(self.path) as file:
            seen = file.read().splitlines()
        check("a connection around the tunnel would have been seen", any("198.18.0.99.80" in line for line in seen), seen)
        seen = [line for line in seen if line and "198.18.0.99" not in line]
        check("in all cases nothing was sent around the tunnel", not seen, "\n".join(seen))


def wait_port(port, host="127.0.0.1", timeout=15):
    """Waits until something accepts on the port."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {host}:{port}")


def words(log):
    """The end of what a child wrote to its log."""
    with open(log.name, errors="replace") as file:
        return file.read()[-1500:]


class Lab:
    """A running smolmix-lab; .ready is its JSON line, .env what a preloaded program needs."""
    numbers = itertools.count()  # labs start in several threads at once

    def __init__(self, *args, stderr=None):
        self.log = stderr or open(os.path.join(tmp, "lab.log"), "a")
        self.socket = os.path.join(tmp, f"control{next(Lab.numbers)}")
        self.child = spawn([LAB, "--control", self.socket, *map(str, args)], stdout=subprocess.PIPE, stderr=self.log,
                           text=True)
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"the lab did not start: status {self.child.wait(10)}, {words(self.log)}")
        self.ready = json.loads(line)
        self.env = {"SMOLMIX_NYM_API": self.ready["nym_api"]}

    def order(self, line):
        """One command on its control socket; the answer without `ok`. Raises when it is an error."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.settimeout(20)
            s.connect(self.socket)
            s.sendall(line.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                answer += s.recv(65536)
        if not answer.startswith(b"ok"):
            raise RuntimeError(f"the lab, asked to {line}: {answer.decode()}")
        return answer.decode().removeprefix("ok").strip()

    def stats(self):
        return json.loads(self.order("stats"))

    def stop(self, sig=signal.SIGTERM):
        self.child.send_signal(sig)
        return self.child.wait(10)


def payload(name, size):
    """A file of pseudo-random bytes; returns its path and SHA-256."""
    path = os.path.join(tmp, name)
    block, digest, left = b"smolmix", hashlib.sha256(), size
    with open(path, "wb") as out:
        while left:
            block = hashlib.sha512(block).digest()
            chunk = (block * 1024)[:left]
            out.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
    return path, digest.hexdigest()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") \
            else hashlib.sha256(file.read()).hexdigest()


def certificate(names="DNS:www.lab,IP:198.18.0.1", days=2, authority="Test CA"):
    """A server certificate of a private CA, which is made when it is needed first; returns (ca, cert, key)."""
    def at(kind, what):
        return os.path.join(tmp, "".join(c if c.isalnum() else "-" for c in what) + kind)

    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ca, cakey = at(".ca.pem", authority), at(".ca-key.pem", authority)
    if not os.path.exists(ca):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        f"/CN={authority}", "-keyout", cakey, "-out", ca], **quiet)
    key, csr, ext, cert = (at(kind, f"{names}{days}{authority}") for kind in (".key", ".csr", ".ext", ".pem"))
    subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", key, "-out", csr],
                   **quiet)
    with open(ext, "w") as file:
        file.write(f"subjectAltName={names}\n")
    subprocess.run(["openssl", "x509", "-req", "-in", csr, "-CA", ca, "-CAkey", cakey, "-CAcreateserial", "-days",
                    str(days), "-extfile", ext, "-out", cert], **quiet)
    return ca, cert, key


def nginx(root, port=8080, tls=None, put=False):
    """Debian's nginx serving a folder (with PUT into it on request), over TLS on port + 1 if tls=(cert, key). Listens on
    127.0.0.1 and ::1; access-PORT.log begins each line with the address that was connected to."""
    conf = os.path.join(tmp, f"nginx-{port}.conf")
    tls_listen = f"listen 127.0.0.1:{port + 1} ssl; listen [::1]:{port + 1} ssl; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
    dav = "dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 0;" if put else ""
    with open(conf, "w") as file:
        file.write(f"""
daemon off; master_process off; worker_processes 1; user root; pid {tmp}/nginx-{port}.pid; error_log {tmp}/nginx-{port}.log;
events {{ worker_connections 4096; }}
http {{
  log_format to '$server_addr "$request" $status $body_bytes_sent';
  access_log {tmp}/access-{port}.log to; client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy;
  fastcgi_temp_path {tmp}/fcgi; uwsgi_temp_path {tmp}/uwsgi; scgi_temp_path {tmp}/scgi;
  server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; {tls_listen} server_name _; root {root}; {dav} autoindex on; }}
}}
""")
    child = spawn(["nginx", "-c", conf, "-p", tmp], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_port(port)
    return child
