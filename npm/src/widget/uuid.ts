/** The time of the last id in ms, and a counter of the ids within that millisecond. */
let last = 0;
let count = 0;

/** A UUID of version 7 (RFC 9562, 5.7): ids made one after the other sort in that order. */
export function uuid(): string {
  const now = Math.max(Date.now(), last);
  count = now === last ? (count + 1) % 0x1000 : 0;
  last = now;
  const random = crypto.getRandomValues(new Uint8Array(8));
  random[0] = 0x80 | (Number(random[0]) & 0x3f);
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  const tail = Array.from(random, (byte) => hex(byte, 2)).join("");
  const time = hex(now, 12);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(count, 3)}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}
