#!/usr/bin/env python3
"""Reads epochlog files of format version 1. Written from the docs of src/format/mod.rs alone, as their proof.

    epochlog_v1.py files DIR    every file below DIR by itself, as a list
    epochlog_v1.py store DIR    a store that was closed, as one document

Prints JSON. Every checksum is checked with the seed of its file and its position, every length with the bytes that
are there. Whatever is wrong ends it with exit code 1 and one line: file, position, what.
"""

import base64
import datetime
import json
import os
import re
import struct
import sys
import zlib

KINDS = {1: "store", 2: "topic", 3: "commits", 4: "history", 5: "segment", 6: "index"}
REASONS = ["created", "session", "truncated", "healed", "restored"]
NO_MARK = 0xFFFFFFFF
NO_PARTITION = 0xFFFFFFFF
HEADER = 96
FRAME_MAX = 16 << 20
I64 = 1 << 64


class Wrong(Exception):
    pass


def check(holds, position, what):
    if not holds:
        raise Wrong(f"position {position}: {what}")


class Cursor:
    """Takes fields off bytes, one after the other."""

    def __init__(self, data, at=0, end=None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def left(self):
        return self.end - self.at

    def take(self, count):
        check(count <= self.left(), self.at, f"{count} bytes wanted and {self.left()} there")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def u8(self):
        return self.number("B")

    def u32(self):
        return self.number("I")

    def u64(self):
        return self.number("Q")

    def time(self):
        return self.number("q")

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                check(value < I64, self.at, "a varint above 64 bits")
                return value
        raise Wrong(f"position {self.at}: a varint of more than ten bytes")

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def prefixed(self):
        return self.take(self.varint())

    def text(self):
        return self.prefixed().decode("utf-8")

    def epoch(self):
        return {"number": self.u64(), "tag": self.u64()}

    def option(self, take):
        there = self.u8()
        check(there <= 1, self.at, f"an option of {there}")
        return take() if there else None

    def duration(self):
        return {"seconds": self.varint(), "nanoseconds": self.varint()}


def signed(value):
    value %= I64
    return value - I64 if value >= I64 // 2 else value


def text_of(epoch):
    return f"{epoch['number']}.{epoch['tag']:016x}"


def header_of(data):
    """The file header, and the seed of every other checksum in the file."""
    check(len(data) >= HEADER, 0, f"{len(data)} bytes, a header has {HEADER}")
    check(data[:8] == b"epochlog", 0, "the magic is another")
    check(zlib.crc32(data[:92]) == struct.unpack("<I", data[92:96])[0], 0, "the checksum of the file header")
    cursor = Cursor(data, 8)
    kind, zero, version, length = cursor.u8(), cursor.u8(), cursor.number("H"), cursor.u32()
    check(version == 1, 0, f"format version {version}")
    store, creation, segment = cursor.take(16), cursor.epoch(), cursor.epoch()
    partition, flags, base, created, zeros = cursor.u32(), cursor.u32(), cursor.u64(), cursor.time(), cursor.u32()
    check(flags == 0, 0, f"flags {flags:#x} that must be understood")
    check(kind in KINDS and zero == 0 and length == HEADER and zeros == 0, 0, "the header breaks the format")
    header = {
        "kind": KINDS[kind],
        "store": store.hex(),
        "creation": text_of(creation),
        "partition": None if partition == NO_PARTITION else partition,
        "epoch": text_of(segment),
        "base": base,
        "created": created,
    }
    return header, zlib.crc32(data[8:9] + data[16:68] + data[72:80])


def checksum(seed, position, data):
    low, high = position & 0xFFFFFFFF, position >> 32
    rotated = ((high << 16) | (high >> 16)) & 0xFFFFFFFF
    return zlib.crc32(data, seed ^ low ^ rotated)


def entry_of(kind, body):
    if kind == 1:
        epoch, start, reason = body.epoch(), body.u64(), body.u8()
        return {"type": "epoch", "epoch": text_of(epoch), "start": start, "reason": REASONS[reason], "time": body.time()}
    if kind == 2:
        return {"type": "start", "start": body.u64()}
    if kind == 3:
        return {"type": "roll", "base": body.u64(), "epoch": text_of(body.epoch())}
    if kind == 4:
        entry = {"type": "seal", "base": body.u64(), "epoch": text_of(body.epoch()), "bytes": body.u64()}
        return entry | {"end": body.u64(), "greatest_timestamp": body.time(), "append_time": body.time()}
    if kind == 5:
        return {"type": "clean", "end": body.u64()}
    if kind == 6:
        entry = {"type": "commit", "group": body.text(), "time": body.time(), "places": []}
        for _ in range(body.varint()):
            partition, offset = body.u32(), body.u64()
            entry["places"].append(f"{partition}:{offset}@{text_of(body.epoch())}")
        put(entry, "metadata", body.option(body.prefixed))
        return entry
    if kind == 7:
        return {"type": "forget", "group": body.text(), "time": body.time()}
    if kind == 8:
        return {"type": "store", "next_number": body.u64(), "clean": bool(body.u8())}
    if kind == 9:
        return {"type": "topic", "name": body.text(), "options": options_of(Cursor(body.prefixed()))}
    raise Wrong(f"an entry of type {kind}, which must be understood")


def options_of(cursor):
    return {
        "partitions": cursor.varint(),
        "durability": ["durable", "written"][cursor.u8()],
        "segment_bytes": cursor.varint(),
        "segment_age": cursor.option(cursor.duration),
        "retention_age": cursor.option(cursor.duration),
        "retention_bytes": cursor.option(cursor.varint),
        "unsynced_bytes": cursor.varint(),
        "sync_interval": cursor.option(cursor.duration),
        "sync_bytes": cursor.option(cursor.varint),
    }


TYPES_IN = {"history": range(1, 6), "commits": range(6, 8), "store": [8], "topic": [9]}


def entries_of(data, seed, kind):
    entries, at = [], HEADER
    while any(data[at:]):
        cursor = Cursor(data, at)
        found, length, _mark, flags = cursor.u32(), cursor.u32(), cursor.u32(), cursor.u8()
        check(1 <= length <= FRAME_MAX, at, f"a frame of {length} bytes")
        payload = Cursor(cursor.take(length))
        check(found == checksum(seed, at, data[at + 4 : cursor.at]), at, "the checksum of a frame")
        check(flags == 0, at, f"frame flags {flags:#x} that must be understood")
        while payload.left():
            number = payload.u8()
            body = Cursor(payload.prefixed())
            if number >= 128:
                continue
            check(number in TYPES_IN[kind], at, f"an entry of type {number} in {kind}")
            entries.append(entry_of(number, body))
            check(body.left() == 0, at, f"an entry of type {number} that is longer than its content")
        at = cursor.at
    return entries


def batches_of(data, seed, length):
    """The batches up to a length, or up to nothing but zeros."""
    batches, at = [], HEADER
    while at < length and any(data[at:length]):
        cursor = Cursor(data, at, length)
        head, body, size, base = cursor.u32(), cursor.u32(), cursor.u32(), cursor.u64()
        count, span = cursor.u32(), cursor.u32()
        append_time = int.from_bytes(cursor.take(6), "little")
        _greatest, mark = cursor.number("i"), cursor.u32()
        header_bytes, codec, must, _may = cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8()
        check(header_bytes >= 46, at, f"a batch header of {header_bytes} bytes")
        cursor.take(header_bytes - 46)
        check(head == checksum(seed, at, data[at + 4 : cursor.at]), at, "the checksum of a batch header")
        check(codec == 0 and must == 0, at, f"codec {codec} and flags {must:#x} that must be understood")
        payload = cursor.take(size)
        check(body == checksum(seed, at, payload), at, "the checksum of a payload")
        check(1 <= count <= span, at, f"{count} records over {span} offsets")
        records = records_of(Cursor(payload), at, base, count, append_time)
        check(records[-1]["offset"] < base + span, at, "a record beyond the batch")
        batches.append(
            {
                "position": at,
                "base": base,
                "end": base + span,
                "count": count,
                "bytes": cursor.at - at,
                "append_time": shown(append_time),
                "durable_end": None if mark == NO_MARK else max(base - mark, 0),
                "damage": None,
                "records": records,
            }
        )
        at = cursor.at
    return batches


def records_of(cursor, at, base, count, append_time):
    records = []
    for index in range(count):
        record = Cursor(cursor.take(cursor.varint()))
        attributes = record.u8()
        check(attributes >> 5 == 0, at, f"record attributes {attributes:#x}")
        timestamp = signed(append_time + record.zigzag()) if attributes & 4 else append_time
        offset = base + (record.varint() if attributes & 16 else index)
        check(not records or offset > records[-1]["offset"], at, "offsets that don't rise")
        out = {"offset": offset, "timestamp": shown(timestamp)}
        put(out, "key", record.prefixed() if attributes & 1 else None)
        headers = [(record.text(), record.prefixed()) for _ in range(record.varint())] if attributes & 2 else []
        check(not (attributes & 8 and record.left()), at, "a tombstone with a value")
        put(out, "value", None if attributes & 8 else record.take(record.left()))
        out["headers"] = [put({"name": name}, "value", value) for name, value in headers]
        records.append(out)
    check(cursor.left() == 0, at, "bytes behind the last record")
    return records


def index_of(data, seed):
    entries = []
    for at in range(HEADER, len(data) - 19, 20):
        if not any(data[at:]):
            break
        relative, position, greatest, found = struct.unpack("<IIqI", data[at : at + 20])
        check(found == checksum(seed, at, data[at : at + 16]), at, "the checksum of an index entry")
        check(position >= HEADER, at, f"an index entry for position {position}")
        entries.append({"relative": relative, "position": position, "greatest_timestamp": greatest})
    return entries


def put(object, name, value):
    """As the program prints bytes: text if they are, else base64."""
    if value is None:
        object[name] = None
        return object
    try:
        object[name] = value.decode("utf-8")
    except UnicodeDecodeError:
        object[name + "_base64"] = base64.b64encode(value).decode("ascii")
    return object


def shown(millis):
    try:
        time = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=millis)
    except OverflowError:
        return str(millis)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{millis % 1000:03}Z"


