import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { waitForSshBanner } from '../../../../src/channel/ssh/probe.js'
import { SshClient } from '../../../../src/channel/ssh/ssh-client.js'
import { startSshServer } from '../../../support/ssh-server.js'

let server: Server
const sockets = new Set<Socket>()

afterEach(() => {
  for (const socket of sockets) socket.destroy()
  server?.close()
})

/** Starts a server that applies one behavior per connection; the last one applies to all further connections. */
async function listen(...behaviours: Array<(socket: Socket) => void>): Promise<number> {
  let count = 0
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    behaviours[Math.min(count++, behaviours.length - 1)]?.(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const banner = (socket: Socket) => socket.write('SSH-2.0-dropbear_2022.83\r\n')
const silent = () => {}

test('the SSH probe continues after a close, a reset and a silent server, and reports each result', async () => {
  const port = await listen(
    silent,
    (socket) => socket.end(),
    (socket) => socket.resetAndDestroy(),
    banner,
  )
  const results: string[] = []
  const found = await waitForSshBanner({
    port,
    intervalMs: 150,
    probeTimeoutMs: 30,
    signal: AbortSignal.timeout(5000),
    onResult: ({ text }) => results.push(text),
  })
  expect(found.banner).toBe('SSH-2.0-dropbear_2022.83')
  expect(results).toEqual([
    'the connection was accepted, then no banner for 30 ms',
    'the connection was accepted, then closed: nothing listens in the guest yet',
    'the connection was reset: nothing listens in the guest yet',
    'SSH-2.0-dropbear_2022.83',
  ])
})

test('a slow SSH server in a guest with a working network gets at most three connections, with a longer timeout', async () => {
  let open = 0
  let most = 0
  const slow = (socket: Socket) => {
    most = Math.max(most, ++open)
    socket.on('close', () => open--)
    setTimeout(() => socket.write('SSH-2.0-slow\r\n'), 200)
  }
  const port = await listen((socket) => socket.resetAndDestroy(), slow)
  await waitForSshBanner({ port, intervalMs: 5, probeTimeoutMs: 50, signal: AbortSignal.timeout(5000) })
  expect(most).toBe(3)
})

test('an announced SSH server that is slow gets at most three connections, with a longer timeout', async () => {
  let count = 0
  const port = await listen((socket) => {
    count++
    setTimeout(() => socket.write('SSH-2.0-slow\r\n'), 1200)
  })
  await waitForSshBanner({
    port,
    intervalMs: 5,
    probeTimeoutMs: 300,
    isAwake: true,
    signal: AbortSignal.timeout(10_000),
  })
  expect(count).toBeLessThanOrEqual(3)
})

test('the next SSH probe does not wait for a silent one', async () => {
  const port = await listen(silent, banner)
  const startedAt = performance.now()
  await waitForSshBanner({ port, intervalMs: 20, signal: AbortSignal.timeout(5000) })
  expect(performance.now() - startedAt).toBeLessThan(4000)
})

test('an SSH probe starts at once when the guest announces its server', async () => {
  const port = await listen(silent, banner)
  const startedAt = performance.now()
  const wake = new Promise((resolve) => setTimeout(resolve, 50))
  await waitForSshBanner({ port, intervalMs: 10_000, wake, signal: AbortSignal.timeout(5000) })
  expect(performance.now() - startedAt).toBeLessThan(4000)
})

test('the SSH probe continues after a rejected announcement, a refused connection and a non-SSH server', async () => {
  const port = await listen((socket) => socket.write(`HTTP/1.1 200 OK\r\n${'x'.repeat(9000)}`), banner)
  const results: string[] = []
  const wake = Promise.reject(new Error('no such line'))
  const onResult = ({ text }: { text: string }) => results.push(text)
  await waitForSshBanner({ port, intervalMs: 20, wake, signal: AbortSignal.timeout(5000), onResult })
  expect(results[0]).toMatch(/^not an SSH server: it sent "HTTP/)
  server.close()
  for (const socket of sockets) socket.destroy()
  await once(server, 'close')
  results.length = 0
  const waiting = waitForSshBanner({ port, intervalMs: 20, signal: AbortSignal.timeout(100), onResult })
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' })
  expect(results[0]).toBe('the connection was refused: QEMU does not forward this port')
})

test('an SSH probe that is not needed sends an identification before it ends its connection', async () => {
  const sent: string[] = []
  let readLate = () => {}
  const read = (socket: Socket) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('end', () => sent.push(text))
  }
  const port = await listen(
    // A server that is too busy to read or to reply.
    (socket) => {
      readLate = () => read(socket)
    },
    read,
    (socket) => {
      read(socket)
      banner(socket)
    },
  )
  const results: string[] = []
  await waitForSshBanner({
    port,
    intervalMs: 60,
    probeTimeoutMs: 90,
    signal: AbortSignal.timeout(5000),
    onResult: ({ text }) => results.push(text),
  })
  await expect.poll(() => sent.length).toBe(2)
  readLate()
  await expect.poll(() => sent).toEqual(Array(3).fill('SSH-2.0-Probe-withvm\r\n'))
  await expect.poll(() => sockets.size).toBe(0)
  // The probes that were ended have no result of their own.
  expect(results.at(-1)).toBe('SSH-2.0-dropbear_2022.83')
})

test('a connection of an SSH probe that its server floods ends', async () => {
  const port = await listen((socket) => {
    const flood = setInterval(() => socket.write(Buffer.alloc(4096, 'x')), 5)
    socket.on('close', () => clearInterval(flood))
  })
  const waiting = waitForSshBanner({ port, intervalMs: 1000, signal: AbortSignal.timeout(300) })
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' })
  await expect.poll(() => sockets.size).toBe(0)
})

test('an aborted wait for SSH closes its probes', async () => {
  const port = await listen((socket) => socket.resume())
  const waiting = waitForSshBanner({ port, intervalMs: 10, signal: AbortSignal.timeout(60) })
  await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' })
  await expect.poll(() => sockets.size).toBe(0)
})

test('a client can log in on the connection of the SSH probe', async () => {
  const [hostKey, clientKey] = [generateSshKeyPair(), generateSshKeyPair()]
  const sshd = await startSshServer({ hostKey, authorized: [clientKey.publicBlob] })
  const { port } = sshd
  const found = await waitForSshBanner({
    port,
    intervalMs: 1000,
    signal: AbortSignal.timeout(5000),
    keepSocket: true,
  })
  const client = await SshClient.connect({
    port,
    socket: found.socket,
    privateKey: clientKey.privateKey,
    hostKey: hostKey.publicBlob,
    timeoutMs: 5000,
  })
  expect((await client.exec('echo over')).stdout).toBe('over')
  client.close()
  await sshd.close()
})
