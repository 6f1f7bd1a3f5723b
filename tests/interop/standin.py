"""A stand-in for the directory (nym-api): what real nodes and clients ask for, from a list of nodes. Spec 05, 06.

Node: {id, layer (1..3 or None), exit, ip, mix, ws, ed25519, sphinx, noise (or None), ipr (or None), version}
"""
import datetime
import http.server
import json
import threading
import time

EPOCH, VALIDITY, FIRST = 86400, 24, 48  # one-day epochs: no rotation during a test; rotation id 2


class Directory:
    def __init__(self, port):
        self.nodes, self.start = [], time.time()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0].removeprefix("/api").rstrip("/")
                make = outer.routes().get(path)
                body = json.dumps(make() if make else {"message": "not found"}).encode()
                self.send_response(200 if make else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(404)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def routes(self):
        return {
            "/v1/epoch/key-rotation-info": self.rotation,
            "/v1/nym-nodes/rewarded-set": self.rewarded,
            "/v2/unstable/nym-nodes/semi-skimmed": self.semi_skimmed,
            "/v2/unstable/nym-nodes/skimmed": lambda: self.skimmed(self.nodes),
            "/v2/unstable/nym-nodes/skimmed/mixnodes/active": lambda: self.skimmed([n for n in self.nodes if n["layer"]]),
            "/v2/unstable/nym-nodes/skimmed/entry-gateways":
                lambda: self.skimmed([n for n in self.nodes if not n["layer"]]),
            "/v2/nym-nodes/described": self.described,
            "/v1/nym-nodes/described": self.described,
        }

    def epoch(self):
        passed = int((time.time() - self.start) // EPOCH)
        return FIRST + passed, self.start + passed * EPOCH

    def rotation(self):
        epoch, start = self.epoch()
        rotation = epoch // VALIDITY
        stamp = datetime.datetime.fromtimestamp(start, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"key_rotation_state": {"validity_epochs": VALIDITY, "initial_epoch_id": 0},
                "current_absolute_epoch_id": epoch, "current_epoch_start": stamp,
                "epoch_duration": {"secs": EPOCH, "nanos": 0},
                "progress": {"current_key_rotation_id": rotation,
                             "current_rotation_starting_epoch": rotation * VALIDITY,
                             "current_rotation_ending_epoch": (rotation + 1) * VALIDITY - 1}}

    def rewarded(self):
        ids = {layer: [n["id"] for n in self.nodes if n["layer"] == layer] for layer in (None, 1, 2, 3)}
        return {"epoch_id": self.epoch()[0], "entry_gateways": ids[None], "exit_gateways": [], "layer1": ids[1],
                "layer2": ids[2], "layer3": ids[3], "standby": []}

    def metadata(self):
        epoch, _ = self.epoch()
        now = datetime.datetime.now(datetime.timezone.utc)
        return {"status": None, "absolute_epoch_id": epoch, "rotation_id": epoch // VALIDITY,
                "refreshed_at": now.strftime("%Y-%m-%d %H:%M:%S.0 +00:00:00")}

    @staticmethod
    def basic(node):
        gateway = node["layer"] is None
        return {"node_id": node["id"], "ed25519_identity_pubkey": node["ed25519"], "ip_addresses": [node["ip"]],
                "mix_port": node["mix"], "x25519_sphinx_pubkey": node["sphinx"],
                "role": "EntryGateway" if gateway else {"Mixnode": {"layer": node["layer"]}},
                "supported_roles": {"mixnode": not gateway, "entry": gateway, "exit_nr": node["exit"],
                                    "exit_ipr": node["exit"]},
                "entry": {"hostname": None, "ws_port": node["ws"], "wss_port": None} if gateway else None,
                "performance": "1"}

    @staticmethod
    def page(data):
        return {"pagination": {"total": len(data), "page": 0, "size": len(data)}, "data": data}

    def skimmed(self, nodes):
        return {"metadata": self.metadata(), "nodes": self.page([self.basic(n) for n in nodes])}

    def semi_skimmed(self):
        data = [{"basic": self.basic(n), "x25519_noise_versioned_key":
                 n["noise"] and {"supported_version": 1, "x25519_pubkey": n["noise"]}} for n in self.nodes]
        return {"metadata": self.metadata(), "nodes": self.page(data)}

    def described(self):
        data = []
        for n in (n for n in self.nodes if n["ipr"]):
            build = {key: "" for key in ("build_timestamp", "commit_sha", "commit_timestamp", "commit_branch",
                                         "rustc_version", "rustc_channel", "cargo_profile")}
            build |= {"binary_name": "nym-node", "build_version": n["version"]}
            data.append({"node_id": n["id"], "contract_node_type": "nym_node", "description": {
                "host_information": {"ip_address": [n["ip"]], "hostname": None,
                                     "keys": {"ed25519": n["ed25519"], "x25519": n["sphinx"]}},
                "declared_role": {"mixnode": False, "entry": True, "exit_nr": True, "exit_ipr": True},
                "build_information": build, "ip_packet_router": {"address": n["ipr"]},
                "mixnet_websockets": {"ws_port": n["ws"], "wss_port": None}}})
        return self.page(data)