def file_of(path, length=None):
    try:
        with open(path, "rb") as file:
            data = file.read()
        header, seed = header_of(data)
        kind = header["kind"]
        if kind == "segment":
            content = {"batches": batches_of(data, seed, len(data) if length is None else length)}
        elif kind == "index":
            content = {"entries": index_of(data, seed)}
        else:
            content = {"entries": entries_of(data, seed, kind)}
    except Wrong as wrong:
        raise Wrong(f"{path}: {wrong}") from None
    return header | content


def files(root):
    found = []
    for directory, _, names in os.walk(root):
        for name in names:
            if name != "LOCK":
                path = os.path.join(directory, name)
                found.append({"file": os.path.relpath(path, root)} | file_of(path))
    return sorted(found, key=lambda file: file["file"])


def same(path, header, **expected):
    for field, value in expected.items():
        if header[field] != value:
            raise Wrong(f"{path}: position 0: {field} is {header[field]}, expected {value}")


def store(root):
    path = os.path.join(root, "STORE")
    head = file_of(path)
    same(path, head, kind="store")
    topics = []
    for name in sorted(os.listdir(os.path.join(root, "topics"))):
        named = re.fullmatch(r"(.+)@([1-9][0-9]*)", name)
        if named:
            topics.append(topic(os.path.join(root, "topics", name), head["store"], named[1], int(named[2])))
    return {"store": head["store"], "entries": head["entries"], "topics": topics}


