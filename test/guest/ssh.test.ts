import { createHash, randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect } from 'vitest'
import { CommandError, launchVM } from 'withvm'
import { eventually } from '../support/eventually.js'
import { countProcesses } from '../support/guest-processes.js'
import { guestTest } from '../support/guest-test.js'
import { maskMessage, rejection } from '../support/messages.js'

const test = guestTest({ image: 'tiny' })

describe('template', () => {
  test('each value in the vm.ssh template is quoted and passed unchanged', async ({ vm }) => {
    const words = [
      `it's`,
      '"two words"',
      'line 1\nline 2',
      '$HOME `id` $(id)',
      '',
      '*',
      '\\',
      '--x; reboot',
      'ünïcödé 🦊',
    ]
    for (const word of words) expect((await vm.ssh`printf '%s|' ${word}`).stdout).toBe(`${word}|`)
    const joined = await vm.ssh`printf '%s|' ${words}`
    expect(joined.stdout).toBe(words.map((word) => `${word}|`).join(''))
  })

  test('the literal text of the vm.ssh template is interpreted by the shell', async ({ vm }) => {
    expect((await vm.ssh`echo $((6 * 7)) | tr 4 5 && echo ${1} ${2n}`).stdout).toBe('52\n1 2')
  })

  test('a value of the vm.ssh template without a text form is rejected before the command runs', async ({
    vm,
  }) => {
    await expect(vm.ssh`echo ${undefined as never}`).rejects.toThrow(
      new TypeError(
        'Argument 1 of the command is of type undefined: expected a string, a number or an array of these.',
      ),
    )
    expect(await rejection(vm.ssh(undefined as never))).toMatchObject({ code: 'INVALID_OPTIONS' })
    expect((await vm.ssh`echo well`).stdout).toBe('well')
  })
})

describe('results', () => {
  test('the result of vm.ssh contains the command, stdout, stderr, the exit code and the duration', async ({
    vm,
  }) => {
    const result = await vm.ssh('echo out; echo err >&2; echo more')
    expect(result).toEqual({
      command: 'echo out; echo err >&2; echo more',
      stdout: 'out\nmore',
      stderr: 'err',
      exitCode: 0,
      signal: undefined,
      durationMs: expect.any(Number),
    })
    expect(result.durationMs).toBeGreaterThan(0)
  })

  test('a failed command rejects with its exit code and output', async ({ vm }) => {
    const error = await rejection(vm.ssh`echo half; echo 'no such thing' >&2; exit 3`)
    expect(error).toBeInstanceOf(CommandError)
    expect(error).toMatchObject({
      code: 'COMMAND_FAILED',
      kind: 'command',
      exitCode: 3,
      signal: undefined,
      stdout: 'half',
      stderr: 'no such thing',
    })
    expect(maskMessage(error)).toMatchInlineSnapshot(`
      "The command \`echo half; echo 'no such thing' >&2; exit 3\` failed after TIME.
        Expected: exit code 0
        Got:      exit code 3

      stdout:
        | half

      stderr:
        | no such thing

      Fix: Check the output of the command. Use \`reject: false\` if the command may fail."
    `)
  })

  test('a command whose program is missing rejects with a hint to install it', async ({ vm }) => {
    expect(maskMessage(await rejection(vm.ssh`frobnicate --all`))).toMatchInlineSnapshot(`
      "The command \`frobnicate --all\` failed after TIME.
        Expected: exit code 0
        Got:      exit code 127

      stderr:
        | sh: frobnicate: not found

      Fix: Install the program in the image, or specify its path: the shell of the guest did not find it."
    `)
  })

  test('with `reject: false`, a failed command resolves', async ({ vm }) => {
    expect(await vm.ssh('echo half; exit 3', { reject: false })).toMatchObject({
      stdout: 'half',
      exitCode: 3,
    })
  })

  test('a command that was ended by a signal has that signal and no exit code', async ({ vm }) => {
    const ended = await vm.ssh('echo before; kill -SEGV $$', { reject: false })
    expect(ended).toMatchObject({ stdout: 'before', exitCode: undefined, signal: 'SIGSEGV' })
    const error = await rejection(vm.ssh`kill -KILL $$`)
    expect(error).toMatchObject({ code: 'COMMAND_FAILED', signal: 'SIGKILL' })
    expect(maskMessage(error)).toMatchInlineSnapshot(`
      "The command \`kill -KILL $$\` failed after TIME.
        Expected: exit code 0
        Got:      signal SIGKILL
      Fix: Look for \`Out of memory\` on the serial console, and raise \`memory\`: the kernel may have killed the command."
    `)
  })

  test('a command that needs the internet fails with a hint to enable it', async ({ vm }) => {
    // The address of the guest may change until its DHCP client has finished.
    await vm.serial.waitFor(/withvm: network/)
    const error = await rejection(vm.ssh`nc -w 2 8.8.8.8 53`)
    expect(error).toMatchObject({
      hint: 'Set `network: { internet: true }`: by default, a guest cannot reach the internet.',
    })
  })
})

