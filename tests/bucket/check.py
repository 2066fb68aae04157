"""Reads a bucket in Loki's filesystem layout with the decoder beside this file and prints one JSON document: what is
wrong, and every entry of every chunk that the index lists. usage: check.py DIRECTORY"""
import base64
import gzip
import json
import os
import sys
import time

from lokidec import decode_chunk_data, decode_chunk_object, decode_tsdb, fingerprint

READINGS_MAX = 20
# Objects that Loki does not read: its own are the index files and the chunks.
OWN = ("lokirs/", "loki_cluster_seed.json", "index/delete_requests")


class Bucket:
    def __init__(self, root):
        self.root = root
        self.faults = []
        self.chunks = {}
        self.files = []
        for path in sorted(path for path in self.paths() if not path.startswith(OWN)):
            with open(os.path.join(root, path), "rb") as f:
                self.read(path, f.read())

    def paths(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def read(self, path, body):
        try:
            if path.startswith("index/"):
                self.read_index(path, body)
            else:
                self.read_chunk(path, body)
        except Exception as e:
            self.faults.append(f"{path}: {type(e).__name__} {e}")

    def read_index(self, path, body):
        file = decode_tsdb(gzip.decompress(body) if path.endswith(".gz") else body)
        parts = path.split("/")
        file["path"], file["table"] = path, parts[1]
        file["tenant"] = parts[2] if len(parts) == 4 else None
        for series in file["series"]:
            labels = [label for label in series["labels"] if label[0] != "__loki_tenant__"]
            if fingerprint(labels) != series["fp"]:
                self.faults.append(f"{path}: the fingerprint of {labels}")
        self.files.append(file)

    def read_chunk(self, path, body):
        parts = path.split("/")
        if len(parts) == 3:
            tenant, fp = parts[0], int(parts[1], 16)
            through = base64.b64decode(parts[2]).decode()
        else:
            tenant, rest = base64.b64decode(path).decode().split("/")
            fp, through = rest.split(":", 1)
            fp = int(fp, 16)
        start, end, checksum = [int(x, 16) for x in through.split(":")]
        meta, _, info, data = decode_chunk_object(body)
        chunk = decode_chunk_data(data)
        assert info["crc32c"] == checksum, "the checksum in the key"
        assert (meta["fingerprint"], meta["userID"], meta["encoding"]) == (fp, tenant, 129), "the header"
        assert (round(meta["from"] * 1000), round(meta["through"] * 1000)) == (start, end), "the header's bounds"
        mint = min(block["mint"] for block in chunk["blocks"])
        maxt = max(block["maxt"] for block in chunk["blocks"])
        assert start == mint // 10**6 and end == -(-maxt // 10**6), "the bounds of the blocks"
        labels = list(meta["metric"].items())
        assert labels == sorted(labels) and fingerprint(labels) == fp, "the labels"
        assert chunk.get("oob", [0])[0] == 0, "a symbol out of range"
        chunk["labels"] = {name: value for name, value in labels if name != "__name__"}
        chunk["entries"] = sum(block["entries"] for block in chunk["blocks"])
        symbols = sum(len(s.encode("utf8", "surrogateescape")) for s in chunk.get("symbols", []))
        chunk["kb"] = int((sum(block["usize"] for block in chunk["blocks"]) + symbols) / 1024 + 0.5)
        chunk["path"], chunk["tables"] = path, []
        self.chunks[(tenant, fp, start, end, checksum)] = chunk

    def cross_check(self):
        for file in self.files:
            for series in file["series"]:
                tenant = dict(series["labels"]).get("__loki_tenant__") or file["tenant"]
                for start, end, kb, entries, checksum in series["chunks"]:
                    chunk = self.chunks.get((tenant, series["fp"], start, end, checksum))
                    if chunk is None:
                        self.faults.append(f"{file['path']}: a row without its chunk: {tenant} {series['labels']} {start}")
                    elif (chunk["entries"], chunk["kb"]) != (entries, kb):
                        self.faults.append(f"{file['path']}: entries or size of {chunk['path']}")
                    else:
                        chunk["tables"].append(file["table"])
        for chunk in self.chunks.values():
            if not chunk["tables"]:
                self.faults.append(f"{chunk['path']}: in no table")

    def report(self):
        chunks = []
        for (tenant, *_), chunk in self.chunks.items():
            lines = [
                [ts, line.decode("utf8", "surrogateescape"), dict(metadata or [])]
                for block in chunk["blocks"]
                for ts, line, metadata in block["data"]
            ]
            chunks.append({
                "tenant": tenant,
                "labels": chunk["labels"],
                "codec": chunk["codecName"],
                "version": chunk["version"],
                "blocks": len(chunk["blocks"]),
                "tables": sorted(chunk["tables"]),
                "lines": lines,
            })
        files = [{"table": file["table"], "tenant": file["tenant"], "version": file["version"]} for file in self.files]
        return {"faults": self.faults, "files": files, "chunks": chunks}


def read(root):
    """A store at work deletes objects between their listing and their reading; the bucket is then read anew."""
    for _ in range(READINGS_MAX - 1):
        try:
            return Bucket(root)
        except FileNotFoundError:
            time.sleep(0.1)
    return Bucket(root)


bucket = read(sys.argv[1])
bucket.cross_check()
json.dump(bucket.report(), sys.stdout)
