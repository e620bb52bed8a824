import { once } from 'node:events'
import { connect } from 'node:net'
import { basename, join } from 'node:path'
import { tryProcessLock } from '../../common/locks/process-lock.js'
import { logToStderr } from '../../common/log.js'
import { KIB } from '../../common/units.js'
import { vmError } from '../../errors.js'
import { type RunningGuest, TTY_SOCKET } from '../../vm/workspace/running-guests.js'
import { EXIT_CODES } from '../exit-code.js'
import { type LogRange, readConsoleLog } from './console-log.js'
import { findGuest, findKeptGuest } from './find-guest.js'
import { attachKeys, CTRL_C, ESCAPE } from './terminal.js'

/** Size of the earlier output that is printed on attach: a few screens. */
const SHOWN_BYTES = 8 * KIB

/**
 * Runs `withvm console`: attaches to the serial console of a kept guest until Ctrl-]. The guest
 * keeps running.
 */
export async function openConsole(name: string): Promise<number> {
  const guest = await findKeptGuest(name)
  // QEMU serves one client at a time; a second client would wait without any message.
  const lock = await tryProcessLock(`console-${basename(guest.dir)}`)
  if (lock === undefined) {
    throw vmError('GUEST_IN_USE', {
      summary: `The serial console of the guest '${guest.name}' is open in another terminal.`,
      hint: `Press Ctrl-] in that terminal, watch it with \`withvm console --view ${guest.name}\`, or open a shell: \`withvm ssh ${guest.name}\`.`,
    })
  }
  logToStderr(`serial console of '${guest.name}'. Press Ctrl-] to detach; the guest keeps running.`)
  await printLog(guest, { lastBytes: SHOWN_BYTES })
  const socket = connect(join(guest.socketDir, TTY_SOCKET))
  const ended = new Promise<void>((resolve) => {
    socket.on('error', () => {}) // 'close' follows
    socket.once('close', () => resolve())
  })
  socket.on('data', (bytes) => process.stdout.write(bytes))
  await attachKeys((bytes) => socket.write(bytes), ended)
  socket.destroy()
  await lock.release()
  return EXIT_CODES.ok
}

/**
 * Runs `withvm console --view`: shows the serial console of a running guest, without input, until
 * Ctrl-], Ctrl-C or the end of the guest. Does not disturb the process that uses the guest.
 */
export async function viewConsole(name: string): Promise<number> {
  const guest = await findGuest(name)
  const isInteractive = process.stdin.isTTY === true
  const exit = isInteractive ? 'Press Ctrl-] to exit.' : 'It ends with the guest.'
  logToStderr(`serial console of '${guest.name}', read-only. ${exit}`)
  const stop = new AbortController()
  const ended = printLog(guest, { lastBytes: SHOWN_BYTES, follow: true, signal: stop.signal })
  if (isInteractive) await attachKeys(() => {}, ended, [ESCAPE, CTRL_C])
  else await ended
  stop.abort()
  await ended
  return EXIT_CODES.ok
}

/** Prints the guest's bytes unchanged, for a terminal that interprets them. */
async function printLog(guest: RunningGuest, range: LogRange): Promise<void> {
  try {
    for await (const bytes of readConsoleLog(guest, range)) {
      // A stopped terminal reads nothing, and the guest may print without end.
      if (!process.stdout.write(bytes)) await once(process.stdout, 'drain')
    }
  } catch (error) {
    logToStderr(`earlier output is not available: ${(error as Error).message}`)
  }
}
