import type { Socket } from 'node:net'
import { StringDecoder } from 'node:string_decoder'

/** Gives undefined for what is not a JSON object. */
export function parseObject<T extends object>(line: string): T | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as T) : undefined
  } catch {
    return undefined
  }
}

/** The longest line: that of qemu-ga with 16 MiB of output in each stream, in base64, is 43 Mi characters. */
const MAX_LINE_CHARS = 48 * 1024 * 1024

/**
 * Calls `onLine` for each line that is not empty. A long line costs no more than its length; at one without an end,
 * `onEndless` is called, nothing more is read, and nothing of it is held.
 */
export function readLines(
  socket: Socket,
  onLine: (line: string) => void,
  onEndless: () => void,
  maxChars = MAX_LINE_CHARS,
): void {
  const decoder = new StringDecoder('utf8')
  let parts: string[] = []
  let chars = 0
  socket.on('data', (chunk) => {
    if (chars > maxChars) return
    const pieces = decoder.write(chunk).split('\n')
    chars = (pieces.length === 1 ? chars : 0) + (pieces.at(-1) as string).length
    if (chars > maxChars) {
      parts = []
      return onEndless()
    }
    for (const piece of pieces.slice(0, -1)) {
      const line = (parts.join('') + piece).trim()
      parts = []
      if (line !== '') onLine(line)
    }
    parts.push(pieces.at(-1) ?? '')
  })
}
