import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { listenUnix } from '../../../src/channel/unix-listener.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'withvm-unix-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const socketPath = () => join(directory, 's')

test('a connection is queued until it is accepted, and none of its bytes are lost', async () => {
  const listener = await listenUnix(socketPath())
  connect(listener.path).end('early bytes')
  await new Promise((resolve) => setTimeout(resolve, 30))
  const socket = await listener.accept({ timeoutMs: 1000 })
  expect(await new Response(socket as never).text()).toBe('early bytes')
  await listener.close()
})

test('connections that were not accepted are dropped before the next start', async () => {
  const listener = await listenUnix(socketPath())
  connect(listener.path).end('of the dead')
  await new Promise((resolve) => setTimeout(resolve, 30))
  await listener.discard()
  connect(listener.path).end('of the living')
  const socket = await listener.accept({ timeoutMs: 1000 })
  expect(await new Response(socket as never).text()).toBe('of the living')
  await listener.close()
})

test('a wait for a connection times out with the path of the socket and does not consume the next connection', async () => {
  const listener = await listenUnix(socketPath())
  await expect(listener.accept({ timeoutMs: 20 })).rejects.toMatchObject({
    code: 'QEMU_FAILED',
    message: `QEMU did not connect within 20 ms.\n  Expected: a connection to ${listener.path}\n  Got:      no connection\nFix: Read the output of QEMU. On a very busy host, raise the timeout.`,
  })
  connect(listener.path).end('next')
  const socket = await listener.accept({ timeoutMs: 1000 })
  expect(await new Response(socket as never).text()).toBe('next')
  await listener.close()
})

test('closing a listener rejects its waits and removes the socket', async () => {
  const listener = await listenUnix(socketPath())
  const waiting = listener.accept({ timeoutMs: 5000 })
  await listener.close()
  await expect(waiting).rejects.toMatchObject({ code: 'VM_NOT_RUNNING' })
  expect(existsSync(listener.path)).toBe(false)
})

test('a socket path above the limit is rejected with its length', async () => {
  const path = join(directory, 'x'.repeat(120))
  await expect(listenUnix(path)).rejects.toMatchObject({ code: 'WORKSPACE_FAILED' })
  await expect(listenUnix(path)).rejects.toThrow(`the path is too long (${path.length} bytes)`)
})

test('connections above the limit of a listener are refused', async () => {
  const listener = await listenUnix(socketPath())
  const peers = Array.from({ length: 20 }, () =>
    connect(listener.path)
      .on('error', () => {})
      .resume(),
  )
  const isClosed = (peer: Socket) => peer.destroyed || peer.readableEnded
  await expect.poll(() => peers.filter(isClosed).length).toBe(12)
  for (const peer of peers) peer.destroy()
  await listener.close()
})
