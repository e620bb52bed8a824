import { resolve } from 'node:path'
import type { Draft, ParsedOption } from './draft.js'
import type { Readers } from './readers.js'

/** The port of QEMU's `-s`. */
const USUAL_PORT = 1234

/** A port is an explicit request for one; sockets and other devices stay as they are. */
function readGdb(draft: Draft, given: ParsedOption): void {
  if (given.value === 'none') return
  const [, host, port] = /^tcp:([^:,]*):(\d+)(?:,|$)/.exec(given.value) ?? []
  const isOfLoopback = host === '127.0.0.1' || host === 'localhost'
  if (port !== undefined && (host === '' || isOfLoopback)) {
    servePort(draft, given, { port: Number(port), isOfLoopback })
    return
  }
  const value = given.value.replace(/^unix:([^,]+)/, (_, path: string) => `unix:${resolve(path)}`)
  draft.keep({ ...given, value })
}

function servePort(
  draft: Draft,
  given: ParsedOption,
  { port, isOfLoopback }: { readonly port: number; readonly isOfLoopback: boolean },
): void {
  draft.options.debug = { ...draft.options.debug, gdb: port }
  if (isOfLoopback) return
  draft.translate(
    given,
    `debug: { gdb: ${port} }, on 127.0.0.1`,
    'QEMU would listen on all addresses of this host, and GDB reaches its monitor; `debug: { gdb: true }` serves it on a unix socket',
  )
}

/** What helps a person who looks into the guest. */
export const debugReaders: Readers = {
  gdb: readGdb,
  s: (draft, given) => servePort(draft, given, { port: USUAL_PORT, isOfLoopback: false }),
}
