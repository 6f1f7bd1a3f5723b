"""Runs modules of a unittest suite so that nothing stops it: every test class in a process of its own, a test that takes
too long is killed and counted as a hang, one that kills its process as a crash, and the rest goes on. One line of JSON
per test on stdout. Runs natively and under mixify alike, so it knows neither.

With SUITE_HOST=own the tests use the address that this machine, or the tunnel, has towards the lab instead of loopback.

Usage: run_suite.py SECONDS MODULE..."""
import json
import os
import select
import signal
import socket
import sys
import tempfile
import unittest


class Result(unittest.TestResult):
    """Says what happens as it happens: `begin` and outcome, each a line."""

    def __init__(self, out):
        super().__init__()
        self.out, self.outcome = out, None

    def say(self, **what):
        os.write(self.out, json.dumps(what).encode() + b"\n")

    def startTest(self, test):
        super().startTest(test)
        self.outcome = ("ok", "")
        self.say(begin=test.id())

    def stopTest(self, test):
        super().stopTest(test)
        self.say(test=test.id(), outcome=self.outcome[0], why=self.outcome[1])

    def note(self, test, outcome, error):
        why = self._exc_info_to_string(error, test) if isinstance(error, tuple) else str(error)
        self.outcome = (outcome, why[-1500:])
        if not hasattr(test, "_testMethodName"):  # a fixture of a class or module
            self.say(test=test.id(), outcome=outcome, why=self.outcome[1])

    def addError(self, test, error):
        self.note(test, "error", error)

    def addFailure(self, test, error):
        self.note(test, "fail", error)

    def addSubTest(self, test, subtest, error):
        if error:
            self.note(test, "fail" if issubclass(error[0], test.failureException) else "error", error)

    def addSkip(self, test, reason):
        self.note(test, "skip", reason)

    def addExpectedFailure(self, test, error):
        self.outcome = ("expected failure", "")

    def addUnexpectedSuccess(self, test):
        self.outcome = ("unexpected success", "")


def flat(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flat(item)
        else:
            yield item


def child(tests, out):
    os.setpgid(0, 0)
    for fd in (1, 2):
        os.dup2(os.open("/dev/null", os.O_WRONLY), fd)
    unittest.TestSuite(tests).run(Result(out))
    os._exit(0)


def run(tests, seconds):
    """Runs these in one process and yields results, the last perhaps a hang or a crash of our own saying."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        child(tests, write)
    os.close(write)
    running, text, end = None, b"", None
    while True:
        ready, _, _ = select.select([read], [], [], seconds)
        data = os.read(read, 65536) if ready else b""
        if not ready:
            end = "hang"
        if not data:
            break
        text += data
        *lines, text = text.split(b"\n")
        for line in map(json.loads, lines):
            if "begin" in line:
                running = line["begin"]
            else:
                running = None
                yield line
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    if running:
        yield {"test": running, "outcome": end or "crash", "why": f"status {status}"}


def own_address(family, lab):
    """The address that connections to the lab come from."""
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.connect((lab, 9))
        return s.getsockname()[0]


def main():
    seconds = int(sys.argv[1])
    os.chdir(tempfile.mkdtemp())
    from test import support
    from test.support import socket_helper
    if os.environ.get("SUITE_HOST") == "own":
        socket_helper.HOST = socket_helper.HOSTv4 = own_address(socket.AF_INET, "198.18.0.1")
        socket_helper.HOSTv6 = own_address(socket.AF_INET6, "2001:db8:1ab::1")
        socket_helper.bind_port.__defaults__ = (socket_helper.HOST,)
    support.verbose = False
    support.use_resources = ["network"]
    for module in sys.argv[2:]:
        classes = {}
        for test in flat(unittest.defaultTestLoader.loadTestsFromName(module)):
            classes.setdefault(type(test), []).append(test)
        for tests in classes.values():
            while tests:
                done = set()
                for line in run(tests, seconds):
                    done.add(line["test"])
                    print(json.dumps(line), flush=True)
                left = [t for t in tests if t.id() not in done]
                tests = left if len(left) < len(tests) else []


main()
