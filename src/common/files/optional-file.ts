import { readFileSync } from 'node:fs'

/** Returns the text of a small file, such as one in /proc; an empty text if it cannot be read. */
export function readOptionalFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
