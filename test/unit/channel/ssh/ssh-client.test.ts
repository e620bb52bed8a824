import { type AddressInfo, createServer, type Server } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import ssh2 from 'ssh2'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { SshClient } from '../../../../src/channel/ssh/ssh-client.js'
import { fingerprint } from '../../../../src/channel/ssh/ssh-connection.js'
import { CommandError, vmError } from '../../../../src/errors.js'
import { startSshServer, type TestSshServer } from '../../../support/ssh-server.js'

const hostKey = generateSshKeyPair()
const clientKey = generateSshKeyPair()
let server: TestSshServer
const open: SshClient[] = []

beforeAll(async () => {
  server = await startSshServer({
    hostKey,
    authorized: [clientKey.publicBlob],
    password: 'secret',
    maxSessions: 4,
    sftp: false,
  })
})
afterEach(() => {
  for (const client of open.splice(0)) client.close()
})
afterAll(() => server.close())

async function connect(options: Partial<Parameters<typeof SshClient.connect>[0]> = {}): Promise<SshClient> {
  const client = await SshClient.connect({
    port: server.port,
    privateKey: clientKey.privateKey,
    hostKey: hostKey.publicBlob,
    timeoutMs: 5000,
    ...options,
  })
  open.push(client)
  return client
}

describe('connecting', () => {
  test('logs in by key to a server whose host key is pinned, and by password', async () => {
    const byKey = await connect()
    expect((await byKey.exec('echo key')).stdout).toBe('key')
    const byPassword = await connect({ privateKey: undefined, password: 'secret', hostKey: undefined })
    expect((await byPassword.exec('echo password')).stdout).toBe('password')
    expect(byPassword.hostKey).toEqual(hostKey.publicBlob)
  })

  test('rejects a key that the server does not know, naming the user', async () => {
    const stranger = generateSshKeyPair()
    await expect(connect({ privateKey: stranger.privateKey, user: 'eve' })).rejects.toMatchObject({
      code: 'SSH_AUTH_FAILED',
      message: [
        `the SSH server on port ${server.port} refused the login of eve`,
        '  Expected: a login by a key',
        '  Got:      All configured authentication methods failed',
        "Fix: Check the user, and that the key is in this user's authorized_keys, with modes that the server accepts.",
      ].join('\n'),
    })
  })

  test('logs in by a password that is asked for by questions alone, and by a key that a passphrase opens', async () => {
    const passphrase = 'open sesame'
    const encrypted = ssh2.utils.generateKeyPairSync('ed25519', {
      cipher: 'aes256-ctr',
      passphrase,
      rounds: 4,
    })
    const authorized = [Buffer.from(encrypted.public.split(' ')[1] as string, 'base64')]
    const options = { hostKey: generateSshKeyPair(), password: 'secret' }
    const servers = [
      await startSshServer({ ...options, isInteractive: true }),
      await startSshServer({ ...options, authorized }),
    ] as const
    onTestFinished(async () => void (await Promise.all(servers.map((server) => server.close()))))
    const timeoutMs = 5000
    const asked = await SshClient.connect({ port: servers[0].port, user: 'u', password: 'secret', timeoutMs })
    expect((await asked.exec('echo asked')).stdout).toBe('asked')
    const { private: privateKey } = encrypted
    const opened = await SshClient.connect({
      port: servers[1].port,
      user: 'u',
      privateKey,
      passphrase,
      timeoutMs,
    })
    expect((await opened.exec('echo opened')).stdout).toBe('opened')
    for (const client of [asked, opened]) client.close()
  })

  test('rejects a wrong password', async () => {
    await expect(connect({ privateKey: undefined, password: 'no' })).rejects.toMatchObject({
      code: 'SSH_AUTH_FAILED',
    })
  })

  test('rejects a changed host key with both fingerprints', async () => {
    const other = generateSshKeyPair().publicBlob
    await expect(connect({ hostKey: other })).rejects.toMatchObject({
      code: 'SSH_HOST_KEY_CHANGED',
      message: [
        `the SSH server on port ${server.port} showed another host key than the pinned one`,
        `  Expected: ${fingerprint(other)}`,
        `  Got:      ${fingerprint(hostKey.publicBlob)}`,
        'Fix: Something else answers on that port, or the guest made itself new host keys.',
      ].join('\n'),
    })
  })

  async function withPeer(peer: Server, body: (port: number) => Promise<void>): Promise<void> {
    await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve))
    try {
      await body((peer.address() as AddressInfo).port)
    } finally {
      peer.close()
    }
  }

  test('rejects a port on which nothing listens', async () => {
    let closedPort = 0
    await withPeer(createServer(), async (port) => {
      closedPort = port
    })
    await expect(connect({ port: closedPort })).rejects.toMatchObject({
      code: 'SSH_REFUSED',
      message: expect.stringContaining(
        `no SSH connection to 127.0.0.1:${closedPort}\n  Got:      connect ECONNREFUSED 127.0.0.1:${closedPort} (while connecting)\nFix: Check on the serial console`,
      ),
    })
  })

  test('rejects a server that accepts and is silent, in the time that was given', async () => {
    const peer = createServer((socket) => socket.on('error', () => {}))
    await withPeer(peer, async (port) => {
      await expect(connect({ port, timeoutMs: 500 })).rejects.toMatchObject({
        code: 'SSH_REFUSED',
        message: expect.stringContaining(
          'no progress within 500 ms (before it said that it is an SSH server)',
        ),
      })
    })
  })

  test('rejects at once when the server closes without a word, resets, or speaks another protocol', async () => {
    for (const answer of ['', 'reset', 'HTTP/1.1 400 Bad Request\r\n\r\n']) {
      const peer = createServer((socket) => {
        socket.on('error', () => {})
        if (answer === 'reset') socket.resetAndDestroy()
        else socket.end(answer)
      })
      await withPeer(peer, async (port) => {
        await expect(connect({ port })).rejects.toMatchObject({ code: 'SSH_REFUSED' })
      })
    }
  })

  test('an abort ends it with its reason', async () => {
    const peer = createServer((socket) => socket.on('error', () => {}))
    await withPeer(peer, async (port) => {
      const reason = vmError('QEMU_DIED', { summary: 'QEMU ended', hint: 'none' })
      const controller = new AbortController()
      setTimeout(() => controller.abort(reason), 20)
      await expect(connect({ port, signal: controller.signal })).rejects.toBe(reason)
    })
  })
})

