import { connect } from 'node:net'
import { basename, join } from 'node:path'
import { openWrittenFile } from '../common/files/written-file.js'
import { tryProcessLock } from '../common/locks/process-lock.js'
import { logToStderr } from '../common/log.js'
import { vmError } from '../errors.js'
import { TTY_SOCKET } from '../vm/workspace/running-guests.js'
import { EXIT_CODES } from './exit-code.js'
import { findKeptGuest } from './find-guest.js'
import { attachKeys } from './terminal.js'

/** Size of the earlier output that is printed on attach: a few screens. */
const SHOWN_BYTES = 8192

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
      hint: `Press Ctrl-] in that terminal, or open a shell: \`withvm ssh ${guest.name}\`.`,
    })
  }
  logToStderr(`serial console of '${guest.name}'. Press Ctrl-] to detach; the guest keeps running.`)
  const tail = await readTail(join(guest.dir, 'serial.log')).catch((error: Error) => {
    logToStderr(`earlier output is not available: ${error.message}`)
    return ''
  })
  process.stdout.write(tail)
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

async function readTail(path: string): Promise<Buffer> {
  const file = await openWrittenFile(path)
  try {
    const { size } = await file.stat()
    const from = Math.max(0, size - SHOWN_BYTES)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}
