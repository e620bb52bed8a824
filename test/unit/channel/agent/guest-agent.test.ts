import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GuestAgent } from '../../../../src/channel/agent/guest-agent.js'
import { listenUnix, type UnixListener } from '../../../../src/channel/unix-listener.js'
import { vmError } from '../../../../src/errors.js'
import { type AgentPeer, startAgentPeer } from '../../../support/agent-peer.js'

let directory: string
let listener: UnixListener
let agent: GuestAgent
let peer: AgentPeer

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'withvm-agent-'))
  listener = await listenUnix(join(directory, 's'))
  agent = new GuestAgent()
  await powerOn()
})

afterEach(async () => {
  peer.socket.destroy()
  agent.close()
  await listener.close()
  rmSync(directory, { recursive: true })
})

async function powerOn(): Promise<void> {
  peer = startAgentPeer(listener.path)
  agent.attach(await listener.accept({ timeoutMs: 1000 }))
}

describe('protocol of the guest agent', () => {
  test('the agent is synchronized once, before the first command', async () => {
    await agent.ping()
    await agent.ping()
    expect(peer.received).toEqual(['guest-sync-delimited', 'guest-ping', 'guest-ping'])
  })

  test('concurrent agent commands run one at a time', async () => {
    const results = await Promise.all(['a', 'b', 'c'].map((word) => agent.exec(`echo ${word}`)))
    expect(results.map((result) => result.stdout)).toEqual(['a', 'b', 'c'])
  })

  test('an agent that starts late may respond to every repeated sync request', async () => {
    peer.isSilent = true
    const pinging = agent.ping({ timeoutMs: 5000 })
    await new Promise((resolve) => setTimeout(resolve, 300))
    peer.isSilent = false
    peer.stale.push('{"return": 17}\n', '\xff{"return": 18}\n')
    await pinging
    expect((await agent.exec('echo fine')).stdout).toBe('fine')
  })

  test('the next agent command succeeds after one without a response, despite late responses', async () => {
    await agent.ping()
    peer.isSilent = true
    await expect(agent.execute('guest-ping', {}, { timeoutMs: 30 })).rejects.toMatchObject({
      code: 'AGENT_UNAVAILABLE',
      message: [
        'The guest agent does not respond.',
        '  Got:      no response to guest-ping within 30 ms',
        'Fix: Check that the guest has booted and runs qemu-guest-agent, which stock cloud images do not contain.',
      ].join('\n'),
    })
    peer.isSilent = false
    peer.stale.push('{"return": {"late": true}}\n', '{"ret')
    expect((await agent.exec('echo back')).stdout).toBe('back')
  })

  test('a closed agent connection rejects the running command, and a new connection works', async () => {
    await agent.ping()
    peer.isSilent = true
    const lost = agent.ping()
    setTimeout(() => peer.socket.destroy(), 20)
    await expect(lost).rejects.toThrow('Got:      the end of its connection')
    await expect(agent.ping()).rejects.toThrow('Got:      no connection')
    await powerOn()
    await agent.ping()
  })

  test('an unknown agent command is rejected with the error of the agent', async () => {
    await expect(agent.execute('guest-dance')).rejects.toMatchObject({
      code: 'AGENT_FAILED',
      message: [
        'The guest agent rejected guest-dance.',
        '  Got:      CommandNotFound: The command guest-dance has not been found',
        'Fix: Check the version and the configuration of the agent, which may block the command (Red Hat: BLACKLIST_RPC).',
      ].join('\n'),
    })
  })

  test('`shutdown()` resolves without a response and rejects on an error of the agent', async () => {
    await agent.shutdown()
    await expect(agent.shutdown('halt')).rejects.toThrow('Got:      GenericError: no init here')
    await agent.ping()
  })
})

describe('`exec()` of the guest agent', () => {
  test('`exec()` returns streams, exit code and signal like SSH', async () => {
    expect(await agent.exec('echo out; echo err >&2')).toEqual({
      command: 'echo out; echo err >&2',
      stdout: 'out',
      stderr: 'err',
      exitCode: 0,
      signal: undefined,
      durationMs: expect.any(Number),
    })
    expect(await agent.exec('kill -USR1 $$', { reject: false })).toMatchObject({
      exitCode: undefined,
      signal: 'SIGUSR1',
    })
    await expect(agent.exec('exit 3')).rejects.toMatchObject({ code: 'COMMAND_FAILED', exitCode: 3 })
  })

  test('`exec()` passes stdin and variables to the command and forwards its output', async () => {
    const sink = new PassThrough()
    const seen: string[] = []
    const { stdout } = await agent.exec('cat; printf %s "$A"; echo e >&2', {
      stdin: Readable.from(['in ', 'put ']),
      env: { A: "it's" },
      stdout: (text) => seen.push(text),
      stderr: sink,
    })
    expect(stdout).toBe("in put it's")
    expect(seen).toEqual(["in put it's"])
    expect(sink.read().toString()).toBe('e\n')
  })

  test('`exec()` transfers 5 MB of stdin and returns it as bytes', async () => {
    const stdin = Buffer.alloc(5_000_000, 'xyz')
    const { stdout } = await agent.exec('cat', { stdin, encoding: 'buffer' })
    expect(stdout.equals(stdin)).toBe(true)
  })

  test('`exec()` rejects when the output exceeds `maxBuffer`', async () => {
    await expect(agent.exec('head -c 5000 /dev/zero', { maxBuffer: 1000 })).rejects.toThrow(
      'The command `head -c 5000 /dev/zero` was killed: it wrote too much to stdout',
    )
  })

  test('`exec()` rejects after `timeout` and kills the command and its children', async () => {
    const pidFile = join(directory, 'pid')
    const command = `sleep 60 & echo $! > ${pidFile}; wait`
    await expect(agent.exec(command, { timeout: 300 })).rejects.toMatchObject({
      code: 'COMMAND_TIMEOUT',
      message: expect.stringContaining('did not end within 300 ms'),
    })
    await expect
      .poll(
        async () =>
          (await agent.exec(`grep -q 'State:.[RS]' /proc/$(cat ${pidFile})/status`, { reject: false }))
            .exitCode,
        {
          timeout: 5000,
        },
      )
      .not.toBe(0)
  })

  test('`exec()` rejects with the reason of its signal after the death of the guest', async () => {
    const controller = new AbortController()
    const reason = vmError('QEMU_DIED', { summary: 'QEMU ended', hint: 'none' })
    setTimeout(() => controller.abort(reason), 50)
    await expect(agent.exec('sleep 60', { signal: controller.signal })).rejects.toBe(reason)
  })
})

