import { createHash } from 'node:crypto'

/** Returns the SHA-256 of text in hexadecimal. */
export function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
