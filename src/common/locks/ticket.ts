import { randomBytes } from 'node:crypto'

/** Names what wants something: later ones of the same host sort behind earlier ones. 10 digits of microseconds and 4 random ones, in base 36. */
export function drawTicket(): string {
  const microseconds = process.hrtime.bigint() / 1000n
  const random = randomBytes(4).readUInt32BE() % 36 ** 4
  return microseconds.toString(36).padStart(10, '0') + random.toString(36).padStart(4, '0')
}
