"""Stock servers from Debian packages for the matrix, all on 127.0.0.1 behind the lab's exit, which the programs reach as
198.18.0.1 or any name in .lab. Each is started once, when the first program needs it, and ends with the test."""
import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from concurrent.futures import Future

import harness
from harness import certificate, payload, spawn, wait_port

PAGE = "A page that came through the mixnet.\n"
_started = {}
_lock = threading.Lock()
_quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


files_for_tls = functools.cache(certificate)  # (ca, cert, key); the matrix asks for them before there are threads


def folder(*names):
    path = os.path.join(harness.tmp, *names)
    os.makedirs(path, exist_ok=True)
    return path


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def _sh(script, **kwargs):
    r = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, **kwargs)
    if r.returncode:
        raise RuntimeError(f"{script}\n{r.stdout}{r.stderr}")


def _server(name, args, port=None, seconds=15, **kwargs):
    """Starts one; its words go to a log, which is told when it does not listen."""
    log = open(os.path.join(harness.tmp, name + ".log"), "w")
    child = spawn([str(a) for a in args], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **kwargs)
    try:
        if port:
            wait_port(port, timeout=seconds)
        else:
            time.sleep(0.2)
            if child.poll() is not None:
                raise RuntimeError(f"status {child.returncode}")
    except RuntimeError as error:
        raise RuntimeError(f"{name}: {error}\n{harness.words(log)}") from None
    return child


def _as(user):
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


# --- the web -----------------------------------------------------------------------------------------------------------

def web():
    """nginx: pages, PUT, TLS with HTTP/2, git's own program for smart HTTP; the site is where other servers put theirs."""
    site = folder("site")
    _write(os.path.join(site, "page.txt"), PAGE)
    _write(os.path.join(site, "page.html"), '<title>Lab</title><p id="p">before</p><img src="dot.svg"><script>fetch("page.txt")'
           '.then((r) => r.text()).then((t) => { document.getElementById("p").textContent = "fetched: " + t; })</script>\n')
    _write(os.path.join(site, "dot.svg"), '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>\n')
    payload("site/medium", 1 << 20)
    os.chmod(site, 0o777)
    _, cert, key = files_for_tls()
    conf = _write(os.path.join(harness.tmp, "nginx.conf"), f"""
daemon off; master_process off; worker_processes 1; user root; pid {harness.tmp}/nginx.pid; error_log {harness.tmp}/web.log;
events {{ worker_connections 4096; }}
http {{
  types {{ text/html html; text/plain txt; image/svg+xml svg; }}
  access_log {harness.tmp}/access.log; client_body_temp_path {harness.tmp}/body; proxy_temp_path {harness.tmp}/proxy;
  fastcgi_temp_path {harness.tmp}/fcgi; uwsgi_temp_path {harness.tmp}/uwsgi; scgi_temp_path {harness.tmp}/scgi;
  server {{
    listen 127.0.0.1:8080; listen [::1]:8080; listen 127.0.0.1:8081 ssl http2; listen [::1]:8081 ssl http2;
    ssl_certificate {cert}; ssl_certificate_key {key};
    root {site}; autoindex on; dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 0;
    location /smart/ {{
      fastcgi_pass unix:{harness.tmp}/fcgiwrap; fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT {harness.tmp}/repositories; fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $fastcgi_script_name; fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param QUERY_STRING $query_string; fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param REMOTE_USER lab; fastcgi_param REMOTE_ADDR $remote_addr;
    }}
  }}
}}
""")
    _server("web", ["nginx", "-c", conf, "-p", harness.tmp], 8080)


def repository():
    """A repository for git over plain HTTP, and a bare one per way of pushing."""
    need("web")
    work = folder("work")
    _sh(f"""git init -q -b main . && git config user.email a@b && git config user.name t
for i in 1 2 3; do seq $i 2000 > f$i; git add .; git commit -qm "commit $i"; done
git clone -q --bare . {harness.tmp}/site/repo.git; git -C {harness.tmp}/site/repo.git update-server-info
mkdir -p {harness.tmp}/repositories/smart; cd {harness.tmp}/repositories
for name in smart/repo.git daemon.git ssh.git; do
    git clone -q --bare {work} $name; git -C $name config http.receivepack true
done""", cwd=work)