describe('a command', () => {
  test('gives both streams, the exit code and how long it took', async () => {
    const client = await connect()
    const result = await client.exec('echo out; echo err >&2; sleep 0.05')
    expect(result).toEqual({
      command: 'echo out; echo err >&2; sleep 0.05',
      stdout: 'out',
      stderr: 'err',
      exitCode: 0,
      signal: undefined,
      durationMs: expect.any(Number),
    })
    expect(result.durationMs).toBeGreaterThan(40)
  })

  test('that fails rejects with both streams in the message', async () => {
    const client = await connect()
    const error = await client.exec('echo half; echo "no such unit" >&2; exit 3').catch((caught) => caught)
    expect(error).toBeInstanceOf(CommandError)
    expect(error).toMatchObject({
      code: 'COMMAND_FAILED',
      exitCode: 3,
      stdout: 'half',
      stderr: 'no such unit',
    })
    expect(error.message.replace(/after \d+ ms/, 'after N ms')).toBe(
      [
        'the command `echo half; echo "no such unit" >&2; exit 3` failed after N ms',
        '  Expected: exit code 0',
        '  Got:      exit code 3',
        '',
        'stdout:',
        '  | half',
        '',
        'stderr:',
        '  | no such unit',
        '',
        'Fix: See its output. Use `reject: false` to get the result of a command that may fail.',
      ].join('\n'),
    )
  })

  test('that fails gives its result with reject: false', async () => {
    const client = await connect()
    expect(await client.exec('exit 7', { reject: false })).toMatchObject({ exitCode: 7, signal: undefined })
  })

  test('that a signal ends has a signal and no exit code', async () => {
    const client = await connect()
    expect(await client.exec('kill -TERM $$', { reject: false })).toMatchObject({
      exitCode: undefined,
      signal: 'SIGTERM',
    })
    await expect(client.exec('kill -KILL $$')).rejects.toThrow('Got:      signal SIGKILL')
  })

  test('that is not found, or lacks the network, gets a hint that says so', async () => {
    const client = await connect()
    await expect(client.exec('no-such-program')).rejects.toThrow(
      "Fix: The guest's shell did not find the program",
    )
    await expect(client.exec('echo "curl: (6) Could not resolve host: x" >&2; exit 6')).rejects.toThrow(
      'Fix: A guest has no network to the outside unless asked for',
    )
  })

  test('reads text, bytes and a stream as its stdin, and an empty one without', async () => {
    const client = await connect()
    expect((await client.exec('cat', { stdin: 'zwölf\n' })).stdout).toBe('zwölf')
    expect((await client.exec('wc -c', { stdin: Buffer.alloc(300_000) })).stdout.trim()).toBe('300000')
    expect((await client.exec('cat', { stdin: Readable.from(['a', 'b']) })).stdout).toBe('ab')
    expect((await client.exec('cat')).stdout).toBe('')
  })

  test('that ends before it has read its stdin does not hang or throw', async () => {
    const client = await connect()
    const endless = new PassThrough()
    endless.write('first\nsecond\n')
    expect((await client.exec('head -n 1', { stdin: endless })).stdout).toBe('first')
    expect((await client.exec('true', { stdin: Buffer.alloc(5_000_000) })).exitCode).toBe(0)
  })

  test('gets variables with any value, and a name that is none is an error', async () => {
    const client = await connect()
    const value = `it's "$HOME"\n\\`
    expect((await client.exec('printf %s "$A-$B"', { env: { A: value, B: '2' } })).stdout).toBe(`${value}-2`)
    await expect(client.exec('true', { env: { 'A B': '1' } })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
  })

  test('streams its output while it runs, to a function and to a stream', async () => {
    const client = await connect()
    const seen: string[] = []
    const sink = new PassThrough()
    const result = await client.exec('printf "a\\303"; sleep 0.05; printf "\\244b"; echo err >&2', {
      stdout: (text) => seen.push(text),
      stderr: sink,
    })
    expect(seen.join('')).toBe('aäb')
    expect(seen[0]).toBe('a')
    expect(sink.read().toString()).toBe('err\n')
    expect(result.stdout).toBe('aäb')
  })

  test('waits for a slow reader of its output', async () => {
    const client = await connect()
    const sink = new PassThrough({ highWaterMark: 1000 })
    let bytes = 0
    sink.on('data', (chunk) => {
      bytes += chunk.length
    })
    await client.exec('head -c 3000000 /dev/zero', { stdout: sink, encoding: 'buffer' })
    await new Promise(setImmediate)
    expect(bytes).toBe(3_000_000)
  })

  test('gives bytes as they are with encoding: buffer', async () => {
    const client = await connect()
    const { stdout } = await client.exec("printf '\\377\\000\\n'", { encoding: 'buffer' })
    expect(stdout).toEqual(Buffer.from([0xff, 0, 0x0a]))
  })

  test('may write much to either stream', async () => {
    const client = await connect()
    const out = await client.exec('head -c 8000000 /dev/zero', { encoding: 'buffer' })
    const err = await client.exec('head -c 8000000 /dev/zero >&2', { encoding: 'buffer' })
    expect([out.stdout.length, err.stderr.length]).toEqual([8_000_000, 8_000_000])
  })

  test('that is not to be collected only passes its streams on, however long they get', async () => {
    const client = await connect()
    let length = 0
    const stdout = (text: string) => {
      length += text.length
    }
    const result = await client.exec('head -c 300000 /dev/zero; echo bad >&2', {
      collect: false,
      maxBuffer: 1000,
      stdout,
    })
    expect(result).toMatchObject({ stdout: '', stderr: '', exitCode: 0 })
    expect(length).toBe(300_000)
  })

  test('that writes more than maxBuffer is killed', async () => {
    const client = await connect()
    await expect(client.exec('yes', { maxBuffer: 100_000 })).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
      message: expect.stringContaining(
        'the command `yes` was killed: it wrote too much to stdout\n  Expected: at most 100000 bytes',
      ),
    })
  })

  test('that outlives its timeout rejects in time with the output so far, and is killed', async () => {
    const client = await connect()
    const startedAt = performance.now()
    const error = await client
      .exec('echo $$ >&2; echo begun; exec sleep 60', { timeout: 400 })
      .catch((caught) => caught)
    expect(performance.now() - startedAt).toBeLessThan(2000)
    expect(error).toMatchObject({ code: 'COMMAND_TIMEOUT', stdout: 'begun', exitCode: undefined })
    expect(error.message).toBe(
      [
        'the command `echo $$ >&2; echo begun; exec sleep 60` did not end within 400 ms',
        '',
        'stdout:',
        '  | begun',
        '',
        'stderr:',
        `  | ${error.stderr}`,
        '',
        'Fix: Give it a longer `timeout`, or see in its output so far what it waits for.',
      ].join('\n'),
    )
    expect((await client.exec('echo still usable')).stdout).toBe('still usable')
    await expect.poll(() => isAlive(Number(error.stderr))).toBe(false)
  })

  test('that is aborted rejects with the output so far; the reason is the cause', async () => {
    const client = await connect()
    const reason = new Error('enough')
    const controller = new AbortController()
    const stdout = () => controller.abort(reason)
    const running = client.exec('echo begun; exec sleep 60', { signal: controller.signal, stdout })
    await expect(running).rejects.toMatchObject({
      code: 'COMMAND_TIMEOUT',
      stdout: 'begun',
      cause: reason,
    })
  })

  test('whose guest dies rejects with the reason that the signal carries, and the output so far', async () => {
    const client = await connect()
    const controller = new AbortController()
    const stdout = () => controller.abort(vmError('QEMU_DIED', { summary: 'QEMU ended', hint: 'none' }))
    const running = client.exec('echo begun; exec sleep 60', { signal: controller.signal, stdout })
    await expect(running).rejects.toMatchObject({
      code: 'QEMU_DIED',
      message: expect.stringContaining('stdout:\n  | begun'),
    })
  })

  test('on a signal that has aborted already never starts', async () => {
    const client = await connect()
    await expect(client.exec('true', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'COMMAND_TIMEOUT',
    })
  })

  test('whose connection is cut rejects with SSH_CLOSED and the output so far; later ones at once', async () => {
    const client = await connect()
    const running = client.exec('echo begun; exec sleep 60', { stdout: () => server.cut() })
    await expect(running).rejects.toMatchObject({
      code: 'SSH_CLOSED',
      message: expect.stringContaining('stdout:\n  | begun'),
    })
    await expect(client.exec('true')).rejects.toMatchObject({ code: 'SSH_CLOSED' })
    await expect(client.closed).rejects.toMatchObject({ code: 'SSH_CLOSED' })
    expect(client.isClosed).toBe(true)
  })

  test('may run at the same time as more others than the server takes', async () => {
    const client = await connect()
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, index) => client.exec(`sleep 0.02; echo ${index}`)),
    )
    expect(results.map((result) => result.stdout)).toEqual(Array.from({ length: 12 }, (_, i) => String(i)))
  })
})

test('a shell takes what is typed, tells its exit code, and can be resized', async () => {
  const client = await connect()
  const shell = await client.shell({ columns: 100, rows: 30 })
  shell.resize(120, 40)
  let shown = ''
  shell.stream.on('data', (chunk) => {
    shown += chunk
  })
  shell.stream.write('echo typed; exit 4\n')
  expect(await shell.ended).toEqual({ exitCode: 4, signal: undefined })
  expect(shown).toContain('typed')
})

test('a transfer to a server without SFTP says so', async () => {
  const client = await connect()
  await expect(client.upload('/etc/hostname', '/tmp/x')).rejects.toMatchObject({
    code: 'TRANSFER_FAILED',
    message: expect.stringContaining('the SSH server in the guest offers no SFTP'),
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