describe('a hostile guest', () => {
  /** Makes the peer send a line instead of the response to the next command. */
  async function answerWith(line: string): Promise<void> {
    await agent.ping()
    peer.stale.push(line)
  }

  test.each([
    ['{"return": null}', 'null as the result of guest-exec'],
    ['{"return": {"pid": "1; reboot"}}', '{"pid":"1; reboot"} as the result of guest-exec'],
    ['{"return": {"pid": -1}}', '{"pid":-1} as the result of guest-exec'],
    ['{"no": 1}', 'a response to guest-exec without a result'],
    ['[]', 'a response to guest-exec without a result'],
  ])('the response %s to guest-exec is reported in the error', async (line, got) => {
    await answerWith(`${line}\n`)
    const error = await agent.exec('true').catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code: 'AGENT_FAILED', kind: 'guest' })
    expect((error as Error).message).toContain(got)
  })

  test.each(['{"return": null}', '{"return": {"pid": "1"}}', '[]', '{"no": 1}'])(
    'the response %s fails only its command: the next one succeeds',
    async (line) => {
      await answerWith(`${line}\n`)
      await expect(agent.exec('true')).rejects.toMatchObject({ code: 'AGENT_FAILED' })
      expect((await agent.exec('echo well')).stdout).toBe('well')
    },
  )

  test('output data that is not a string fails the command', async () => {
    await agent.ping()
    const running = agent.exec('sleep 0.2').catch((failure: unknown) => failure)
    await expect.poll(() => peer.received).toContain('guest-exec')
    peer.stale.push('{"return": {"exited": true, "out-data": {"length": 2000000000}}}\n')
    expect(await running).toMatchObject({ code: 'AGENT_FAILED' })
  })

  test.each([
    'null',
    '"no"',
    '{"class": {"toString": 0}, "desc": "no"}',
    '{"class": "GenericError", "desc": {"toString": 0}}',
  ])('the error object %s fails the command with AGENT_FAILED', async (error) => {
    await answerWith(`{"error": ${error}}\n`)
    await expect(agent.execute('guest-info')).rejects.toMatchObject({
      code: 'AGENT_FAILED',
      details: { got: 'an invalid error object for guest-info' },
    })
  })

  test('escape sequences in an error of the agent are escaped in the message', async () => {
    await answerWith('{"error": {"class": "GenericError", "desc": "\\u001b]0;owned\\u0007\\u009b2J"}}\n')
    const error = await agent.execute('guest-info').catch((failure: unknown) => failure as Error)
    expect((error as Error).message).toContain('GenericError: \\u001b]0;owned\\u0007\\u009b2J')
  })

  test('a response longer than the limit fails only its command', async () => {
    await answerWith(`{"return": "${'x'.repeat(2 * 1024 * 1024)}"}\n`)
    await expect(agent.execute('guest-info')).rejects.toThrow(
      'Got:      a line that is longer than any response',
    )
    await agent.ping()
  })

  test('a deeply nested object is not accepted as a response', async () => {
    await agent.ping()
    peer.isSilent = true
    const asked = agent.execute('guest-exec', {}, { timeoutMs: 1000 }).catch((failure: unknown) => failure)
    peer.socket.write(`{"return":${'{"pid":'.repeat(20_000)}1${'}'.repeat(20_000)}}\n`)
    expect(await asked).toMatchObject({ code: 'AGENT_UNAVAILABLE' })
    peer.isSilent = false
    await agent.ping()
  })

  test('a flood of unexpected messages is reported in the error', async () => {
    peer.isSilent = true
    peer.socket.write('{"return": 17}\n'.repeat(5000))
    await expect(agent.ping({ timeoutMs: 400 })).rejects.toThrow(
      /Got: {6}no response to guest-ping within 400 ms, but \d{4,} unexpected messages/,
    )
  })
})