def topic(directory, store_id, name, number):
    path = os.path.join(directory, "topic")
    head = file_of(path)
    same(path, head, kind="topic", store=store_id)
    (entry,) = head["entries"]
    check(entry["name"] == name and head["creation"].split(".")[0] == str(number), 0, f"{path}: another topic")
    whose = {"store": store_id, "creation": head["creation"]}
    path = os.path.join(directory, "commits")
    commits = file_of(path)
    same(path, commits, kind="commits", **whose)
    partitions = [
        partition(os.path.join(directory, str(i)), whose | {"partition": i}) for i in range(entry["options"]["partitions"])
    ]
    return {
        "name": name,
        "creation": head["creation"],
        "options": entry["options"],
        "commits": commits["entries"],
        "partitions": partitions,
    }


def partition(directory, whose):
    path = os.path.join(directory, "history")
    history = file_of(path)
    same(path, history, kind="history", **whose)
    seals = {(entry["base"], entry["epoch"]): entry for entry in history["entries"] if entry["type"] == "seal"}
    segments = []
    for name in sorted(os.listdir(directory)):
        named = re.fullmatch(r"([0-9]{20})@([1-9][0-9]*)\.log", name)
        seal = named and next((s for (b, e), s in seals.items() if (b, e.split(".")[0]) == (int(named[1]), named[2])), None)
        if seal:
            segments.append(segment(os.path.join(directory, name), whose, seal))
    return {"history": history["entries"], "segments": segments}


def segment(path, whose, seal):
    found = file_of(path, seal["bytes"])
    whose = whose | {"epoch": seal["epoch"], "base": seal["base"]}
    same(path, found, kind="segment", **whose)
    batches = found["batches"]
    ends = [seal["base"]] + [batch["end"] for batch in batches]
    check([batch["base"] for batch in batches] == ends[:-1], HEADER, f"{path}: batches that don't follow one another")
    check(ends[-1] == seal["end"], HEADER, f"{path}: ends at {ends[-1]}, sealed at {seal['end']}")
    path = path[: -len("log")] + "index"
    if os.path.exists(path):
        index = file_of(path)
        same(path, index, kind="index", **whose)
        begins = {batch["position"]: batch["base"] - seal["base"] for batch in batches}
        for entry in index["entries"]:
            check(begins.get(entry["position"]) == entry["relative"], entry["position"], f"{path}: no such batch")
    return {"base": seal["base"], "epoch": seal["epoch"], "end": seal["end"], "batches": batches}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("files", "store"):
        sys.exit(__doc__)
    try:
        said = files(sys.argv[2]) if sys.argv[1] == "files" else store(sys.argv[2])
    except Wrong as wrong:
        sys.exit(str(wrong))
    json.dump(said, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
