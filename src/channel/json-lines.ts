import type { Socket } from 'node:net'
import { StringDecoder } from 'node:string_decoder'
import { MIB } from '../common/units.js'

/**
 * Maximum nesting depth: more than in any response of QEMU or its guest agent. QEMU's own parser
 * stops at 1024.
 */
const MAX_DEPTH = 256
/**
 * Maximum number of brackets, commas, colons and quotes. `query-qmp-schema`, the longest response,
 * has 72,000 (QEMU 7.2).
 */
const MAX_TOKENS = 500_000

/**
 * Parses a line with a JSON object. Returns undefined for any other line, and for objects that
 * exceed the limits of depth and size: parsing those takes seconds and hundreds of megabytes, and
 * walking a deep object overflows the stack.
 */
export function parseObject<T extends object>(line: string): T | undefined {
  if (!isParsable(line)) return undefined
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as T) : undefined
  } catch {
    return undefined
  }
}

/** Change of the nesting depth by each punctuation character of JSON. */
const STEPS = new Map([
  [0x7b, 1], // {
  [0x5b, 1], // [
  [0x7d, -1], // }
  [0x5d, -1], // ]
  [0x2c, 0], // ,
  [0x3a, 0], // :
])
const QUOTE = '"'
const QUOTE_CODE = 0x22
const BACKSLASH_CODE = 0x5c

function isParsable(line: string): boolean {
  let [depth, tokens] = [0, 0]
  for (let at = 0; at < line.length && tokens <= MAX_TOKENS && depth <= MAX_DEPTH; at++) {
    const code = line.charCodeAt(at)
    const step = STEPS.get(code)
    if (step !== undefined) {
      depth += step
      tokens++
    }
    if (code !== QUOTE_CODE) continue
    do {
      tokens++
      at = line.indexOf(QUOTE, at + 1)
      if (at < 0) return true // not JSON: the parser fails fast
    } while (isEscaped(line, at) && tokens <= MAX_TOKENS)
  }
  return tokens <= MAX_TOKENS && depth <= MAX_DEPTH
}

function isEscaped(line: string, quoteAt: number): boolean {
  let at = quoteAt - 1
  while (line.charCodeAt(at) === BACKSLASH_CODE) at--
  return (quoteAt - at) % 2 === 0
}

/** Maximum length of a line, except for the output of a command. */
export const MAX_LINE_CHARS = MIB
/**
 * Maximum length of a line with output. 16 MiB of each stream, in the base64 of qemu-ga, take 43 Mi
 * characters.
 */
export const MAX_OUTPUT_LINE_CHARS = 48 * MIB

export interface LineHandlers {
  /** Receives each line that is not empty. */
  readonly onLine: (line: string) => void
  /**
   * Called when a line exceeds the limit, and again for each further part of that length, so that a
   * command that is sent in the meantime fails too. The line is dropped.
   */
  readonly onTooLong: () => void
  /** Returns the current maximum length of a line. @default 1 Mi characters */
  readonly maxChars?: () => number
}

/** Reads lines from a socket. Takes time linear in the length of a line. */
export function readLines(socket: Socket, { onLine, onTooLong, maxChars }: LineHandlers): void {
  const decoder = new StringDecoder('utf8')
  let parts: string[] = []
  let chars = 0
  let isSkipping = false
  const add = (piece: string) => {
    chars += piece.length
    if (chars <= (maxChars?.() ?? MAX_LINE_CHARS)) {
      if (!isSkipping) parts.push(piece)
      return
    }
    parts = []
    chars = 0
    isSkipping = true
    onTooLong()
  }
  const endLine = () => {
    const line = parts.join('').trim()
    parts = []
    chars = 0
    isSkipping = false
    if (line !== '') onLine(line)
  }
  socket.on('data', (chunk) => {
    const [first = '', ...more] = decoder.write(chunk).split('\n')
    add(first)
    for (const piece of more) {
      if (socket.destroyed) return
      endLine()
      add(piece)
    }
  })
}
