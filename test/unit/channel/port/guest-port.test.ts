import { beforeEach, expect, test } from 'vitest'
import { GuestPort } from '../../../../src/channel/port/guest-port.js'
import { FakeSocket } from '../../../support/fake-socket.js'

let port: GuestPort
let socket: ReturnType<typeof FakeSocket.create>

beforeEach(() => {
  port = new GuestPort('control', { defaultWaitMs: 30_000 })
  socket = FakeSocket.create()
  port.attach(socket)
})

const receive = (text: string) => socket.receive([Buffer.from(text)])

test('output from before this process connected precedes that of the guest', async () => {
  const restored = new GuestPort('control', {
    defaultWaitMs: 30_000,
    receivedBefore: Buffer.from('booted\n'),
  })
  const mark = restored.mark()
  restored.attach(socket)
  receive('ready\n')
  expect(await restored.waitFor(/booted\nready/)).toBe('booted\nready')
  expect(restored.since(mark)).toBe('ready\n')
})

test('a wait from a mark ignores earlier output of a port', async () => {
  receive('ready 1\n')
  const mark = port.mark()
  const next = port.waitFor(/ready \d/, { from: mark })
  receive('ready 2\n')
  expect(await next).toBe('ready 2')
  expect(await port.waitFor(/ready \d/)).toBe('ready 1')
  expect(port.since(mark)).toBe('ready 2\n')
})

test("a wait from 'now' matches only later output of a port", async () => {
  receive('ready 1\n')
  const next = port.waitFor(/ready \d/, { from: 'now' })
  receive('ready 2\n')
  expect(await next).toBe('ready 2')
})

test('a mark of a port stays valid when older bytes are dropped', async () => {
  receive('first\n')
  const mark = port.mark()
  receive('second\n')
  socket.receive([Buffer.alloc(8 * 1024 ** 2 - 7, 'x')])
  expect(port.since(mark).slice(0, 10)).toBe('second\nxxx')
  socket.receive([Buffer.from('yyyy')])
  expect(port.since(mark).slice(0, 6)).toBe('nd\nxxx')
  expect(port.mark()).toEqual({ offset: 6 + 8 * 1024 ** 2 + 4 })
})

test('a wait for a port that times out reports the output since its mark', async () => {
  receive('ready\n')
  const error = await port.waitFor('ready', { from: 'now', timeout: 20 }).catch((caught) => caught)
  expect(error).toMatchObject({ code: 'WAIT_TIMEOUT' })
  expect(error.details.got).toBe('nothing')
})

test('a wait for a port ends before its test and names that limit', async () => {
  const limited = new GuestPort('control', { defaultWaitMs: 30_000, waitLimit: () => 20 })
  const error = await limited.waitFor('never').catch((caught) => caught)
  expect(error.message).toMatch(/^The guest did not write "never" to the port 'control' within 20 ms\./)
  expect(error.hint).toMatch(/^Increase the timeout of the test/)
})

test('64 MiB in chunks of 4 KiB do not copy the kept output for each chunk', () => {
  const piece = Buffer.alloc(4096, 'x')
  const early = port.received
  for (let count = 0; count < 16_384; count++) socket.receive([piece])
  expect(early).toHaveLength(0)
  expect(port.received).toHaveLength(8 * 1024 ** 2)
}, 20_000)

test('output returned by a port is not changed by later output', () => {
  receive('first')
  const before = port.received
  socket.receive([Buffer.alloc(20 * 1024 ** 2, 'y')])
  receive('last')
  expect(before.toString()).toBe('first')
  expect(port.text.slice(-5)).toBe('ylast')
  expect(port.received).toHaveLength(8 * 1024 ** 2)
})
