import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli, runCli } from '../support/built-cli.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const MAIN = new URL('../../dist/src/cli/main.js', import.meta.url).pathname

beforeAll(buildCli)

test('run ends with the exit code of the command, and passes the streams through', async () => {
  const tmpdir = ownTmpdir()
  const command = ['run', '-q', 'tiny', '--', 'cat; echo to stderr >&2; exit 7']
  const result = await execa(process.execPath, [MAIN, ...command], {
    reject: false,
    input: 'from stdin\n',
    env: { TMPDIR: tmpdir },
  })
  expect(result).toMatchObject({ stdout: 'from stdin', stderr: 'to stderr', exitCode: 7 })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('run keeps the arguments of a program as they are, and 128 and the signal where one ended it', async () => {
  const words = ['run', '-q', '-m', '300M', 'tiny', '--', 'printf', '%s|', 'a b', '$HOME', "it's"]
  expect((await runCli(words)).stdout).toBe("a b|$HOME|it's|")
  expect((await runCli(['run', '-q', 'tiny', '--', 'kill -TERM $$'])).exitCode).toBe(143)
})

test('run goes on from a guest that was booted before, unless it is to boot one', async () => {
  const wasFrozen = 'test -p /run/withvm/restored && echo yes || echo no'
  expect((await runCli(['run', '-q', 'tiny', '--', wasFrozen])).stdout).toBe('yes')
  expect((await runCli(['run', '-q', '--cold', 'tiny', '--', wasFrozen])).stdout).toBe('no')
})

test('run streams: the first line is there while the command still runs', async () => {
  const child = execa(process.execPath, [MAIN, 'run', '-q', 'tiny', '--', 'echo first; sleep 30'], {
    reject: false,
  })
  const first = await new Promise((resolve) => child.stdout.once('data', resolve))
  expect(String(first)).toBe('first\n')
  child.kill('SIGTERM')
  expect((await child).signal).toBe('SIGTERM')
})

test('run refuses a wrong guest with 2 and says all that is wrong', async () => {
  const { stderr, exitCode } = await runCli([
    'run',
    '-m',
    '12x',
    '--cpus',
    'many',
    '-p',
    'http',
    'tiny',
    '--',
    'true',
  ])
  expect(exitCode).toBe(2)
  expect(stderr).toMatch(/memory: expected/)
  expect(stderr).toMatch(/cpus: expected/)
  expect(stderr).toMatch(/hostfwd\[0\].guest: expected/)
})

/** Runs `withvm boot` on a terminal of its own, types, and gives all that the terminal showed. */
async function onTerminal(
  args: string,
  steps: ReadonlyArray<readonly [wait: RegExp, type: string]>,
): Promise<string> {
  const child = execa('script', ['-qec', `${process.execPath} ${MAIN} boot ${args}`, '/dev/null'], {
    reject: false,
    timeout: 120_000,
    env: { TERM: 'xterm' },
  })
  let shown = ''
  const rest = [...steps]
  child.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString()
    const step = rest[0]
    if (step === undefined || !step[0].test(shown)) return
    rest.shift()
    child.stdin.write(step[1])
  })
  const { exitCode } = await child
  return `${shown}\nexit code ${exitCode}`
}

test('boot gives a shell on a terminal, and ends with its exit code', async () => {
  const shown = await onTerminal('tiny', [[/# /, 'tty; stty size; exit 5\r']])
  expect(shown).toMatch(/\/dev\/pts\/\d+\s+24 80/)
  expect(shown).toContain('exit code 5')
})

test('boot --console gives the serial console from the first byte on, until Ctrl-]', async () => {
  const shown = await onTerminal('--console tiny', [
    [/# /, 'echo the answer is $((6 * 7))\r'],
    [/the answer is 42/, '\x1d'],
  ])
  expect(shown).toContain('withvm: init')
  expect(shown).toContain('exit code 0')
})

test('boot ends when the guest powers off', async () => {
  const shown = await onTerminal('--console tiny', [[/# /, 'poweroff\r']])
  expect(shown).toContain('exit code 0')
})
