import { resolve } from 'node:path'
import type { Draft, ParsedOption } from './draft.js'
import type { Readers } from './readers.js'

/** Port of `-s`. */
const DEFAULT_PORT = 1234

/** Parses `-gdb`. A TCP port becomes an option; sockets and other devices are passed through. */
function readGdb(draft: Draft, given: ParsedOption): void {
  if (given.value === 'none') return
  const [, host, port] = /^tcp:([^:,]*):(\d+)(?:,|$)/.exec(given.value) ?? []
  const isLoopback = host === '127.0.0.1' || host === 'localhost'
  if (port !== undefined && (host === '' || isLoopback)) {
    servePort(draft, given, { port: Number(port), isLoopback })
    return
  }
  const value = given.value.replace(/^unix:([^,]+)/, (_, path: string) => `unix:${resolve(path)}`)
  draft.keep({ ...given, value })
}

function servePort(
  draft: Draft,
  given: ParsedOption,
  { port, isLoopback }: { readonly port: number; readonly isLoopback: boolean },
): void {
  draft.options.debug = { ...draft.options.debug, gdb: port }
  if (isLoopback) return
  draft.translate(
    given,
    `debug: { gdb: ${port} }, on 127.0.0.1`,
    'QEMU would listen on all addresses of this host, and GDB has access to the monitor; `debug: { gdb: true }` uses a Unix socket',
  )
}

/** Readers for debugging options. */
export const debugReaders: Readers = {
  gdb: readGdb,
  s: (draft, given) => servePort(draft, given, { port: DEFAULT_PORT, isLoopback: false }),
}
