import { once } from 'node:events'
import { LineView } from '../../channel/serial/line-view.js'
import { toSafeText } from '../../errors/safe-text.js'
import { EXIT_CODES } from '../exit-code.js'
import { readConsoleLog } from './console-log.js'
import { findGuest } from './find-guest.js'

export interface LogFlags {
  readonly follow?: boolean
  readonly lines?: number
}

/**
 * Runs `withvm logs`: prints the serial console of a running guest. On a terminal, prints plain
 * lines, because the guest's bytes could drive it; elsewhere, prints the bytes unchanged.
 */
export async function printLogs(name: string, { follow = false, lines }: LogFlags): Promise<number> {
  const { stdout } = process
  const guest = await findGuest(name)
  const format = stdout.isTTY ? plainLines() : (bytes: Buffer) => bytes
  const range = { follow, ...(lines === undefined ? {} : { lastLines: lines }) }
  for await (const bytes of readConsoleLog(guest, range)) {
    if (!stdout.write(format(bytes))) await once(stdout, 'drain')
  }
  return EXIT_CODES.ok
}

/** Returns a function that converts console output to plain lines without control characters. */
export function plainLines(): (bytes: Buffer) => string {
  const view = new LineView()
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return (bytes) => toSafeText(view.push(decoder.decode(bytes, { stream: true })), Number.POSITIVE_INFINITY)
}
