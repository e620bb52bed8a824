import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ProjectRun, runVitest } from '../support/vitest-project.js'

/** Typical mistakes, with the test that makes each of them. Each statement that fails ends with `// here`. */
const SOURCE = `import type { VM } from 'withvm'
import { image, withVM } from 'withvm'

test.describe('shared', () => {
  test.override({ vmScope: 'file' })

  test('failing command', async ({ vm }) => {
    interface Folder { readonly path: string }
    const list = async ({ path }: Folder) => {
      await vm.ssh\`ls \${path}\` // here
    }
    await list({ path: '/absent' })
  })
  test('failing matcher', async ({ vm }) => {
    await expect(vm).toHaveFile('/etc/absent', { timeout: 10_000 }) // here
  })
  test('failing command matcher', async ({ vm }) => {
    await expect(vm.ssh\`echo one\`).toPrint('two') // here
  })
  test('timeout in a command', { timeout: 20_000 }, async ({ vm }) => {
    await vm.ssh\`echo begun; sleep 1000\` // here
  })
  test('timeout in a wait', { timeout: 15_000 }, async ({ vm }) => {
    await vm.waitFor.file('/etc/absent') // here
  })
  test('timeout in a matcher', { timeout: 15_000 }, async ({ vm }) => {
    await expect(vm.serial).toSee('never printed') // here
  })
  test('port that is not forwarded', async ({ vm }) => {
    await fetch(vm.url(8080)) // here
  })
  test('full disk', async ({ vm }) => {
    await vm.ssh\`fallocate -l 100G /root/large\` // here
  })
  test('missing await of a command', async ({ vm }) => {
    vm.ssh\`sleep 1000\` // here
    await vm.ssh\`true\`
  })
  test('missing await of a command that fails', async ({ vm }) => {
    vm.ssh\`false\` // here
    await vm.ssh\`sleep 1\`
  })
  test('missing await of a matcher', async ({ vm }) => {
    expect(vm).toHaveFile('/etc/absent') // here
  })
  test('handled calls', async ({ vm }) => {
    const first = vm.ssh\`true\`
    await Promise.all([first, vm.ssh\`true\`])
    vm.ssh\`sleep 1000\`.catch(() => {})
    await expect(vm.ssh\`false\`).rejects.toThrow()
    const wait = vm.waitFor.serial('never printed', { timeout: '1m' })
    await Promise.race([wait, vm.ssh\`true\`])
  })
  test('wrong key', async ({ vm }) => {
    await vm.ssh('true', { user: 'daemon' }) // here
  })
  test('sshd stopped', async ({ vm }) => {
    await vm.exec('killall dropbear')
    await vm.ssh\`true\` // here
  })
  test('panic', async ({ vm }) => {
    await vm.ssh\`echo c >/proc/sysrq-trigger\` // here
  })
})

test('misspelled option', async ({ launch }) => {
  await launch({ memry: '512M' } as object) // here
})
test('tiny memory', async ({ launch }) => {
  await launch({ memory: 5 }) // here
})
test('missing image', async () => {
  await withVM({ image: './absent.qcow2' }, () => {}) // here
})
test('missing await of withVM()', async () => {
  withVM({ image: 'tiny' }, async (vm) => { // here
    await vm.ssh\`true\`
  })
})
test('missing await in a preparation', async () => {
  const prepared = image('tiny').prepare((vm) => {
    vm.ssh\`sleep 1000\` // here
  })
  await withVM({ image: prepared }, () => {})
})
test('use after dispose', async () => {
  const vm = await withVM({ image: 'tiny' }, (vm: VM) => vm)
  await vm.ssh\`true\` // here
})
`

let folder: string
let run: ProjectRun

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wt-mistakes-'))
  run = await runVitest(folder, SOURCE)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

/** Returns the part of the report about a test. */
function reportOf(title: string): string {
  const [report] = run.output
    .split(/⎯\[\d+\/\d+\]⎯/)
    .filter((part) => part.includes(`${title}\n`))
    .slice(-1)
  return (
    report?.slice(report.indexOf(' FAIL ')) ?? expect.unreachable(`no report of ${title}:\n${run.output}`)
  )
}

/** Returns the line of the test that makes a mistake. */
function lineOf(title: string): number {
  const lines = run.read('some.test.ts').split('\n')
  const start = lines.findIndex((line) => line.includes(`test('${title}'`))
  return lines.findIndex((line, index) => index >= start && line.endsWith('// here')) + 1
}

const NOISE =
  /SeaBIOS|nothing was printed|Whole log|Caused by|Serialized Error: \{[^}]*(stdout|hint|evidence|details)|❯ [^\n]*(src|fixtures)\//

