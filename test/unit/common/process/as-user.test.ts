import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildCli } from '../../../support/built-cli.js'
import { writeScript } from '../../../support/run-script.js'

/** Number of the descriptor that the script inherits. Node.js marks only the first descriptors as not inherited. */
const INHERITED = 20

/** Takes the place of `setpriv`: writes a record of how it was started next to itself. */
const RECORDER = `#!/bin/sh
{
  cat /proc/$$/stat
  readlink /proc/$$/cwd
  for fd in /proc/$$/fd/*; do readlink "$fd"; done
  echo
  tr '\\0' '\\n' </proc/$$/environ
} >"$0.record"
`

const SUBJECTS = ['test', 'tool', 'unguarded-tool', 'qemu', 'swtpm', 'guestfwd'] as const

/** Starts every kind of program as another user, each with its own recorder. */
const script = (folder: string) => `
import { connect, createServer } from 'node:net'
import { OpenFolder } from '#dist/src/common/files/open-folder.js'
import { runTool } from '#dist/src/common/process/run-tool.js'
import { mayUse } from '#dist/src/host/user-access.js'
import { ForwardCommand } from '#dist/src/qemu/forward-command.js'
import { QemuProcess } from '#dist/src/qemu/process.js'
import { TpmEmulator } from '#dist/src/qemu/tpm-emulator.js'

const as = (name) => (
  { name, uid: 12345, gid: 12345, hasGroups: false, home: '/home/of-user', setpriv: '${folder}/' + name }
)
const run = await OpenFolder.make('${folder}/run')
const tool = { program: 'true', aptPackage: 'coreutils', why: 'does nothing' }
const common = { tool, args: [], purpose: 'testing', timeoutMs: 60000 }
await mayUse(as('test'), '/', 'x')
await runTool({ ...common, user: as('tool') })
await runTool({ ...common, user: as('unguarded-tool'), endsWithParent: false })
await (await QemuProcess.start({ file: 'true', args: [] }, run, { user: as('qemu') })).exited
const tpm = { program: 'true', version: '2.0', stateDir: '/', sockets: run, endsWithParent: true }
await new TpmEmulator({ ...tpm, user: as('swtpm') }).start().catch(() => {})
createServer({ pauseOnConnect: true }, async (connection) => {
  await ForwardCommand.start('true', connection, { folder: run, user: as('guestfwd') }).ended
  process.exit()
}).listen('${folder}/server.sock', () => connect('${folder}/server.sock'))
`

let folder: string

const isLinux = process.platform === 'linux'

beforeAll(async () => {
  if (!isLinux) return
  await buildCli()
  folder = mkdtempSync(join(tmpdir(), 'wt-'))
  for (const name of SUBJECTS) writeFileSync(join(folder, name), RECORDER, { mode: 0o755 })
  mkdirSync(join(folder, 'closed'), { mode: 0o700 })
  writeFileSync(join(folder, 'secret'), '', { mode: 0o600 })
  const secret = openSync(join(folder, 'secret'), 'r')
  // script(1) runs the program with a terminal of its own.
  const command = `exec '${process.execPath}' '${writeScript(folder, script(folder))}'`
  await execa('script', ['-qec', command, '/dev/null'], {
    cwd: join(folder, 'closed'),
    env: { CI_JOB_TOKEN: 'secret' },
    stdio: ['ignore', 'pipe', 'pipe', ...Array<'ignore'>(INHERITED - 3).fill('ignore'), secret as 3],
  })
  closeSync(secret)
})
afterAll(() => isLinux && rmSync(folder, { recursive: true }))

test.runIf(isLinux).each(SUBJECTS)(
  'a program of another user (%s) gets no terminal, folder, open file or token of this process',
  (name) => {
    const [status = '', environment = ''] = readFileSync(join(folder, `${name}.record`), 'utf8').split('\n\n')
    const [stat = '', cwd, ...descriptors] = status.split('\n')
    // proc(5), `/proc/[pid]/stat`: fields 1, 6 and 7.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const pid = stat.split(' ', 1)[0]
    expect({ session: fields[3], terminal: fields[4] }).toEqual({ session: pid, terminal: '0' })
    expect(cwd).toBe(['qemu', 'guestfwd'].includes(name) ? join(folder, 'run') : '/')
    const harmless = [/^(pipe|socket):/, /^\/dev\/null$/, new RegExp(`^${folder}/${name}(\\.record)?$`)]
    expect(descriptors.filter((path) => !harmless.some((pattern) => pattern.test(path)))).toEqual([])
    expect(environment).not.toContain('CI_JOB_TOKEN')
    expect(environment.match(/^HOME=.*$/gm)).toEqual(['HOME=/home/of-user'])
  },
)
