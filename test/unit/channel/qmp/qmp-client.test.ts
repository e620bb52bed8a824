import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { QmpClient } from '../../../../src/channel/qmp/qmp-client.js'
import { listenUnix, type UnixListener } from '../../../../src/channel/unix-listener.js'

let directory: string
let listener: UnixListener
let qemu: ChildProcess | undefined

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'withvm-qmp-'))
  listener = await listenUnix(join(directory, 'qmp'))
})

afterEach(async () => {
  if (qemu !== undefined && qemu.exitCode === null && qemu.signalCode === null) {
    qemu.kill('SIGKILL')
    await once(qemu, 'exit')
  }
  qemu = undefined
  await listener.close()
  rmSync(directory, { recursive: true })
})

async function startQemu(): Promise<QmpClient> {
  qemu = spawn(
    'qemu-system-x86_64',
    [
      ...['-S', '-M', 'none', '-display', 'none', '-nodefaults', '-no-user-config', '-accel', 'tcg'],
      ...['-chardev', `socket,id=qmp,path=${listener.path}`, '-mon', 'chardev=qmp,mode=control'],
    ],
    { stdio: 'ignore' },
  )
  return QmpClient.negotiate(await listener.accept({ timeoutMs: 10_000 }), { timeoutMs: 10_000 })
}

/** Starts a peer whose messages are defined by the test. */
async function startPeer(says: string) {
  const peer = connect(listener.path)
  peer.on('error', () => {})
  peer.write(says)
  if (says === GREETING) peer.once('data', () => peer.write('{"return":{},"id":1}\r\n'))
  const socket = await listener.accept({ timeoutMs: 1000 })
  return { peer, socket }
}

const GREETING =
  '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0},"package":""},"capabilities":[]}}\r\n'

describe('QMP with a real QEMU', () => {
  test('QEMU reports its version in the greeting and responds to typed commands', async () => {
    const qmp = await startQemu()
    expect(qmp.greeting.version.qemu.major).toBeGreaterThanOrEqual(7)
    expect(await qmp.execute('query-status')).toMatchObject({ status: 'prelaunch', running: false })
    expect((await qmp.execute('query-version')).qemu).toEqual(qmp.greeting.version.qemu)
  })

  test('concurrent QMP commands receive their own results', async () => {
    const qmp = await startQemu()
    const [machines, status, name, types] = await Promise.all([
      qmp.execute('query-machines'),
      qmp.execute('query-status'),
      qmp.execute('query-name'),
      qmp.execute('qom-list-types', { implements: 'cpu' }),
    ])
    expect(machines.map((machine) => machine.name)).toContain('none')
    expect(status.status).toBe('prelaunch')
    expect(name).toEqual({})
    expect(types.length).toBeGreaterThan(1)
  })

  test('an untyped QMP command with a long response succeeds', async () => {
    const qmp = await startQemu()
    const schema = (await qmp.execute('query-qmp-schema')) as unknown[]
    expect(schema.length).toBeGreaterThan(100)
  })

  test('an unknown QMP command is rejected with the class and description of QEMU', async () => {
    const qmp = await startQemu()
    await expect(qmp.execute('no-such-thing')).rejects.toMatchObject({
      code: 'QMP_FAILED',
      message: [
        'The QMP command no-such-thing failed.',
        '  Got:      CommandNotFound: The command no-such-thing has not been found',
        'Fix: Use a command that this QEMU supports: `query-commands` lists them.',
      ].join('\n'),
    })
  })

  test('a QMP event is passed to waits, to its listeners and to listeners of all events', async () => {
    const qmp = await startQemu()
    const seen: string[] = []
    qmp.on('RESUME', ({ event }) => seen.push(`on ${event}`))
    const off = qmp.on('RESUME', () => seen.push('never'))
    qmp.onAny(({ event }) => seen.push(`any ${event}`))
    off()
    const resumed = qmp.waitForEvent('RESUME')
    await qmp.execute('cont')
    expect((await resumed).timestamp.seconds).toBeGreaterThan(0)
    expect(seen).toEqual(['on RESUME', 'any RESUME'])
  })

  test('pending QMP commands are rejected when QEMU is killed', async () => {
    const qmp = await startQemu()
    const event = qmp.waitForEvent('SHUTDOWN')
    qemu?.kill('SIGKILL')
    await expect(event).rejects.toMatchObject({ code: 'QMP_FAILED' })
    await expect(qmp.execute('query-status')).rejects.toThrow(
      'The QMP command query-status failed.\n  Got:      a closed QMP connection',
    )
    await expect(qmp.closed).rejects.toThrow('The QMP connection is closed: ')
  })

  test('a QEMU that is started after a killed one connects to the same socket', async () => {
    await startQemu()
    const first = qemu as ChildProcess
    first.kill('SIGKILL')
    await once(first, 'exit')
    const qmp = await startQemu()
    expect((await qmp.execute('query-status')).status).toBe('prelaunch')
  })
})

