import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import ssh2 from 'ssh2'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { CommandOutput } from '../../../../src/channel/command-output.js'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { SshClient } from '../../../../src/channel/ssh/ssh-client.js'
import { fingerprint } from '../../../../src/channel/ssh/ssh-connection.js'
import { createDeferred } from '../../../../src/common/deferred.js'
import { CommandError, vmError } from '../../../../src/errors.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { startSshServer, type TestSshServer } from '../../../support/ssh-server.js'
import { usedHeap } from '../../../support/used-heap.js'

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

describe('connecting over SSH', () => {
  test('an SSH client logs in with a key and a pinned host key, and with a password', async () => {
    const byKey = await connect()
    expect((await byKey.exec('echo key')).stdout).toBe('key')
    const byPassword = await connect({ privateKey: undefined, password: 'secret', hostKey: undefined })
    expect((await byPassword.exec('echo password')).stdout).toBe('password')
    expect(byPassword.hostKey).toEqual(hostKey.publicBlob)
  })

  test('a login with an unknown key is rejected with the name of the user', async () => {
    const stranger = generateSshKeyPair()
    await expect(connect({ privateKey: stranger.privateKey, user: 'eve' })).rejects.toMatchObject({
      code: 'SSH_AUTH_FAILED',
      message: [
        `The SSH server on port ${server.port} rejected the login of eve.`,
        '  Expected: a login with a key',
        '  Got:      All configured authentication methods failed',
        "Fix: Check the user, the user's authorized_keys in the guest, and the modes of that file and its folder.",
      ].join('\n'),
    })
  })

  test('an SSH client logs in with keyboard-interactive and with an encrypted key', async () => {
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

  test('a login with a wrong password is rejected', async () => {
    await expect(connect({ privateKey: undefined, password: 'no' })).rejects.toMatchObject({
      code: 'SSH_AUTH_FAILED',
    })
  })

  test('a changed host key is rejected with both fingerprints', async () => {
    const other = generateSshKeyPair().publicBlob
    await expect(connect({ hostKey: other })).rejects.toMatchObject({
      code: 'SSH_HOST_KEY_CHANGED',
      message: [
        `The host key of the SSH server on port ${server.port} differs from the pinned key.`,
        `  Expected: ${fingerprint(other)}`,
        `  Got:      ${fingerprint(hostKey.publicBlob)}`,
        'Fix: Check whether the guest generated new host keys or another server listens on that port.',
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

  test('an SSH connection to a port without a server is rejected', async () => {
    let closedPort = 0
    await withPeer(createServer(), async (port) => {
      closedPort = port
    })
    await expect(connect({ port: closedPort })).rejects.toMatchObject({
      code: 'SSH_REFUSED',
      message: expect.stringContaining(
        `The SSH connection to 127.0.0.1:${closedPort} failed.\n  Got:      connect ECONNREFUSED 127.0.0.1:${closedPort} (while connecting)\nFix: Check on the serial console`,
      ),
    })
  })

  test('an SSH connection to a silent server is rejected after its timeout', async () => {
    const peer = createServer((socket) => socket.on('error', () => {}))
    await withPeer(peer, async (port) => {
      await expect(connect({ port, timeoutMs: 500 })).rejects.toMatchObject({
        code: 'SSH_REFUSED',
        message: expect.stringContaining('no progress within 500 ms (while waiting for the banner)'),
      })
    })
  })

  test('an SSH connection is rejected at once after a close, a reset or another protocol', async () => {
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

  test('an abort rejects an SSH connection with its reason', async () => {
    const peer = createServer((socket) => socket.on('error', () => {}))
    await withPeer(peer, async (port) => {
      const reason = vmError('QEMU_DIED', { summary: 'QEMU ended', hint: 'none' })
      const controller = new AbortController()
      setTimeout(() => controller.abort(reason), 20)
      await expect(connect({ port, signal: controller.signal })).rejects.toBe(reason)
    })
  })
})

describe('commands over SSH', () => {
  test('an SSH command returns both streams, the exit code and its duration', async () => {
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

  test('an SSH command that fails rejects with both streams in the message', async () => {
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
        'The command `echo half; echo "no such unit" >&2; exit 3` failed after N ms.',
        '  Expected: exit code 0',
        '  Got:      exit code 3',
        '',
        'stdout:',
        '  | half',
        '',
        'stderr:',
        '  | no such unit',
        '',
        'Fix: Check the output of the command. Use `reject: false` if the command may fail.',
      ].join('\n'),
    )
  })

  test('an SSH command that fails returns its result with `reject: false`', async () => {
    const client = await connect()
    expect(await client.exec('exit 7', { reject: false })).toMatchObject({ exitCode: 7, signal: undefined })
  })

  test('an SSH command that is killed has a signal and no exit code', async () => {
    const client = await connect()
    expect(await client.exec('kill -TERM $$', { reject: false })).toMatchObject({
      exitCode: undefined,
      signal: 'SIGTERM',
    })
    await expect(client.exec('kill -KILL $$')).rejects.toThrow('Got:      signal SIGKILL')
  })

  test('the error of an SSH command has a hint for a missing program or network', async () => {
    const client = await connect()
    await expect(client.exec('no-such-program')).rejects.toThrow('Fix: Install the program in the image')
    await expect(client.exec('echo "curl: (6) Could not resolve host: x" >&2; exit 6')).rejects.toThrow(
      'Fix: Set `network: { internet: true }`',
    )
  })

  test('the stdin of an SSH command is a string, bytes, a stream, or empty by default', async () => {
    const client = await connect()
    expect((await client.exec('cat', { stdin: 'zwölf\n' })).stdout).toBe('zwölf')
    expect((await client.exec('wc -c', { stdin: Buffer.alloc(300_000) })).stdout.trim()).toBe('300000')
    expect((await client.exec('cat', { stdin: Readable.from(['a', 'b']) })).stdout).toBe('ab')
    expect((await client.exec('cat')).stdout).toBe('')
  })

  test('an SSH command that ends before it has read its stdin resolves', async () => {
    const client = await connect()
    const endless = new PassThrough()
    endless.write('first\nsecond\n')
    expect((await client.exec('head -n 1', { stdin: endless })).stdout).toBe('first')
    expect((await client.exec('true', { stdin: Buffer.alloc(5_000_000) })).exitCode).toBe(0)
  })

  test('environment variables of an SSH command can have any value, and invalid names are rejected', async () => {
    const client = await connect()
    const value = `it's "$HOME"\n\\`
    expect((await client.exec('printf %s "$A-$B"', { env: { A: value, B: '2' } })).stdout).toBe(`${value}-2`)
    await expect(client.exec('true', { env: { 'A B': '1' } })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
  })

  test('the output of an SSH command is streamed to a function and to a stream', async () => {
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

  test('an SSH command waits for a slow reader of its output', async () => {
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

  test('an SSH command returns raw bytes with `encoding: buffer`', async () => {
    const client = await connect()
    const { stdout } = await client.exec("printf '\\377\\000\\n'", { encoding: 'buffer' })
    expect(stdout).toEqual(Buffer.from([0xff, 0, 0x0a]))
  })

  test('an SSH command may write much output to either stream', async () => {
    const client = await connect()
    const out = await client.exec('head -c 8000000 /dev/zero', { encoding: 'buffer' })
    const err = await client.exec('head -c 8000000 /dev/zero >&2', { encoding: 'buffer' })
    expect([out.stdout.length, err.stderr.length]).toEqual([8_000_000, 8_000_000])
  })

  test('with `collect: false`, an SSH command only forwards its streams, without a limit', async () => {
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

  test('an SSH command whose output exceeds `maxBuffer` is killed', async () => {
    const client = await connect()
    await expect(client.exec('yes', { maxBuffer: 100_000 })).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
      message: expect.stringContaining(
        'The command `yes` was killed: it wrote too much to stdout.\n  Expected: at most 100000 bytes',
      ),
    })
  })

  test('output in pieces of one byte takes no more memory than in large ones', () => {
    const output = new CommandOutput(undefined, 1024 ** 2)
    const before = usedHeap()
    for (let count = 0; count < 1024 ** 2; count++) output.push(Buffer.from('a'))
    expect(usedHeap() - before).toBeLessThan(8 * 1024 ** 2)
    expect(output.push(Buffer.from('b'))).toBe(false)
    expect(output.toBuffer().equals(Buffer.alloc(1024 ** 2, 'a'))).toBe(true)
    expect(output.toBuffer().buffer.byteLength).toBe(1024 ** 2)
  })

  test('an SSH command that exceeds its timeout rejects with its output and is killed', async () => {
    const client = await connect()
    const startedAt = performance.now()
    const error = await client
      .exec('echo $$ >&2; echo begun; exec sleep 60', { timeout: 400 })
      .catch((caught) => caught)
    expect(performance.now() - startedAt).toBeLessThan(2000)
    expect(error).toMatchObject({ code: 'COMMAND_TIMEOUT', stdout: 'begun', exitCode: undefined })
    expect(error.message).toBe(
      [
        'The command `echo $$ >&2; echo begun; exec sleep 60` did not end within 400 ms.',
        '',
        'stdout:',
        '  | begun',
        '',
        'stderr:',
        `  | ${error.stderr}`,
        '',
        'Fix: Raise `timeout`, or check the output above for the reason.',
      ].join('\n'),
    )
    expect((await client.exec('echo still usable')).stdout).toBe('still usable')
    await expect.poll(() => isAlive(Number(error.stderr))).toBe(false)
  })

  test('an aborted SSH command rejects with its output and the reason as the cause', async () => {
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

  test('an SSH command in a guest that dies rejects with the reason of the signal and its output', async () => {
    const client = await connect()
    const controller = new AbortController()
    const stdout = () => controller.abort(vmError('QEMU_DIED', { summary: 'QEMU ended', hint: 'none' }))
    const running = client.exec('echo begun; exec sleep 60', { signal: controller.signal, stdout })
    await expect(running).rejects.toMatchObject({
      code: 'QEMU_DIED',
      message: expect.stringContaining('stdout:\n  | begun'),
    })
  })

  test('an SSH command with an aborted signal never starts', async () => {
    const client = await connect()
    await expect(client.exec('true', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'COMMAND_TIMEOUT',
    })
  })

  test('a lost connection rejects an SSH command with SSH_CLOSED and its output, and later ones at once', async () => {
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

  test('more SSH commands than the server allows can run concurrently', async () => {
    const client = await connect()
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, index) => client.exec(`sleep 0.02; echo ${index}`)),
    )
    expect(results.map((result) => result.stdout)).toEqual(Array.from({ length: 12 }, (_, i) => String(i)))
  })
})

test('an SSH shell reads input, reports its exit code, and can be resized', async () => {
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

test('a transfer to a server without SFTP is rejected with that reason', async () => {
  const client = await connect()
  await expect(client.upload('/etc/hostname', '/tmp/x')).rejects.toMatchObject({
    code: 'TRANSFER_FAILED',
    message: expect.stringContaining('The SSH server in the guest does not support SFTP.'),
  })
})

/** Connects to an SSH server in this process over a unix socket, whose buffers are small. */
async function connectInProcess() {
  const sessions = createDeferred<ServerSide>()
  const ssh = new ssh2.Server({ hostKeys: [hostKey.privateKey], keepaliveInterval: 0 }, (connection) => {
    connection.on('error', () => {}).on('authentication', (context) => context.accept())
    connection.on('ready', () => sessions.resolve(connection as unknown as ServerSide))
  })
  const listener = createServer((peer) => ssh.injectSocket(peer))
  const path = join(ownTmpdir(), 'ssh.sock')
  await new Promise<void>((resolve) => listener.listen(path, resolve))
  onTestFinished(() => void listener.close())
  const socket = createConnection(path)
  const client = await connect({ socket, ciphers: ['aes128-gcm@openssh.com'] })
  return { client, socket, guest: await sessions.promise }
}

interface ServerSide {
  readonly _sock: Socket
  /** `ping()` sends a global request that asks for a reply, as OpenSSH's keepalive. */
  readonly _protocol: { ping(): void }
}

test('an SSH server that sends requests and reads no reply is not read until it does', async () => {
  const { client, socket, guest } = await connectInProcess()
  guest._sock.pause()
  let unsentBytes = 0
  for (let round = 0; round < 200 && !socket.isPaused(); round++) {
    for (let count = 0; count < 2000; count++) guest._protocol.ping()
    while (guest._sock.writableLength > 0 && !socket.isPaused()) await nextTurn()
    unsentBytes = Math.max(unsentBytes, socket.writableLength)
    if (unsentBytes > 6 * 1024 ** 2) break
  }
  expect(socket.isPaused()).toBe(true)
  expect(unsentBytes).toBeLessThan(5 * 1024 ** 2)
  guest._sock.resume()
  await expect.poll(() => [socket.isPaused(), socket.writableLength], { timeout: 10_000 }).toEqual([false, 0])
  expect(client.isClosed).toBe(false)
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
