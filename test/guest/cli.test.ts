import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli, runCli } from '../support/built-cli.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const MAIN = new URL('../../dist/src/cli/main.js', import.meta.url).pathname

beforeAll(buildCli)

test('`withvm run` exits with the exit code of the command and connects its streams', async () => {
  const tmpdir = ownTmpdir()
  const command = ['run', '-q', 'tiny', 'cat; echo to stderr >&2; exit 7']
  const result = await execa(process.execPath, [MAIN, ...command], {
    reject: false,
    input: 'from stdin\n',
    env: { TMPDIR: tmpdir },
  })
  expect(result).toMatchObject({ stdout: 'from stdin', stderr: 'to stderr', exitCode: 7 })
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('`withvm run` passes arguments unchanged and exits with 128 plus the signal number', async () => {
  const words = ['run', '-q', '-m', '300M', 'tiny', 'printf', '%s|', 'a b', '$HOME', "it's"]
  expect((await runCli(words)).stdout).toBe("a b|$HOME|it's|")
  expect((await runCli(['run', '-q', 'tiny', 'kill -TERM $$'])).exitCode).toBe(143)
})

test('`withvm run` restores the guest from a template unless --cold is given', async () => {
  const wasRestored = 'test -p /run/withvm/restored && echo yes || echo no'
  expect((await runCli(['run', '-q', 'tiny', '--', wasRestored])).stdout).toBe('yes')
  expect((await runCli(['run', '-q', '--cold', 'tiny', '--', wasRestored])).stdout).toBe('no')
})

test('`withvm run` streams output while the command is running', async () => {
  const child = execa(process.execPath, [MAIN, 'run', '-q', 'tiny', '--', 'echo first; sleep 30'], {
    reject: false,
  })
  const first = await new Promise((resolve) => child.stdout.once('data', resolve))
  expect(String(first)).toBe('first\n')
  child.kill('SIGTERM')
  expect((await child).signal).toBe('SIGTERM')
})

test('`withvm run` exits with 2 and reports all invalid options', async () => {
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
  expect(stderr).toMatch(/--memory: expected/)
  expect(stderr).toMatch(/--cpus: expected/)
  expect(stderr).toMatch(/--hostfwd: expected/)
})

/** Runs `withvm boot` on its own terminal and types. Returns the complete output of the terminal. */
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

test('`withvm boot` opens a shell on a terminal and exits with its exit code', async () => {
  const shown = await onTerminal('tiny', [[/# /, 'tty; stty size; exit 5\r']])
  expect(shown).toMatch(/\/dev\/pts\/\d+\s+24 80/)
  expect(shown).toContain('exit code 5')
})

test('`withvm boot --console` shows the serial console from the first byte until Ctrl-]', async () => {
  const shown = await onTerminal('--console tiny', [
    [/# /, 'echo the answer is $((6 * 7))\r'],
    [/the answer is 42/, '\x1d'],
  ])
  expect(shown).toContain('withvm: init')
  expect(shown).toContain('exit code 0')
})

test('`withvm boot` exits when the guest powers off', async () => {
  const shown = await onTerminal('--console tiny', [[/# /, 'poweroff\r']])
  expect(shown).toContain('exit code 0')
})
