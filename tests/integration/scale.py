"""Many flows of one program, and many processes in one tunnel: what integration/scale.test (few) and full/scale.test
(as many as issue 4 asks for) share."""
import json
import os
import resource
import socket
import subprocess
import sys
import threading

import harness
from harness import MIXIFY, PRELOAD, Lab, check, run, spawn

FAST = ["--no-poisson", "--no-cover", "--hop-delay", "0"]
ECHO, MEET = 7000, 7001
SOFT = 1024  # the usual limit of descriptors; who needs more raises it for itself
BYTES = 3000  # a flow sends so many there and back, twice

# Says how many connections were open at the same time.
SERVER = """
import asyncio, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
now = most = 0
async def serve(reader, writer):
    global now, most
    now += 1
    most = max(most, now)
    try:
        while data := await reader.read(65536):
            if data == b"most?":
                data = str(most).encode()
                most = 0
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    now -= 1
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

# Answers nobody before so many have asked; then each with its own question. The first line of each request is its path.
MEETING = """
import asyncio, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
waiting, wanted = [], int(sys.argv[2])
async def serve(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    waiting.append((writer, head.split()[1]))
    if len(waiting) == wanted:
        for writer, path in waiting:
            writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + path * 1000)
            writer.close()
        waiting.clear()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

# All flows are opened at once; each exchanges data, waits for all others, and exchanges data again.
CLIENT = """
import asyncio, hashlib, json, resource, sys, time
flows, size = int(sys.argv[2]), int(sys.argv[3])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
opened, all_open, wrong = [], None, []
async def exchange(reader, writer, i, part):
    data = (hashlib.sha256(b"%d %d" % (i, part)).digest() * (size // 32 + 1))[:size]
    writer.write(data)
    if await reader.readexactly(size) != data:
        wrong.append(f"flow {i} got something else")
async def flow(i):
    try:
        start = time.monotonic()
        reader, writer = await asyncio.open_connection("198.18.0.1", int(sys.argv[1]))
        opened.append(time.monotonic() - start)
        await exchange(reader, writer, i, 1)
    except Exception as error:
        wrong.append(f"flow {i}: {error!r}")
        return
    finally:
        await all_open.wait()
    try:
        await exchange(reader, writer, i, 2)
        writer.close()
        await writer.wait_closed()
    except Exception as error:
        wrong.append(f"flow {i}, later: {error!r}")
class Barrier:
    def __init__(self):
        self.left, self.event = flows, asyncio.Event()
    async def wait(self):
        self.left -= 1
        if not self.left:
            self.event.set()
        await self.event.wait()
async def main():
    global all_open
    all_open = Barrier()
    start = time.monotonic()
    await asyncio.gather(*[flow(i) for i in range(flows)])
    print(json.dumps({"soft": soft, "wrong": wrong, "opened": len(opened), "last": max(opened, default=0),
                      "seconds": time.monotonic() - start}))
asyncio.run(main())
"""


def server(program, *args):
    child = spawn([sys.executable, "-c", program, *map(str, args)], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()


def most_open():
    """The greatest number of connections that the server had at a time since the last question."""
    with socket.create_connection(("127.0.0.1", ECHO)) as s:
        s.sendall(b"most?")
        return int(s.recv(100))


def many_flows(name, flows, timeout, before=(), env=None):
    r = run([*before, sys.executable, "-c", CLIENT, str(ECHO), str(flows), str(BYTES)], timeout=timeout, env=env)
    try:
        said = json.loads(r.stdout)
    except ValueError:
        said = {"wrong": ["the program did not reach its end"], "opened": 0, "soft": 0}
    check(f"{name}: {flows} flows of one program at the same time, each with its own data both ways",
          r.returncode == 0 and not said["wrong"] and said["opened"] == flows,
          "\n".join([r.report, f"{len(said['wrong'])} wrong", *said["wrong"][:5]]))
    most = most_open()
    check(f"{name}: the server had all {flows} of them at once", most >= flows, most)
    check(f"{name}: the program's own limit of descriptors is what it was outside", said["soft"] == SOFT, said["soft"])
    print(f"# {name}: opened within {said.get('last', 0):.1f} s, over after {r.seconds:.1f} s", flush=True)


def url(n):
    return f"http://198.18.0.1:{MEET}/{n}."


def tree(n, timeout):
    """Children of one command."""
    script = "\n".join(f"curl -sS {url(i)} >{harness.tmp}/tree{i} &" for i in range(n)) + "\nwait"
    r = run([MIXIFY, "sh", "-c", script], timeout=timeout)
    wrong = [i for i in range(n) if not answered(f"tree{i}", i)]
    check(f"{n} children of one command, all connected at once", r.returncode == 0 and not wrong,
          f"{len(wrong)} wrong: {wrong[:5]}\n{r.report}")


def answered(name, n):
    try:
        with open(os.path.join(harness.tmp, name)) as file:
            return file.read() == f"/{n}." * 1000
    except OSError:
        return False


def commands(n, timeout):
    """Commands of their own that share what `mixify up` made."""
    results = {}

    def one(i):
        results[i] = run([MIXIFY, "curl", "-sS", url(i)], timeout=timeout)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [i for i in range(n) if results[i].returncode or results[i].stdout != f"/{i}." * 1000]
    check(f"{n} commands with one tunnel, all connected at once", not wrong,
          f"{len(wrong)} wrong: {wrong[:5]}\n" + (results[wrong[0]].report if wrong else ""))


def scale(flows, processes, timeout):
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    lab = Lab()
    options = ["--nym-api", lab.ready["nym_api"], *FAST]
    server(SERVER, ECHO)
    server(MEETING, MEET, processes)
    many_flows("mixify", flows, timeout, before=[MIXIFY, *options])
    many_flows("preloaded", flows // 2, timeout, env={"LD_PRELOAD": PRELOAD, "SMOLMIX_POISSON": "0", "SMOLMIX_COVER": "0",
                                                      "SMOLMIX_HOP_DELAY": "0", **lab.env})
    up = run([MIXIFY, *options, "up"])
    check("mixify up", up.returncode == 0, up.report)
    tree(processes, timeout)
    commands(processes, timeout)
    run([MIXIFY, "down"])
    lab.stop()
