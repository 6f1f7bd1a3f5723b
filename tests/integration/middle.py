"""Somebody in the middle: stands between a client and a lab, and meddles.

Front passes a lab's directory on, documents changed or replaced, over HTTP or TLS. Wire passes a gateway's WebSocket on,
messages changed, repeated or made up, also behind TLS. Standard library only.
"""
import contextlib
import http.client
import http.server
import json
import socket
import ssl
import struct
import threading
import urllib.parse


def _server_context(tls):
    """tls: (certificate, key) or an SSLContext."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Front:
    """A directory server in front of the lab's. edit(path, document) returns the changed document, or bytes to answer
    instead; raw(handler, path) may answer by itself and return True."""

    def __init__(self, host, api, edit=None, raw=None, tls=None, port=0):
        front, where = self, urllib.parse.urlsplit(api)
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self):
                with contextlib.suppress(OSError):  # a client that has seen enough hangs up
                    super().handle()

            def do_GET(self):
                path = self.path.split("?")[0]
                front.requests.append(path)
                if raw and raw(self, path):
                    self.close_connection = True
                    return
                behind = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
                behind.request(self.command, self.path)
                answer = behind.getresponse()
                body = answer.read()
                if edit and body and self.command == "GET":
                    body = edit(path, json.loads(body))
                    body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                behind.close()

            do_OPTIONS = do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, address):
                """In the connection's thread: a slow handshake holds up nobody else."""
                with contextlib.suppress(OSError):
                    if tls:
                        request = _server_context(tls).wrap_socket(request, server_side=True)
                    super().finish_request(request, address)

            def handle_error(self, *_):
                pass

        self.server = Server((host, port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, host, scheme="http"):
        return f"{scheme}://{host}:{self.port}/api"


def gateways(document):
    """The entries of a document that tell how to reach a gateway's WebSocket: dicts with hostname, ws_port, wss_port."""
    nodes = document.get("nodes", document).get("data", []) if isinstance(document, dict) else []
    for node in nodes:
        if node.get("entry"):
            yield node["entry"]
        if "mixnet_websockets" in node.get("description", {}):
            yield node["description"]["mixnet_websockets"]


def move_gateway(port=None, hostname=None, wss_port=None):
    """An edit for Front: the gateway is elsewhere."""
    def edit(_, document):
        for entry in gateways(document):
            entry["ws_port"] = port or entry["ws_port"]
            entry["wss_port"] = wss_port
            if "hostname" in entry:
                entry["hostname"] = hostname
        return document
    return edit


class Wire:
    """Passes connections on to a gateway. With meddle(up, opcode, payload) every WebSocket message becomes the messages
    of the list it returns."""

    def __init__(self, host, target, tls=None, meddle=None):
        self.target, self.tls, self.meddle = target, tls, meddle
        self.connections = self.handshakes = 0
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client = self.listener.accept()[0]
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            if self.tls:
                client = _server_context(self.tls).wrap_socket(client, server_side=True)
            self.handshakes += 1
            server = socket.create_connection(self.target)
            back = threading.Thread(target=self._pass, args=(server, client, False), daemon=True)
            back.start()
            self._pass(client, server, True)
            back.join()

    def _pass(self, source, sink, up):
        with contextlib.suppress(OSError, EOFError):
            if self.meddle:
                self._messages(source, sink, up)
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _messages(self, source, sink, up):
        reader = source.makefile("rb")

        def exactly(n):
            data = reader.read(n)
            if len(data) < n:
                raise EOFError
            return data

        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(1)
        sink.sendall(head)
        while True:
            first, second = exactly(2)
            size = second & 127
            if size == 126:
                size, = struct.unpack(">H", exactly(2))
            elif size == 127:
                size, = struct.unpack(">Q", exactly(8))
            mask = exactly(4) if second & 128 else bytes(4)
            payload = bytearray(exactly(size))
            for i in range(4 if any(mask) else 0):
                payload[i::4] = bytes(b ^ mask[i] for b in payload[i::4])
            for opcode, data in self.meddle(up, first & 15, bytes(payload)):
                sink.sendall(frame(opcode, data, up))


def frame(opcode, data, masked):
    head = bytes([0x80 | opcode])
    mask = 128 if masked else 0
    if len(data) < 126:
        head += bytes([mask | len(data)])
    elif len(data) < 65536:
        head += bytes([mask | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", len(data))
    return head + (bytes(4) if masked else b"") + data
