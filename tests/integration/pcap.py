"""Reads tcpdump's files and puts TCP streams together: just enough to judge what went over a wire."""
import struct


def packets(path):
    """Yields (source ip, destination ip, protocol, source port, destination port, sequence, flags, payload)."""
    with open(path, "rb") as file:
        data = file.read()
    magic, = struct.unpack("<I", data[:4])
    assert magic == 0xA1B2C3D4, "not a little-endian pcap file"
    link, = struct.unpack("<I", data[20:24])
    skip = {1: 14, 113: 16, 276: 20}[link]
    at = 24
    while at + 16 <= len(data):
        kept, = struct.unpack("<I", data[at + 8:at + 12])
        frame = data[at + 16:at + 16 + kept][skip:]
        at += 16 + kept
        if len(frame) < 20 or frame[0] >> 4 != 4:
            if frame and frame[0] >> 4 == 6:  # behind a hop-by-hop header, as multicast reports have it
                yield ("v6", "v6", frame[40] if frame[6] == 0 else frame[6], 0, 0, 0, 0, b"")
            continue
        header, total, protocol = (frame[0] & 15) * 4, struct.unpack(">H", frame[2:4])[0], frame[9]
        source, destination = ".".join(map(str, frame[12:16])), ".".join(map(str, frame[16:20]))
        body = frame[header:total]
        if protocol == 6:
            sport, dport, seq = struct.unpack(">HHI", body[:8])
            yield (source, destination, 6, sport, dport, seq, body[13], body[(body[12] >> 4) * 4:])
        elif protocol == 17:
            sport, dport = struct.unpack(">HH", body[:4])
            yield (source, destination, 17, sport, dport, 0, 0, body[8:])
        else:
            yield (source, destination, protocol, 0, 0, 0, 0, body)


def arrivals(path):
    """Yields (seconds, sequence, payload length) of every TCP packet over IPv4, also when the capture kept only its head."""
    with open(path, "rb") as file:
        data = file.read()
    link, = struct.unpack("<I", data[20:24])
    skip, at = {1: 14, 113: 16, 276: 20}[link], 24
    while at + 16 <= len(data):
        seconds, micro, kept = struct.unpack("<III", data[at:at + 12])
        frame = data[at + 16:at + 16 + kept][skip:]
        at += 16 + kept
        header, total = (frame[0] & 15) * 4, struct.unpack(">H", frame[2:4])[0]
        if frame[0] >> 4 == 4 and frame[9] == 6:
            seq, = struct.unpack(">I", frame[header + 4:header + 8])
            yield seconds + micro / 1e6, seq, total - header - (frame[header + 12] >> 4) * 4


def streams(path):
    """{(source, sport, destination, dport): bytes} of every TCP direction, in sequence order from its SYN."""
    start, parts = {}, {}
    for source, destination, protocol, sport, dport, seq, flags, payload in packets(path):
        if protocol != 6:
            continue
        key = (source, sport, destination, dport)
        if flags & 2:
            start[key] = (seq + 1) & 0xFFFFFFFF
            parts.setdefault(key, {})
        elif payload and key in start:
            parts[key][(seq - start[key]) & 0xFFFFFFFF] = payload
    out = {}
    for key, pieces in parts.items():
        data = bytearray()
        for offset in sorted(pieces):
            if offset > len(data):
                break  # lost by the capture: judge what is contiguous
            data[offset:offset + len(pieces[offset])] = pieces[offset]
        out[key] = bytes(data)
    return out


def websocket_frames(data):
    """(opcode, length) of every complete frame after the HTTP head."""
    head = data.find(b"\r\n\r\n")
    at, frames = head + 4, []
    while head >= 0 and at + 2 <= len(data):
        opcode, mask, length = data[at] & 15, data[at + 1] >> 7, data[at + 1] & 127
        at += 2
        if length == 126:
            length, = struct.unpack(">H", data[at:at + 2].rjust(2, b"\0"))
            at += 2
        elif length == 127:
            length, = struct.unpack(">Q", data[at:at + 8].rjust(8, b"\0"))
            at += 8
        at += 4 * mask + length
        if at > len(data):
            break
        frames.append((opcode, length))
    return frames