describe('input and output', () => {
  test('stdin of a command is empty by default, or a string, bytes or a stream', async ({ vm }) => {
    const digest = 'md5sum | cut -d" " -f1'
    const md5 = (data: string | Buffer) => createHash('md5').update(data).digest('hex')
    const bytes = randomBytes(300_000)
    expect((await vm.ssh('cat; echo end')).stdout).toBe('end')
    expect((await vm.ssh('cat', { stdin: 'typed\n' })).stdout).toBe('typed')
    expect((await vm.ssh(digest, { stdin: bytes })).stdout).toBe(md5(bytes))
    const chunks = Array.from({ length: 10 }, (_, index) => `chunk ${index}\n`)
    expect((await vm.ssh(digest, { stdin: Readable.from(chunks) })).stdout).toBe(md5(chunks.join('')))
  })

  test('a command that does not read its stdin ends normally', async ({ vm }) => {
    expect((await vm.ssh('echo done', { stdin: randomBytes(1_000_000) })).stdout).toBe('done')
  })

  test('environment variables of `env` are passed unchanged', async ({ vm }) => {
    const env = { GREETING: `it's "so" $HOME\nand so`, EMPTY: '' }
    const { stdout } = await vm.ssh('printf %s "$GREETING"; env | grep ^EMPTY=', { env })
    expect(stdout).toBe(`${env.GREETING}EMPTY=`)
  })

  test('output is passed to callbacks while the command runs', async ({ vm }) => {
    const chunks: string[] = []
    let firstAt = 0
    const startedAt = performance.now()
    const { stdout, stderr } = await vm.ssh('echo first; sleep 2; echo second; echo third >&2', {
      stdout: (text) => {
        firstAt ||= performance.now() - startedAt
        chunks.push(text)
      },
      stderr: (text) => chunks.push(`stderr: ${text}`),
    })
    const tookMs = performance.now() - startedAt
    expect(chunks.slice().sort()).toEqual(['first\n', 'second\n', 'stderr: third\n'])
    expect(tookMs - firstAt).toBeGreaterThan(1500)
    expect([stdout, stderr]).toEqual(['first\nsecond', 'third'])
  })

  test('5 MiB of output are returned completely', async ({ vm }) => {
    const bytes = 5 * 1024 ** 2
    const { stdout } = await vm.ssh(`yes 0123456789abcde | head -c ${bytes}`)
    expect(stdout.length).toBe(bytes - 1)
    expect(stdout).toBe('0123456789abcde\n'.repeat(bytes / 16).slice(0, -1))
  })

  test('with `encoding: "buffer"`, binary output is returned unchanged', async ({ vm }) => {
    const bytes = randomBytes(100_000)
    const { stdout, stderr } = await vm.ssh('cat; printf "\\377\\n" >&2', {
      stdin: bytes,
      encoding: 'buffer',
    })
    expect(stdout.equals(bytes)).toBe(true)
    expect(stderr).toEqual(Buffer.from([0xff, 0x0a]))
  })

  test('a command whose output exceeds `maxBuffer` is killed', async ({ vm }) => {
    const error = await rejection(vm.ssh('yes flooded', { maxBuffer: 10_000 }))
    expect(error).toMatchObject({ code: 'COMMAND_FAILED' })
    expect((error as CommandError).stdout).toMatch(/^(flooded\n){1249}flooded$/)
    await eventually(async () => expect(await countProcesses(vm, 'yes.flooded')).toBe(0))
  })
})

describe('timeouts and aborts', () => {
  test('a command that times out is killed in the guest, and the error contains its output', async ({
    vm,
  }) => {
    const error = await rejection(vm.ssh('echo waiting for it; sleep 4242; echo over', { timeout: '1s' }))
    expect(error).toMatchObject({ code: 'COMMAND_TIMEOUT', stdout: 'waiting for it', exitCode: undefined })
    expect(maskMessage(error)).toMatchInlineSnapshot(`
      "The command \`echo waiting for it; sleep 4242; echo over\` did not end within TIME.

      stdout:
        | waiting for it

      Fix: Raise \`timeout\`, or check the output above for the reason."
    `)
    await eventually(async () => expect(await countProcesses(vm, '4242')).toBe(0))
  })

  test('`timeouts.command` is the default timeout of commands', async () => {
    await using vm = await launchVM({ image: 'tiny', timeouts: { command: '3s' }, log: () => {} })
    const error = await rejection(vm.ssh`exec sleep 4343`)
    expect(error.message).toMatch(/^The command `exec sleep 4343` did not end within 3 s\.\n/)
  })

  test('a command that is aborted is killed in the guest', async ({ vm }) => {
    const controller = new AbortController()
    const running = rejection(vm.ssh('echo started; sleep 4444', { signal: controller.signal }))
    await eventually(async () => expect(await countProcesses(vm, '4444')).toBeGreaterThan(0))
    controller.abort(new Error('no longer needed'))
    const error = await running
    expect(error).toMatchObject({
      code: 'COMMAND_TIMEOUT',
      stdout: 'started',
      cause: new Error('no longer needed'),
    })
    await eventually(async () => expect(await countProcesses(vm, '4444')).toBe(0))
  })

  test('an abort does not affect other commands with the same text', async ({ vm }) => {
    const controller = new AbortController()
    // Each command consists of a shell and a sleep process.
    const command = 'sleep 4545; echo $(echo slept)'
    const options = { timeout: '1m' } as const
    const others = [vm.ssh(command, options), vm.ssh(command, options)]
    const aborted = rejection(vm.ssh(command, { ...options, signal: controller.signal }))
    const after = vm.ssh(command, options)
    await eventually(async () => expect(await countProcesses(vm, 'sleep.4545')).toBe(8))
    controller.abort()
    await aborted
    await eventually(async () => expect(await countProcesses(vm, 'sleep.4545')).toBe(6))
    await vm.exec('killall sleep')
    for (const { stdout } of await Promise.all([...others, after])) expect(stdout).toBe('slept')
  })

  test('a command whose signal is already aborted is not run', async ({ vm }) => {
    const signal = AbortSignal.abort(new Error('too late'))
    await rejection(vm.ssh('touch /root/was-run', { signal }))
    expect((await vm.ssh('ls /root/was-run', { reject: false })).exitCode).toBe(1)
  })
})

