import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { readExecStatus, readPid } from '../../../src/channel/agent/exec-replies.js'
import { GuestAgent } from '../../../src/channel/agent/guest-agent.js'
import { parseObject } from '../../../src/channel/json-lines.js'
import { QmpClient } from '../../../src/channel/qmp/qmp-client.js'
import { ScreenTerminal } from '../../../src/channel/serial/screen-terminal.js'
import { SerialConsole } from '../../../src/channel/serial/serial-console.js'
import { VMError } from '../../../src/errors.js'
import { DiskUse } from '../../../src/vm/machine/disk-use.js'
import { GuestWatch } from '../../../src/vm/watch/guest-watch.js'
import { ByteFuzzer, FUZZ, fuzz } from '../../support/byte-fuzzer.js'
import { FakeSocket } from '../../support/fake-socket.js'

/** Time limit that allows for a million inputs, milliseconds. */
const TIMEOUT_MS = 30_000 + FUZZ.inputs

const AWKWARD = [
  'null',
  '[]',
  '{}',
  '{"a":',
  '\n',
  '\r\n',
  '\u0000',
  '"\\ud800"',
  '[[[[[[[[',
  '\xff\xfe',
  '-1',
  '1e999',
]

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\n'

const THRESHOLD = { 'node-name': 'overlay', 'write-threshold': 65_536, 'amount-exceeded': 1 }

/** Sends the greeting of QEMU and the response to the command that ends the negotiation. */
async function greet(socket: FakeSocket): Promise<void> {
  socket.receive([Buffer.from(GREETING)])
  for (let turn = 0; turn < 20; turn++) await undefined
  socket.receive([Buffer.from('{"return": {}, "id": 1}\n')])
  for (let turn = 0; turn < 20; turn++) await undefined
}

/** Values of each type, including objects that cannot be converted to a string or a number. */
const WRONG_VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  'text',
  [],
  {},
  { toString: 0, valueOf: 0 },
  [{ toString: 0 }],
]

/** Returns lines with variants of a message, each with a value of a wrong type in one field at any depth. */
function wrongTypes(message: object): string[] {
  return variants(message).map((variant) => `${JSON.stringify(variant)}\n`)
}

function variants(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [...WRONG_VALUES]
  const inner = Object.entries(value).flatMap(([name, field]) =>
    variants(field).map((variant) => ({ ...value, [name]: variant })),
  )
  return [...WRONG_VALUES, ...inner]
}

test(
  'QMP: random input ends a command with a result or QMP_FAILED',
  async () => {
    const samples = [
      GREETING,
      '{"return": {}, "id": 1}\n',
      '{"return": {"status": "running", "running": true}, "id": 2}\n',
      '{"error": {"class": "GenericError", "desc": "no"}, "id": 2}\n',
      '{"error": null, "id": 2}\n',
      '{"QMP": null}\n',
      '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true}}\n',
      '{"event": "BLOCK_IO_ERROR", "data": null}\n',
      ...wrongTypes({ id: 2, error: { class: 'GenericError', desc: 'no' } }),
      ...wrongTypes({
        event: 'BLOCK_WRITE_THRESHOLD',
        data: THRESHOLD,
        timestamp: { seconds: 1, microseconds: 2 },
      }),
      ...wrongTypes(JSON.parse(GREETING)),
      ...AWKWARD,
    ]
    const fuzzer = new ByteFuzzer(samples, FUZZ.seed)
    await fuzz(0.25, fuzzer, async (bytes) => {
      const socket = FakeSocket.create()
      const use = new DiskUse(1024)
      use.add({ node: 'overlay', path: '/dev/null' })
      const client = QmpClient.negotiate(socket, { timeoutMs: 60_000 })
      const outcome = client.then(
        async (qmp) => {
          qmp.on('RESET', (event) => void event.data.guest)
          const reply = qmp.execute('query-status').catch((error: unknown) => error)
          use.watch(qmp, () => {})
          socket.receive(fuzzer.split(fuzzer.next()))
          qmp.close()
          return reply
        },
        (error: unknown) => error,
      )
      if (fuzzer.random() < 0.7) await greet(socket)
      socket.receive(fuzzer.split(bytes))
      socket.destroy()
      const ended = await outcome
      if (ended instanceof Error) expect(ended).toMatchObject({ code: 'QMP_FAILED' })
    })
  },
  TIMEOUT_MS,
)

