"""A converted file in Netron: the nodes that it draws in headless Chromium, as one line of JSON.

    python read_netron.py NET.snn.onnx [PICTURE.png]

Runs in an environment with the package netron. Netron's own page stands in a frame as it is served;
the page around it accepts what Netron asks and reads what kinds of nodes were drawn.
"""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import netron
from netron import server

SECONDS = 10  # until it has drawn
# The page counts as loaded, and is read, when its last picture has come.
AROUND = """<!doctype html><title></title><style>body { margin: 0 }</style>
<iframe src="/index.html" style="border: 0; width: 900px; height: 1600px"></iframe>
<img src="/late.png" hidden>
<script>
setInterval(() => {
  const page = document.querySelector("iframe").contentDocument;
  const drawn = [...page.querySelectorAll("#nodes > .node")];
  const kinds = drawn.map((node) => node.querySelector("text")?.textContent);
  if (!drawn.length) page.getElementById("message-button")?.click();
  else if (!page.body.classList.contains("welcome")) document.title = JSON.stringify(kinds);
}, 200);
</script>"""


class Page(server._HTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        if self.path == "/around":
            self._write(200, "text/html", AROUND.encode())
        elif self.path == "/late.png":
            time.sleep(SECONDS)
            self._write(404, None, None)
        else:
            super().do_GET()


def drawn(url, picture):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        how = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={folder}", "--window-size=900,1600"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing is reported
        ]
        done = subprocess.run([browser, *how, "--dump-dom", url], capture_output=True, text=True)
        if picture:
            subprocess.run([browser, *how, f"--screenshot={picture}", url], capture_output=True)
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    return json.loads(html.unescape(title)) if title else sys.exit("Netron drew nothing")


def main(file, picture=""):
    path = Path(file)
    Page.content = server._ContentProvider(path.read_bytes(), file, file, path.name)
    served = server._ThreadedHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    found = drawn(f"http://127.0.0.1:{served.server_port}/around", picture)
    print(json.dumps({"tool": f"netron {netron.__version__}", "drawn": Counter(found)}))


main(*sys.argv[1:3])