def git_http():
    need("repository")
    _server("git_http", ["fcgiwrap", "-s", f"unix:{harness.tmp}/fcgiwrap"], env={**os.environ, "HOME": folder("home")})


def git_daemon():
    need("repository")
    _server("git-daemon", ["git", "daemon", f"--base-path={harness.tmp}/repositories", "--export-all", "--enable=receive-pack",
                           "--listen=127.0.0.1", "--port=9418"], 9418)


def packages():
    """A Debian repository, a package index of Python's and a registry of npm's, as plain files of nginx."""
    need("web")
    site = folder("site")
    deb = folder("smolpkg-deb", "DEBIAN")
    _write(os.path.join(deb, "control"), "Package: smolpkg\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\n"
           "Description: from the lab\n")
    _sh(f"mkdir -p apt; dpkg-deb -b {os.path.dirname(deb)} apt/smolpkg_1.0_all.deb; cd apt; dpkg-scanpackages . >Packages",
        cwd=site)
    with zipfile.ZipFile(os.path.join(folder("site", "simple", "smolpkg"), "smolpkg-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("smolpkg.py", "word = 'installed through the mixnet'\n")
        wheel.writestr("smolpkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: smolpkg\nVersion: 1.0\n")
        wheel.writestr("smolpkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("smolpkg-1.0.dist-info/RECORD", "smolpkg.py,,\n")
    path = os.path.join(folder("site", "npm"), "smolpkg-1.0.0.tgz")
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("package.json", json.dumps({"name": "smolpkg", "version": "1.0.0", "main": "index.js"})),
                           ("index.js", "module.exports = 'installed through the mixnet';\n")):
            member = tarfile.TarInfo("package/" + name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with open(path, "rb") as file:
        digest = hashlib.sha1(file.read()).hexdigest()
    version = {"name": "smolpkg", "version": "1.0.0",
               "dist": {"tarball": "http://www.lab:8080/npm/smolpkg-1.0.0.tgz", "shasum": digest}}
    _write(os.path.join(site, "smolpkg"), json.dumps({"name": "smolpkg", "dist-tags": {"latest": "1.0.0"},
                                                      "versions": {"1.0.0": version}}))


def sound():
    """A second of a tone in noise, as a file to play."""
    need("web")
    _sh("ffmpeg -v error -f lavfi -i sine=frequency=1000:duration=3 -c:a flac tone.flac", cwd=folder("site"))


# --- files and shells --------------------------------------------------------------------------------------------------

def sshd():
    need("repository")
    home = folder("sshd")
    _sh("mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f user; cp user.pub authorized",
        cwd=home)
    conf = _write(os.path.join(home, "sshd_config"), f"""
Port 2222
ListenAddress 127.0.0.1
HostKey {home}/host
AuthorizedKeysFile {home}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
""")
    _write(os.path.join(home, "config"), f"""
Host *
  Port 2222
  User {subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()}
  IdentityFile {home}/user
  UserKnownHostsFile {home}/known
  StrictHostKeyChecking accept-new
""")
    _server("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", conf], 2222)


def rsyncd():
    conf = _write(os.path.join(harness.tmp, "rsyncd.conf"), f"""
port = 8730
address = 127.0.0.1
use chroot = no
reverse lookup = no
[files]
path = {folder("rsync")}
read only = no
uid = {os.geteuid()}
gid = {os.getegid()}
""")
    _sh("seq 1 50000 > numbers; echo small > small", cwd=folder("rsync"))
    _server("rsyncd", ["rsync", "--daemon", "--no-detach", f"--config={conf}"], 8730)


def vsftpd():
    root = folder("ftp")
    _write(os.path.join(root, "file.txt"), PAGE)
    os.makedirs(os.path.join(root, "in"), exist_ok=True)
    os.chmod(os.path.join(root, "in"), 0o777)
    os.makedirs("/run/vsftpd/empty", exist_ok=True)
    conf = _write(os.path.join(harness.tmp, "vsftpd.conf"), f"""
listen=YES
listen_address=127.0.0.1
listen_port=21
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={root}
write_enable=YES
anon_upload_enable=YES
anon_umask=022
pasv_address=198.18.0.1
seccomp_sandbox=NO
xferlog_enable=NO
""")
    _server("vsftpd", ["vsftpd", conf], 21)


# --- databases and messages --------------------------------------------------------------------------------------------

def redis():
    _server("redis", ["redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", "", "--dir", folder("redis")], 6379)


def memcached():
    _server("memcached", ["memcached", "-l", "127.0.0.1", "-p", "11211", "-U", "0", "-u", "root"], 11211)


def mosquitto():
    conf = _write(os.path.join(harness.tmp, "mosquitto.conf"), "listener 1883 127.0.0.1\nallow_anonymous true\nuser root\n")
    _server("mosquitto", ["mosquitto", "-c", conf], 1883)


def postgres():
    data, home = folder("postgres"), sorted(os.listdir("/usr/lib/postgresql"))[-1]
    programs = f"/usr/lib/postgresql/{home}/bin"
    _, cert, key = files_for_tls()
    shutil.chown(data, "postgres", "postgres")
    user = _as("postgres")
    r = subprocess.run([*user, f"{programs}/initdb", "-A", "trust", "-N", "-D", data], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stdout + r.stderr)
    for source, name in ((cert, "server.crt"), (key, "server.key")):
        target = shutil.copy(source, os.path.join(data, name))
        shutil.chown(target, "postgres", "postgres")
        os.chmod(target, 0o600)
    _server("postgres", [*user, f"{programs}/postgres", "-D", data, "-h", "127.0.0.1", "-p", "5432", "-k", "", "-c", "ssl=on", "-F"],
            5432, 60)


def mariadb():
    data = folder("mariadb")
    shutil.chown(data, "mysql", "mysql")
    _sh(f"mariadb-install-db --user=mysql --datadir={data} --skip-test-db --skip-name-resolve")
    first = _write(os.path.join(harness.tmp, "mariadb.sql"),
                   "create user lab@'%' identified by 'secret';\ncreate database lab;\ngrant all on lab.* to lab@'%';\n")
    _server("mariadb", ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", "--bind-address=127.0.0.1", "--port=3306",
                        f"--socket={data}/socket", f"--init-file={first}", "--skip-name-resolve"], 3306, 60)


def slapd():
    data = folder("ldap")
    conf = _write(os.path.join(harness.tmp, "slapd.conf"), f"""
include /etc/ldap/schema/core.schema
pidfile {harness.tmp}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 1048576
suffix "dc=lab"
rootdn "cn=admin,dc=lab"
rootpw secret
directory {data}
""")
    _server("slapd", ["slapd", "-d", "0", "-f", conf, "-h", "ldap://127.0.0.1:3890"], 3890)


# --- small and odd -----------------------------------------------------------------------------------------------------

def echo():
    """TCP and UDP: says everything back. Nobody packages a server for this any more, but socat is one."""
    _server("echo-tcp", ["socat", "TCP-LISTEN:7007,bind=127.0.0.1,reuseaddr,fork", "EXEC:cat"], 7007)
    _server("echo-udp", ["socat", "-T10", "UDP4-RECVFROM:7007,bind=127.0.0.1,reuseaddr,fork", "EXEC:cat"])


def whois():
    answer = _write(os.path.join(harness.tmp, "whois.sh"), 'read -r name; echo "domain: ${name%?}"; echo "registrant: the lab"\n')
    _server("whois", ["socat", "TCP-LISTEN:43,bind=127.0.0.1,reuseaddr,fork", f"EXEC:sh {answer}"], 43)


def iperf():
    """One test at a time each, so one server for TCP and one for UDP."""
    for port in (5201, 5202):
        _server(f"iperf-{port}", ["iperf3", "-s", "-B", "127.0.0.1", "-p", port], port)


def chronyd():
    conf = _write(os.path.join(harness.tmp, "chrony.conf"),
                  f"local stratum 5\nallow all\nbindaddress 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile {harness.tmp}/chronyd.pid\n")
    _server("chronyd", ["chronyd", "-x", "-d", "-U", "-u", "root", "-f", conf])


def snmpd():
    conf = _write(os.path.join(harness.tmp, "snmpd.conf"), "agentaddress udp:127.0.0.1:1161\nrocommunity public\nsyslocation the lab\n")
    _server("snmpd", ["snmpd", "-f", "-Lo", "-C", "-c", conf, "-p", f"{harness.tmp}/snmpd.pid"])


def dns():
    """Names outside .lab, which the lab asks its resolver for; the lab is told to use port 5300."""
    _server("dns", ["dnsmasq", "-k", "-C", "/dev/null", "-p", "5300", "--listen-address=127.0.0.1", "--bind-interfaces",
                        "--no-resolv", "--no-hosts", "-x", "", "-u", "root", "--local=/#/", "--address=/example.org/198.18.0.1",
                        "--txt-record=example.org,from dnsmasq", "--mx-host=example.org,mail.example.org,10",
                        "--ptr-record=7.113.0.203.in-addr.arpa,seven.example.org"], 5300)


GO = """package main
import ("fmt"; "io"; "net/http"; "os"; "sync")
func main() {
    url := os.Args[1]
    r, err := http.Get(url)
    if err != nil { fmt.Println(err); os.Exit(1) }
    io.Copy(os.Stdout, r.Body)
    var all sync.WaitGroup
    good := make(chan bool, 20)
    for i := 0; i < 20; i++ {
        all.Add(1)
        go func() { defer all.Done(); r, err := http.Get(url); good <- err == nil && r.StatusCode == 200 }()
    }
    all.Wait()
    close(good)
    n := 0
    for g := range good { if g { n++ } }
    fmt.Println("parallel", n)
}
"""


def golang():
    """Not a server: a client without libc, built as most Go programs are."""
    _write(os.path.join(folder("go"), "get.go"), GO)
    _sh("PATH=$PATH:/usr/local/go/bin CGO_ENABLED=0 GOCACHE=$PWD/cache GO111MODULE=off GOTOOLCHAIN=local go build -o get get.go",
        cwd=folder("go"))


def busybox():
    """Not a server: Debian's dynamic busybox, unpacked, since its package and the static one's exclude each other."""
    packages = os.path.join(harness.ROOT, "build", "packages")
    debs = [name for name in os.listdir(packages) if name.startswith("busybox_")] if os.path.isdir(packages) else []
    if not debs:
        raise RuntimeError("build/packages has no busybox_*.deb; programs.test downloads it before it gives up the network")
    _sh(f"dpkg-deb -x {packages}/{debs[-1]} .", cwd=folder("busybox"))


def tls():
    """openssl's own server, which says what it negotiated."""
    _, cert, key = files_for_tls()
    _server("s_server", ["openssl", "s_server", "-accept", "127.0.0.1:8443", "-cert", cert, "-key", key, "-www"], 8443)


def words(names):
    """What these servers said last, for the report of a program that failed."""
    text = ""
    for name in names:
        path = os.path.join(harness.tmp, name + ".log")
        if os.path.exists(path):
            with open(path, errors="replace") as file:
                text += "".join(f"{name}: {line}" for line in file.readlines()[-5:])
    return text


def need(name):
    """Starts a server unless it runs, in whichever thread asks first; raises, each time, when it cannot be started."""
    with _lock:
        first = name not in _started
        outcome = _started.setdefault(name, Future())
    if first:
        try:
            getattr(sys.modules[__name__], name)()
            outcome.set_result(None)
        except Exception as error:
            outcome.set_exception(RuntimeError(f"server {name}: {error}"))
    outcome.result()
