import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SerialConsole } from '../../src/channel/serial/serial-console.js'
import { listenUnix } from '../../src/channel/unix-listener.js'

/** A console with a peer in the place of a guest. */
export interface SerialPeer extends AsyncDisposable {
  readonly serial: SerialConsole
  /** Where a guest writes, and reads what was typed. */
  guest: Socket
  /** All that was typed. */
  typed(): string
  /** Connects as a QEMU that is started does. */
  switchOn(): Promise<void>
}

export async function openSerialPeer(): Promise<SerialPeer> {
  const folder = mkdtempSync(join(tmpdir(), 'withvm-serial-'))
  const listener = await listenUnix(join(folder, 's'))
  const serial = new SerialConsole({ logPath: '/run/serial.log' })
  let typed = ''
  const switchOn = async () => {
    const guest = connect(listener.path)
    guest.on('data', (bytes) => {
      typed += bytes.toString()
    })
    serial.attach(await listener.accept({ timeoutMs: 1000 }))
    return guest
  }
  const peer: SerialPeer = {
    serial,
    guest: await switchOn(),
    typed: () => typed,
    switchOn: async () => {
      peer.guest.destroy()
      peer.guest = await switchOn()
    },
    [Symbol.asyncDispose]: async () => {
      peer.guest.destroy()
      serial.close()
      await listener.close()
      rmSync(folder, { recursive: true })
    },
  }
  return peer
}
