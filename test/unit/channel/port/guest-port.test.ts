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

test('a wait from a mark passes over what came before it', async () => {
  receive('ready 1\n')
  const mark = port.mark()
  const next = port.waitFor(/ready \d/, { from: mark })
  receive('ready 2\n')
  expect(await next).toBe('ready 2')
  expect(await port.waitFor(/ready \d/)).toBe('ready 1')
  expect(port.since(mark)).toBe('ready 2\n')
})

test("a wait from 'now' waits for what comes", async () => {
  receive('ready 1\n')
  const next = port.waitFor(/ready \d/, { from: 'now' })
  receive('ready 2\n')
  expect(await next).toBe('ready 2')
})

test('a mark stays what it was when older bytes are dropped', async () => {
  receive('first\n')
  const mark = port.mark()
  receive('second\n')
  socket.receive([Buffer.alloc(8 * 1024 ** 2 - 7, 'x')])
  expect(port.since(mark).slice(0, 10)).toBe('second\nxxx')
  socket.receive([Buffer.from('yyyy')])
  expect(port.since(mark).slice(0, 6)).toBe('nd\nxxx')
  expect(port.mark()).toEqual({ offset: 6 + 8 * 1024 ** 2 + 4 })
})

test('a wait that times out tells what came since its mark', async () => {
  receive('ready\n')
  const error = await port.waitFor('ready', { from: 'now', timeout: 20 }).catch((caught) => caught)
  expect(error).toMatchObject({ code: 'WAIT_TIMEOUT' })
  expect(error.details.got).toBe('nothing')
})

test('a wait ends before its test, and says so', async () => {
  const limited = new GuestPort('control', { defaultWaitMs: 30_000, waitLimit: () => 20 })
  const error = await limited.waitFor('never').catch((caught) => caught)
  expect(error.message).toMatch(/^"never" did not come from the port 'control' within 20 ms\./)
  expect(error.hint).toMatch(/^Give the test more time/)
})

test('64 MiB in pieces of 4 KiB cost no copy of all that is kept for each', () => {
  const piece = Buffer.alloc(4096, 'x')
  const early = port.received
  for (let count = 0; count < 16_384; count++) socket.receive([piece])
  expect(early).toHaveLength(0)
  expect(port.received).toHaveLength(8 * 1024 ** 2)
}, 20_000)

test('what a caller has got of a port stays what it was', () => {
  receive('first')
  const before = port.received
  socket.receive([Buffer.alloc(20 * 1024 ** 2, 'y')])
  receive('last')
  expect(before.toString()).toBe('first')
  expect(port.text.slice(-5)).toBe('ylast')
  expect(port.received).toHaveLength(8 * 1024 ** 2)
})