describe('connections', () => {
  test('20 concurrent commands share one SSH connection', async ({ vm }) => {
    const numbers = Array.from({ length: 20 }, (_, index) => index)
    const results = await Promise.all(
      numbers.map((number) => vm.ssh`sleep 0.2; echo ${number} $SSH_CONNECTION`),
    )
    expect(results.map(({ stdout }) => Number(stdout.split(' ')[0]))).toEqual(numbers)
    const connections = new Set(results.map(({ stdout }) => stdout.slice(stdout.indexOf(' '))))
    expect(connections.size).toBe(1)
  })

  test('`user` runs a command as another user', async ({ vm }) => {
    await vm.ssh(
      'mkdir -p /home/user/.ssh && cp /root/.ssh/authorized_keys /home/user/.ssh/ && chown -R user /home/user && chmod 755 /home/user',
    )
    const { stdout } = await vm.ssh('id -un; pwd', { user: 'user' })
    expect(stdout).toBe('user\n/home/user')
    expect((await vm.ssh`id -un`).stdout).toBe('root')
  })

  test('a user that the guest does not accept is reported as SSH_AUTH_FAILED', async ({ vm }) => {
    const error = await rejection(vm.ssh('id', { user: 'nobody' }))
    expect(error).toMatchObject({ code: 'SSH_AUTH_FAILED', kind: 'guest' })
    expect(maskMessage(error)).toMatchInlineSnapshot(`
      "The SSH server on port PORT rejected the login of nobody.
        Expected: a login with a key
        Got:      All configured authentication methods failed
      Fix: Check the user, the user's authorized_keys in the guest, and the modes of that file and its folder."
    `)
  })

  test('vm.ssh reconnects after the SSH server was restarted', async ({ vm }) => {
    const before = (await vm.ssh`echo $SSH_CONNECTION`).stdout
    const cut = rejection(vm.ssh`sleep 4545`)
    await vm.exec('killall -9 dropbear; sleep 0.1; dropbear -s -R -p 22')
    expect(await cut).toMatchObject({ code: 'SSH_CLOSED', kind: 'guest' })
    const after = (await vm.ssh`echo $SSH_CONNECTION`).stdout
    expect(after).toMatch(/ 22$/)
    expect(after).not.toBe(before)
  })

  test('ssh.shell() opens an interactive shell on a terminal', async ({ vm }) => {
    const shell = await vm.ssh.shell({ columns: 91, rows: 33 })
    let shown = ''
    shell.stream.on('data', (chunk: Buffer) => {
      shown += chunk.toString()
    })
    shell.stream.write('stty size; echo $TERM; exit 7\n')
    expect(await shell.ended).toEqual({ exitCode: 7, signal: undefined })
    expect(shown).toMatch(/33 91\r\nxterm-256color\r\n/)
  })

  test('sshCommandLine contains the command for a manual login, and its files are private', async ({
    vm,
  }) => {
    expect(vm.sshCommandLine).toBe(
      `ssh -p ${vm.hostPort(22)} -i ${vm.runFolder}/id_ed25519 -o UserKnownHostsFile=${vm.runFolder}/known_hosts -o HostKeyAlias=tiny -o IdentitiesOnly=yes root@127.0.0.1`,
    )
    const known = await readFile(join(vm.runFolder, 'known_hosts'), 'utf8')
    expect(known).toMatch(/^\* ssh-ed25519 [A-Za-z0-9+/]+=*( .*)?\n$/)
    expect((await stat(join(vm.runFolder, 'id_ed25519'))).mode & 0o777).toBe(0o600)
    expect((await stat(vm.runFolder)).mode & 0o777).toBe(0o700)
  })
})
