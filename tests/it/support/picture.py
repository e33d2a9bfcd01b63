"""Measures a PNG (8 bits a channel, not interlaced) and prints JSON: size, how much differs from the first pixel's colour,
and the box around that."""
import json
import struct
import sys
import zlib


def rows(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, packed, head = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    width, height, depth, colour, _, _, interlaced = head
    assert depth == 8 and colour in (2, 6) and not interlaced, head
    size = 3 if colour == 2 else 4
    raw, stride = zlib.decompress(packed), width * size
    before = bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        kind, line = raw[start], bytearray(raw[start + 1:start + 1 + stride])
        for x in range(stride if kind else 0):
            left = line[x - size] if x >= size else 0
            up, corner = before[x], before[x - size] if x >= size else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            else:
                p = left + up - corner
                near = (abs(p - left), abs(p - up), abs(p - corner))
                guess = (left, up, corner)[near.index(min(near))]
            line[x] = (line[x] + guess) & 255
        before = line
        yield width, height, [bytes(line[x:x + 3]) for x in range(0, stride, size)]


def main():
    ink, left, right, top, bottom, paper = 0, 10**9, 0, None, 0, None
    for y, (width, height, line) in enumerate(rows(sys.argv[1])):
        paper = paper or line[0]
        marks = [x for x, pixel in enumerate(line) if pixel != paper]
        if marks:
            ink += len(marks)
            left, right = min(left, marks[0]), max(right, marks[-1] + 1)
            top, bottom = y if top is None else top, y + 1
    print(json.dumps({
        "width": width, "height": height, "ink_permille": ink * 1000 // (width * height),
        "left": left if ink else 0, "right": right, "top": top or 0, "bottom": bottom,
    }))


main()
