import { expect, test } from "vitest";
import { ChunkedDecoder, FOUND } from "../../../agent/proxy/http1/chunked.ts";
import { EventBoundary } from "../../../agent/proxy/sse.ts";
import { FrameWalker, closeFrame } from "../../../agent/proxy/tunnel/frames.ts";

function decode(text: string): { found: number; data: string; behind: number; trailer: string } {
  const decoder = new ChunkedDecoder(256);
  const bytes = Buffer.from(text, "latin1");
  let data = "";
  let at = 0;
  for (;;) {
    const found = decoder.next(bytes, at, bytes.length);
    at = decoder.at;
    if (found === FOUND.data) data += bytes.toString("latin1", decoder.from, decoder.to);
    else return { found, data, behind: at, trailer: decoder.trailer()?.toString("latin1") ?? "" };
  }
}

test.each([
  ["one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"],
  ["several", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"],
  ["upper and lower case", "A\r\n0123456789\r\nb\r\n0123456789x\r\n0\r\n\r\n", "01234567890123456789x"],
  ["leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"],
  ["extensions", '5;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n', "hello"],
  ["trailers", "0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", ""],
])("chunks taken: %s", (_name, text, data) => {
  expect(decode(`${text}next`)).toMatchObject({ found: FOUND.done, data, behind: text.length });
});

test.each([
  ["no size", "\r\nhello\r\n"],
  ["a sign", "+5\r\nhello\r\n"],
  ["0x", "0x5\r\nhello\r\n"],
  ["a space before the size", " 5\r\nhello\r\n"],
  ["a space behind the size", "5 \r\nhello\r\n"],
  ["a space before the extension", "5 ;a\r\nhello\r\n"],
  ["a bare LF behind the size", "5\nhello\r\n"],
  ["a bare LF in an extension", "5;a\nhello\r\n"],
  ["a bare CR in an extension", "5;a\rb\r\nhello\r\n"],
  ["NUL in an extension", "5;a\0\r\nhello\r\n"],
  ["too long extensions", `5;${"x".repeat(1_100)}\r\nhello\r\n`],
  ["data longer than its size", "4\r\nhello\r\n"],
  ["a bare LF behind data", "5\r\nhello\n"],
  ["too large a size", "fffffffffffffff\r\n"],
  ["a bare LF behind the last chunk", "0\r\n\n"],
  ["a trailer that is no field", "0\r\nno field\r\n\r\n"],
  ["a trailer that is folded", "0\r\nX: a\r\n b\r\n\r\n"],
  ["too long trailers", `0\r\nX: ${"y".repeat(300)}\r\n\r\n`],
])("chunks refused: %s", (_name, text) => {
  expect(decode(text).found).toBe(FOUND.bad);
});

test("trailers that steer a message are not passed on", () => {
  expect(decode("0\r\nX-Sum: 1\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n").trailer).toBe("X-Sum: 1\r\n");
});

test.each([
  ["LF", "data: 1\n\n", 9],
  ["CR", "data: 1\r\r", 9],
  ["CRLF", "data: 1\r\n\r\n", 11],
  ["mixed", "data: 1\n\r\n", 10],
  ["behind a comment", ":ping\n\nrest", 7],
])("an event ends at its blank line: %s", (_name, text, end) => {
  const bytes = Buffer.from(`${text}data: 2\n`);
  expect(new EventBoundary().find(bytes, 0, bytes.length)).toBe(end);
  for (let split = 1; split < end; split++) {
    const events = new EventBoundary();
    events.skip(bytes, 0, split);
    const found = events.atBoundary ? split : events.find(bytes, split, bytes.length);
    // A CR that ends the first read may be half of a CRLF: to stop right behind it is as good.
    expect([end, end - 1]).toContain(found);
  }
});

test("in mid-event there is no end", () => {
  const events = new EventBoundary();
  const text = Buffer.from("id: 1\ndata: x\n");
  events.skip(text, 0, text.length);
  expect(events.atBoundary).toBe(false);
  expect(events.find(text, 0, text.length)).toBe(-1);
});

const frame = (opcode: number, final: boolean, length: number, masked: boolean): Buffer => {
  const bytes = [(final ? 128 : 0) | opcode];
  const mask = masked ? 128 : 0;
  if (length < 126) bytes.push(mask | length);
  else if (length < 65_536) bytes.push(mask | 126, length >> 8, length & 255);
  else
    bytes.push(
      mask | 127,
      0,
      0,
      0,
      0,
      (length >>> 24) & 255,
      (length >>> 16) & 255,
      (length >>> 8) & 255,
      length & 255,
    );
  if (masked) bytes.push(1, 2, 3, 4);
  return Buffer.concat([Buffer.from(bytes), Buffer.alloc(length, 0x88)]);
};

test("messages end behind their last frame, whatever control frames stand between, however the bytes are split", () => {
  const stream = Buffer.concat([
    frame(1, true, 5, true),
    frame(2, false, 200, true),
    frame(9, true, 0, true),
    frame(0, false, 70_000, true),
    frame(0, true, 1, true),
    frame(8, true, 2, true),
  ]);
  const ends = [11, stream.length - 8, stream.length];
  for (const step of [1, 2, 7, 1_000, stream.length]) {
    const walker = new FrameWalker();
    const seen: number[] = [];
    for (let at = 0; at < stream.length; at += step) {
      walker.walk(stream, at, Math.min(stream.length, at + step), null);
      if (walker.atBoundary) seen.push(Math.min(stream.length, at + step));
    }
    for (const end of seen) expect(ends).toContain(end);
    expect(walker.closed && walker.atBoundary).toBe(true);
  }
  expect(new FrameWalker().walk(stream, 0, stream.length, "close")).toBe(stream.length);
  expect(new FrameWalker().walk(stream, 0, stream.length - 3, "boundary")).toBe(stream.length - 8);
});

test("a Close frame says 1012, unmasked to a client and masked to an app", () => {
  expect([...closeFrame(1_012, null)]).toEqual([0x88, 2, 3, 0xf4]);
  expect([...closeFrame(1_012, 0x01020304)]).toEqual([0x88, 0x82, 1, 2, 3, 4, 3 ^ 1, 0xf4 ^ 2]);
});
