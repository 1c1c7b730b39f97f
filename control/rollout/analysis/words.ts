/**
 * Numbers as the judge's sentences say them.
 *
 * Cost  every measurement makes a sentence: toLocaleString was over half of the judge's time (measured).
 */
export function count(value: number): string {
  return value < 1_000 ? String(value) : String(value).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

/** "1.5 %", "0.02 %": two digits that mean something. */
export function share(part: number, whole: number): string {
  if (whole === 0) return "–";
  const percent = (part / whole) * 100;
  if (percent === 0) return "0 %";
  return `${percent >= 10 ? percent.toFixed(0) : Number(percent.toPrecision(2)).toString()} %`;
}

export function figure(value: number): string {
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3))
    return value.toExponential(1).replace("e+", "e");
  return Number(value.toPrecision(4)).toString();
}

export function times(number: number, of: string): string {
  return `${count(number)} ${of}${number === 1 ? "" : "s"}`;
}
