/**
 * Request heads as browsers send them: each differs from the others in path, cookies, agent and languages, so that no
 * parser and no branch predictor lives off seeing one head for ever. Same seed, same heads.
 *
 * Units   bytes; heads are ASCII.
 */
import { integer, seededRandom } from "../../proto/kernel/random.ts";
import type { Random } from "../../proto/kernel/random.ts";

const HOSTS = ["www.shop.test", "shop.test", "m.shop.test", "api.shop.test"];
const AGENTS = [
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
  "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
  "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
];
const ACCEPTS = [
  "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "application/json, text/plain, */*",
  "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
];
const LANGUAGES = ["en-US,en;q=0.9", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5", "ja"];
const PLACES = ["item", "list", "cart", "account/orders", "search", "api/v2/stock"];
const HINTS = [
  'sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n',
  "",
];

export const SMALL_HEAD = "GET / HTTP/1.1\r\nHost: www.shop.test\r\n\r\n";

export function variedHeads(count: number, seed: number): string[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => variedHead(random));
}

function variedHead(random: Random): string {
  const whole = (below: number): number => integer(random, below);
  const pick = (from: readonly string[]): string => from[whole(from.length)]!;
  const host = pick(HOSTS);
  const path = `/${pick(PLACES)}/${String(whole(100_000))}?ref=${token(random, 4 + whole(12))}&page=${String(whole(40))}`;
  const cookies = [
    `sid=${token(random, 32)}`,
    `_ga=GA1.2.${String(whole(1e9))}.${String(1_700_000_000 + whole(9e7))}`,
    `cart=${token(random, 8 + whole(40))}`,
    ...(random.next() < 0.7
      ? [`prefs=theme%3Ddark%26lang%3D${token(random, 2)}%26ab%3D${token(random, 20 + whole(60))}`]
      : []),
  ];
  return (
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: keep-alive\r\n${pick(HINTS)}` +
    `User-Agent: ${pick(AGENTS)}\r\nAccept: ${pick(ACCEPTS)}\r\n` +
    `Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: ${pick(["navigate", "cors", "no-cors"])}\r\n` +
    `Referer: https://${host}/${pick(PLACES)}/${String(whole(10_000))}?q=${token(random, whole(24))}\r\n` +
    `Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: ${pick(LANGUAGES)}\r\n` +
    `Cookie: ${cookies.join("; ")}\r\n${random.next() < 0.3 ? "Cache-Control: max-age=0\r\n" : ""}\r\n`
  );
}

const ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

function token(random: Random, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += ALPHABET[integer(random, ALPHABET.length)]!;
  return text;
}
