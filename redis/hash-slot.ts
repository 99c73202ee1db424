// Which of a cluster's 16,384 slots a key is in. Source: Redis cluster specification, "Key distribution model" and
// appendix A (CRC-16/XMODEM, polynomial 0x1021).

const NUM_SLOTS = 16_384;

/** Of the text in the first {braces} when there is any, else of the whole key. */
export function hashSlot(key: string): number {
  const tag = /\{([^}]+)\}/.exec(hasEmptyTag(key) ? '' : key)?.[1];
  let crc = 0;
  for (const byte of Buffer.from(tag ?? key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1)
      crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc % NUM_SLOTS;
}

/** `{}` first: then the whole key counts, whatever comes after. */
function hasEmptyTag(key: string): boolean {
  const open = key.indexOf('{');
  return open !== -1 && key[open + 1] === '}';
}
