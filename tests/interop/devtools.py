"""A headless Chromium, driven through the DevTools protocol over its pipe: a page, its DOM, a screenshot."""
import base64
import json
import os
import select
import shutil
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from harness import spawn

PROGRAM = shutil.which("chromium")


class Browser:
    """With a profile folder of its own; closed by close(), or with the test."""

    def __init__(self, folder, log, *options):
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()

        def as_3_and_4():  # where --remote-debugging-pipe has its ends
            spare = [os.dup(commands), os.dup(answers)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        self.child = spawn([PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                            "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
                            f"--user-data-dir={folder}", "--window-size=1000,800", *options, "about:blank"],
                           preexec_fn=as_3_and_4, close_fds=False, stdout=log, stderr=log)
        os.close(commands)
        os.close(answers)
        self.number, self.read, self.session = 0, b"", None
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]

    def call(self, method, timeout=60, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            while b"\0" not in self.read:
                if not select.select([self.answers], [], [], max(0, end - time.monotonic()))[0]:
                    raise TimeoutError(f"{method}: no answer")
                got = os.read(self.answers, 1 << 20)
                if not got:
                    raise EOFError(f"{method}: the browser has ended")
                self.read += got
            text, self.read = self.read.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def visit(self, url):
        self.call("Page.enable")
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, path):
        """Saved as PNG; returns width and height."""
        image = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        with open(path, "wb") as file:
            file.write(image)
        return struct.unpack(">II", image[16:24]) if image.startswith(b"\x89PNG\r\n\x1a\n") else (0, 0)

    def close(self):
        self.session = None
        self.call("Browser.close")
        self.child.wait(20)
