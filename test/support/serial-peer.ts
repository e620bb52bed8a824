import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SerialConsole } from '../../src/channel/serial/serial-console.js'
import { listenUnix } from '../../src/channel/unix-listener.js'

/** Console with a peer in place of a guest. */
export interface SerialPeer extends AsyncDisposable {
  readonly serial: SerialConsole
  /** Socket of the peer, which writes output and reads input. */
  guest: Socket
  /** Returns all input. */
  typed(): string
  /** Connects like a QEMU that starts. */
  powerOn(): Promise<void>
}

export async function openSerialPeer(): Promise<SerialPeer> {
  const folder = mkdtempSync(join(tmpdir(), 'withvm-serial-'))
  const listener = await listenUnix(join(folder, 's'))
  const serial = new SerialConsole({ logPath: '/run/serial.log' })
  let typed = ''
  const powerOn = async () => {
    const guest = connect(listener.path)
    guest.on('data', (bytes) => {
      typed += bytes.toString()
    })
    serial.attach(await listener.accept({ timeoutMs: 1000 }))
    return guest
  }
  const peer: SerialPeer = {
    serial,
    guest: await powerOn(),
    typed: () => typed,
    powerOn: async () => {
      peer.guest.destroy()
      peer.guest = await powerOn()
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