test.each([
  [
    'failing command',
    [
      /^CommandError: The command `ls \/absent` failed after/m,
      'stderr:\n  | ls: /absent: No such file or directory',
    ],
  ],
  [
    'failing matcher',
    [/expect\(vm\)\.toHaveFile\('\/etc\/absent'.*\) failed after/, 'Received: no such file'],
  ],
  ['failing command matcher', [/expect\(command\)\.toPrint\('two'\) failed after/, 'stdout:\n  | one']],
  [
    'timeout in a command',
    [
      /The command `echo begun; sleep 1000` was still running after [\d.]+ s, when its test was about to time out\./,
      'stdout:\n  | begun',
      /Processes in the guest:\n(.|\n)*\| .* sleep 1000\n/,
      'Fix: Increase the timeout of the test',
    ],
  ],
  [
    'timeout in a wait',
    [/Timed out after .* waiting for the file \/etc\/absent to exist\./, 'Got:      no such file'],
  ],
  [
    'port that is not forwarded',
    ['The tcp port 8080 of the guest is not forwarded.', 'Fix: Add { guest: 8080 } to `hostfwd`.'],
  ],
  ['full disk', [/Got: +exit code 1/, 'Fix: Free space in the guest or use a larger disk']],
  [
    'missing await of a command',
    [
      'UsageError: A call was not awaited when the test ended.',
      /\| vm\.ssh`sleep 1000`, running for/,
      'Fix: Write `await`',
    ],
  ],
  [
    'missing await of a command that fails',
    [
      'A call was not awaited when the test ended.',
      /\| vm\.ssh`false`, failed: The command `false` failed after/,
    ],
  ],
  [
    'missing await of a matcher',
    ['A call was not awaited when the test ended.', "expect(vm).toHaveFile('/etc/absent'), running for"],
  ],
  [
    'missing await in a preparation',
    ['A call was not awaited when the preparation of the image ended.', '| vm.ssh`sleep 1000`'],
  ],
  ['missing await of withVM()', ['A call was not awaited when the test ended.', 'withVM(), running for']],
  [
    'sshd stopped',
    [/The SSH connection to .* failed\./, 'Fix: Check that the SSH server in the guest still runs'],
  ],
  [
    'wrong key',
    [
      /The SSH server on port \d+ rejected the login of daemon\./,
      "Fix: Check the user, the user's authorized_keys",
    ],
  ],
  ['misspelled option', ["memry: expected 'memory', got an unknown option"]],
  [
    'tiny memory',
    ["memory: expected an amount of memory such as '512M', '2G', or a number of MiB, at least 16 MiB, got 5"],
  ],
  ['missing image', ['The image ./absent.qcow2 was not found.', /Got: +nothing at .*absent\.qcow2/]],
  ['use after dispose', ['The guest was disposed of.']],
] as const)(
  'the report of a typical mistake shows the line of the test and the cause, without noise: %s',
  (title, parts) => {
    const report = reportOf(title)
    for (const part of parts) {
      if (typeof part === 'string') expect(report).toContain(part)
      else expect(report).toMatch(part)
    }
    expect(report).toMatch(new RegExp(` ❯ .*some\\.test\\.ts:${lineOf(title)}:\\d+\\n`))
    expect(report).toMatch(new RegExp(`\\n +${lineOf(title)}\\|.*\\n +\\| +\\^\\n`))
    expect(report).not.toMatch(NOISE)
  },
)

// The console explains these failures.
test.each([
  [
    'timeout in a matcher',
    /expect\(vm\.serial\)\.toSee\('never printed'\) failed after .*\n\n.*\n +Received: other lines, the last /,
  ],
  ['panic', /GuestError: The guest's kernel panicked\.\n +Got: .*sysrq triggered crash/],
] as const)(
  'the report of a failure that the console explains has its lines and the line of the test: %s',
  (title, message) => {
    const report = reportOf(title)
    expect(report).toMatch(message)
    expect(report).toMatch(new RegExp(` ❯ .*some\\.test\\.ts:${lineOf(title)}:\\d+\\n`))
    expect(report).toContain('Serial console, last lines:')
    expect(report).not.toContain('Caused by')
    if (title === 'panic') expect(report).not.toContain('SeaBIOS')
  },
)

test('calls that are handled without `await` fail no test, and nothing fails outside of a test', () => {
  expect(run.output).toMatch(/✓ handled calls/)
  expect(run.output).not.toContain('Unhandled')
  expect(run.output).toMatch(/Tests +20 failed \| 1 passed/)
})
