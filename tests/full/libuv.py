"""Runs tests of a libuv test program one after another so that nothing stops it: each has a process group of its own, one
that takes too long is killed and counted as a hang, and the rest goes on. One line of JSON per test on stdout. Runs
natively and under mixify alike, so it knows neither.

Usage: libuv.py PROGRAM SOURCE SECONDS TEST..."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 7  # and SIGBUS has the same number
FATAL = {signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS}  # SIGABRT: an assertion


def run(program, seconds, name, out):
    """The test and its helpers; what they write goes to a file, which nobody who stays behind can hold up."""
    out.seek(0)
    out.truncate()
    child = subprocess.Popen([program, name], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    status = None
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
    out.seek(0)
    return status, out.read().decode(errors="replace")


def outcome(status, text):
    """What became of it. The program exits with the status of the test, or with the number of the signal it died of."""
    if status is None or "# timeout" in text.splitlines():
        return "hang"
    if status == 0:
        return "ok"
    if status == SKIPPED and " # SKIP" in text:
        return "skip"
    return "crash" if status < 0 or status in FATAL else "fail"


def main():
    program, source, seconds, names = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, open(os.path.join(folder, "output"), "w+b") as out:
        os.chdir(folder)
        shutil.copytree(os.path.join(source, "test", "fixtures"), os.path.join("test", "fixtures"))
        for name in names:
            start = time.monotonic()
            status, text = run(program, seconds, name, out)
            print(json.dumps({"test": name, "outcome": outcome(status, text), "why": text.strip()[-1500:],
                              "status": status, "seconds": round(time.monotonic() - start, 2)}), flush=True)


main()