test(
  'agent: random input ends a command with a valid response or an error',
  async () => {
    const samples = [
      '\xff{"return": 17}\n',
      '{"return": {"pid": 812}}\n',
      '{"return": {"exited": true, "exitcode": 0, "out-data": "aGVsbG8K"}}\n',
      '{"return": {"exited": true, "signal": 9, "err-data": {"length": 4000000000}}}\n',
      '{"error": {"class": "CommandNotFound", "desc": "\\u001b[2J"}}\n',
      '{"error": null}\n',
      ...wrongTypes({ error: { class: 'GenericError', desc: 'no' } }),
      ...wrongTypes({ return: { pid: 812 } }),
      ...wrongTypes({
        return: { exited: true, exitcode: 0, 'out-data': 'aGVsbG8K', 'err-truncated': false },
      }),
      ...AWKWARD,
    ]
    const fuzzer = new ByteFuzzer(samples, FUZZ.seed)
    await fuzz(0.25, fuzzer, async (bytes) => {
      const socket = FakeSocket.create()
      const agent = new GuestAgent()
      // Sync requests are answered correctly, other requests with random bytes.
      const write = socket.write.bind(socket)
      socket.write = ((data: string | Buffer) => {
        const id = /"id":(\d+)/.exec(String(data))?.[1]
        if (id !== undefined)
          queueMicrotask(() => socket.receive([Buffer.from(`\xff{"return": ${id}}\n`, 'latin1')]))
        else if (String(data).includes('execute')) queueMicrotask(() => socket.receive(fuzzer.split(bytes)))
        return write(data)
      }) as typeof socket.write
      agent.attach(socket)
      const reply = agent
        .execute('guest-exec')
        .then(readPid)
        .catch((error: unknown) => error)
      for (let turn = 0; turn < 20; turn++) await undefined
      agent.close()
      const pid = await reply
      if (pid instanceof Error) expect(pid).toBeInstanceOf(VMError)
      else expect(pid).toSatisfy(Number.isSafeInteger)
      for (const line of bytes.toString().split('\n'))
        readStatus(parseObject<{ return?: unknown }>(line)?.return)
    })
  },
  TIMEOUT_MS,
)

function readStatus(reply: unknown): void {
  try {
    const status = readExecStatus(reply)
    for (const text of [status['out-data'], status['err-data']]) Buffer.from(text ?? '', 'base64')
  } catch (error) {
    expect(error).toMatchObject({ code: 'AGENT_FAILED' })
  }
}

const CONSOLE = [
  '\x1b[1;31mred\x1b[0m\r\n',
  '\x1b]0;title\x07',
  '\x1b]8;;http://host/\x1b\\link',
  '\x1bP1$r0m\x1b\\',
  '\x1b[999999999;999999999H',
  '\x1b[999999999S',
  '\x1b[?1049h\x1b[2J',
  '\x9b31m\x90\x9c',
  'progress 1\rprogress 2\n',
  'login: ',
  '[    0.5] Kernel panic - not syncing: VFS\n',
  '(initramfs) ',
  '\xc3\xa9\xf0\x9f\x98\x80\xed\xa0\x80\xc0\x80',
  `\x1b[${'1;'.repeat(300)}m`,
  `\x1b]${'x'.repeat(3000)}`,
  'x'.repeat(2000),
  '\n\r\n\r',
  '\x1b',
]

test(
  'serial: random output results in plain lines that do not depend on the chunks',
  async () => {
    const fuzzer = new ByteFuzzer(
      CONSOLE.map((text) => Buffer.from(text, 'latin1')),
      FUZZ.seed,
    )
    await fuzz(0.2, fuzzer, (bytes) => {
      const [whole, pieces] = [new SerialConsole(), new SerialConsole()]
      const watch = new GuestWatch()
      watch.follow(pieces)
      const sockets = [FakeSocket.create(), FakeSocket.create()] as const
      whole.attach(sockets[0])
      pieces.attach(sockets[1])
      sockets[0].receive([bytes])
      sockets[1].receive(fuzzer.split(bytes))
      for (const socket of sockets) socket.destroy()
      expect(pieces.lines()).toEqual(whole.lines())
      expect(whole.lines().join('')).not.toMatch(/(?!\t)\p{Cc}/u)
      whole.tail(30)
      watch.finish()
      for (const console of [whole, pieces]) console.close()
    })
  },
  TIMEOUT_MS,
)

test(
  'screen: random output does not change the number of rows',
  async () => {
    const fuzzer = new ByteFuzzer(
      CONSOLE.map((text) => Buffer.from(text, 'latin1')),
      FUZZ.seed,
    )
    const replies: string[] = []
    const hooks = { onDrawn: () => {}, onReply: (text: string) => replies.push(text) }
    const terminal = await ScreenTerminal.open(80, 24, hooks)
    terminal.sendsReplies = true
    await fuzz(0.05, fuzzer, async (bytes) => {
      terminal.push(bytes.toString('latin1'))
      await terminal.flushed()
      expect(terminal.lines).toHaveLength(24)
    })
    await sleep(1)
    expect(replies.every((reply) => reply.length < 1000)).toBe(true)
  },
  TIMEOUT_MS,
)

test('QMP: a value of a wrong type in any field is rejected or ignored', async () => {
  const messages = [
    { id: 2, error: { class: 'GenericError', desc: 'no' } },
    { event: 'BLOCK_WRITE_THRESHOLD', data: THRESHOLD, timestamp: { seconds: 1, microseconds: 2 } },
  ]
  for (const line of messages.flatMap(wrongTypes)) {
    const socket = FakeSocket.create()
    const negotiating = QmpClient.negotiate(socket, { timeoutMs: 60_000 })
    await greet(socket)
    const qmp = await negotiating
    const reply = qmp.execute('query-status').catch((error: unknown) => error)
    const use = new DiskUse(1024)
    use.add({ node: 'overlay', path: '/dev/null' })
    use.watch(qmp, () => {})
    expect(() => socket.receive([Buffer.from(line)]), line).not.toThrow()
    qmp.close()
    const ended = await reply
    if (ended instanceof Error) expect(ended).toMatchObject({ code: 'QMP_FAILED' })
  }
})
