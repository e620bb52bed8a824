import { randomBytes } from 'node:crypto'

/**
 * Returns a name for a request. Names of the same host sort by time: 10 digits of microseconds and
 * 4 random ones, in base 36.
 */
export function drawTicket(): string {
  const microseconds = process.hrtime.bigint() / 1000n
  const random = randomBytes(4).readUInt32BE() % 36 ** 4
  return microseconds.toString(36).padStart(10, '0') + random.toString(36).padStart(4, '0')
}
