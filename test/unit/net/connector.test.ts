import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { splitWords } from '../../../src/common/process/split-words.js'
import { connectorCommand } from '../../../src/net/connector.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const isLinuxX64 = process.platform === 'linux' && process.arch === 'x64'

async function listen(path: string, onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onConnection)
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(() => void server.close())
  return server
}

/** Starts a connector for each connection, with the connection as its standard streams, like QEMU. */
async function startConnectors(onConnection: (socket: Socket) => void) {
  const folder = ownTmpdir()
  const socket = join(folder, 'server.sock')
  const [file = '', ...args] = splitWords(
    await connectorCommand({ socket, program: join(folder, 'connector') }),
  )
  await listen(socket, (connection) => onConnection(connection.resume()))
  const children: ChildProcess[] = []
  await listen(join(folder, 'guest.sock'), (connection) => {
    children.push(spawn(file, args, { stdio: [connection, connection, connection] }))
    connection.destroy()
  })
  const open = () => {
    const guest = connect({ path: join(folder, 'guest.sock'), allowHalfOpen: true })
    onTestFinished(() => void guest.destroy())
    return guest
  }
  const areGone = () =>
    expect.poll(() => children.every(({ exitCode }) => exitCode === 0), { timeout: 30_000 }).toBe(true)
  return { open, children, areGone }
}

const readAll = (socket: Socket) =>
  new Promise<Buffer>((resolve) => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).once('end', () => resolve(Buffer.concat(chunks)))
  })

test('a connector forwards all bytes of both directions', async () => {
  const sent = Buffer.alloc(3_000_000, 'all of it, ')
  const received: Buffer[] = []
  const { open, areGone } = await startConnectors((socket) => {
    void readAll(socket).then((bytes) => {
      received.push(bytes)
      socket.end('and the answer')
    })
    socket.write(sent) // at the same time
  })
  const guest = open()
  guest.end(sent)
  const answer = await readAll(guest)
  expect(received[0]?.equals(sent)).toBe(true)
  expect(answer.equals(Buffer.concat([sent, Buffer.from('and the answer')]))).toBe(true)
  await areGone()
})

test.each([
  ['the guest has closed its connection', 'guest'],
  ['the server has closed its connection', 'server'],
] as const)('a connector ends when %s, even if the other side sends nothing', async (_, who) => {
  const servers: Socket[] = []
  const { open, areGone } = await startConnectors((socket) => void servers.push(socket.on('error', () => {})))
  const guests = [open(), open()]
  await expect.poll(() => servers.length).toBe(2)
  for (const socket of who === 'guest' ? guests : servers) socket.destroy()
  await areGone()
})

test.skipIf(!isLinuxX64)(
  'sixty connectors use little memory',
  async () => {
    let count = 0
    const { open, children, areGone } = await startConnectors(() => count++)
    const guests = Array.from({ length: 60 }, open)
    await expect.poll(() => count, { timeout: 100_000 }).toBe(60)
    const kib = children.map(({ pid }) => {
      const [, size] = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? []
      return Number(size)
    })
    const total = kib.reduce((sum, one) => sum + one)
    expect(total).toBeLessThan(60 * 100)
    for (const guest of guests) guest.destroy()
    await areGone()
  },
  120_000,
)
