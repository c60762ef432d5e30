const SLOTS = 16_384

/** CRC16 as Redis Cluster has it: XMODEM, polynomial 0x1021, from 0. */
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

/** The slot of a Cluster that a key lies in: told by what is between its first braces, if there is something. */
export function keySlot(key: string): number {
  const open = key.indexOf('{')
  const close = open === -1 ? -1 : key.indexOf('}', open + 1)
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (let at = 0; at < hashed.length; at++) {
    const code = hashed.charCodeAt(at)
    // Corral's own part of a key is ASCII; a prefix of the user's need not be.
    if (code > 127) return slotOfBytes(Buffer.from(hashed))
    crc = next(crc, code)
  }
  return crc % SLOTS
}

function slotOfBytes(bytes: Buffer): number {
  return bytes.reduce(next, 0) % SLOTS
}

function next(crc: number, byte: number): number {
  return ((crc << 8) & 0xffff) ^ CRC16[(crc >> 8) ^ byte]!
}