describe('QMP with an invalid peer', () => {
  test('a greeting that is not QMP is quoted in the error', async () => {
    const { socket } = await startPeer('220 mail ready\r\n')
    await expect(QmpClient.negotiate(socket, { timeoutMs: 1000 })).rejects.toThrow(
      'QEMU did not send a greeting on its QMP socket.\n  Expected: `{"QMP": {"version": …}}`\n  Got:      220 mail ready',
    )
  })

  test('a silent QMP peer ends the negotiation after its timeout', async () => {
    const { socket } = await startPeer('')
    await expect(QmpClient.negotiate(socket, { timeoutMs: 50 })).rejects.toThrow('nothing for 50 ms')
    expect(socket.destroyed).toBe(true)
  })

  test('a closed connection ends the QMP negotiation at once', async () => {
    const { socket, peer } = await startPeer('')
    const negotiating = QmpClient.negotiate(socket, { timeoutMs: 5000 })
    peer.destroy()
    await expect(negotiating).rejects.toThrow('the end of the connection: closed by the peer')
  })

  test('a QMP command without a response times out, and a late response is ignored', async () => {
    const { socket, peer } = await startPeer(GREETING)
    const qmp = await QmpClient.negotiate(socket, { timeoutMs: 1000 })
    await expect(qmp.execute('stop', {}, { timeoutMs: 30 })).rejects.toThrow('no response within 30 ms')
    peer.write('{"return":{},"id":2}\r\n{"return":{"late":false},"id":3}\r\n')
    expect(await qmp.execute('query-later')).toEqual({ late: false })
  })

  test('a line that is not QMP closes the connection and is quoted in the error', async () => {
    const { socket, peer } = await startPeer(GREETING)
    const qmp = await QmpClient.negotiate(socket, { timeoutMs: 1000 })
    const pending = qmp.execute('stop')
    peer.write('garbage\n')
    await expect(pending).rejects.toThrow('QEMU sent a line that is not QMP: garbage')
  })

  test.each([
    '{"id":2,"error":{"class":{"toString":0},"desc":"x"}}',
    '{"id":2,"error":{"class":"GenericError","desc":{"toString":0}}}',
    '{"event":{"toString":0},"data":{}}',
    '{"event":"STOP","data":[]}',
    '{"event":"STOP","timestamp":{"seconds":{"toString":0}}}',
  ])('the message %s closes the QMP connection without an uncaught error', async (line) => {
    const { socket, peer } = await startPeer(GREETING)
    const qmp = await QmpClient.negotiate(socket, { timeoutMs: 1000 })
    const pending = qmp.execute('stop')
    peer.write(`${line}\n`)
    await expect(pending).rejects.toThrow('QEMU sent a line that is not QMP: {')
  })

  test('an event whose listener throws closes the QMP connection with that error', async () => {
    const { socket, peer } = await startPeer(GREETING)
    const qmp = await QmpClient.negotiate(socket, { timeoutMs: 1000 })
    const seen: string[] = []
    qmp.on('STOP', ({ data }) => void `${data.reason}`)
    qmp.onAny(({ event }) => seen.push(event))
    const pending = qmp.execute('stop')
    peer.write('{"event":"STOP","data":{"reason":{"toString":0}}}\n')
    await expect(pending).rejects.toThrow('a listener of the QMP event STOP failed: TypeError: ')
    expect(seen).toEqual(['STOP'])
  })

  test('a QMP line that exceeds the length or nesting limit closes the connection', async () => {
    const long = `{"return":"${'x'.repeat(5 * 1024 * 1024)}"}\r\n`
    const nested = `{"return":${'['.repeat(50_000)}${']'.repeat(50_000)}}\r\n`
    for (const [line, got] of [
      [long, 'QEMU sent a line that is longer than any QMP message'],
      [nested, 'QEMU sent a line that is not QMP: {"return":[[['],
    ] as const) {
      const { peer, socket } = await startPeer(GREETING)
      const qmp = await QmpClient.negotiate(socket, { timeoutMs: 10_000 })
      const answer = qmp.execute('query-status')
      peer.write(line)
      await expect(answer).rejects.toThrow(got)
      expect(qmp.isClosed).toBe(true)
      peer.destroy()
    }
  })
})

test('the text of a QMP error is limited, because patterns are matched against it', async () => {
  const { peer, socket } = await startPeer(GREETING)
  const qmp = await QmpClient.negotiate(socket, { timeoutMs: 1000 })
  peer.once('data', () => {
    peer.write(`{"error":{"class":"GenericError","desc":"${'x'.repeat(100_000)}"},"id":2}\r\n`)
  })
  const error = await qmp.execute('query-status').catch((caught) => caught)
  expect(error.details.got.length).toBeLessThanOrEqual(1000)
})

test('an abort rejects a QMP command and a wait with its reason', async () => {
  const { socket } = await startPeer(GREETING)
  const qmp = await QmpClient.negotiate(socket, { timeoutMs: 1000 })
  const controller = new AbortController()
  const waits = [
    qmp.execute('stop', {}, { signal: controller.signal }),
    qmp.waitForEvent('STOP', { signal: controller.signal }),
  ]
  controller.abort(new Error('enough'))
  for (const wait of waits) await expect(wait).rejects.toThrow('enough')
})

test('QMP traffic is logged in both directions', async () => {
  const { socket } = await startPeer(GREETING)
  const lines: string[] = []
  const log = (direction: string, line: string) => lines.push(`${direction} ${line.slice(0, 30)}`)
  await QmpClient.negotiate(socket, { timeoutMs: 1000, log })
  expect(lines).toEqual([
    'received {"QMP":{"version":{"qemu":{"ma',
    'sent {"execute":"qmp_capabilities",',
    'received {"return":{},"id":1}',
  ])
})
