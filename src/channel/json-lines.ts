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

/** Calls `onLine` for each line that is not empty. A long line costs no more than its length. */
export function readLines(socket: Socket, onLine: (line: string) => void): void {
  const decoder = new StringDecoder('utf8')
  let parts: string[] = []
  socket.on('data', (chunk) => {
    const pieces = decoder.write(chunk).split('\n')
    for (const piece of pieces.slice(0, -1)) {
      const line = (parts.join('') + piece).trim()
      parts = []
      if (line !== '') onLine(line)
    }
    parts.push(pieces.at(-1) ?? '')
  })
}
