import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { listenUnix } from '../../../../src/channel/unix-listener.js'
import { CaptureFiles } from '../../../../src/net/capture-files.js'
import { QemuProcess } from '../../../../src/qemu/process.js'
import { TpmEmulator } from '../../../../src/qemu/tpm-emulator.js'
import { openWorkspace, type Workspace } from '../../../../src/vm/workspace/workspace.js'
import { buildCli } from '../../../support/built-cli.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { writeScript } from '../../../support/run-script.js'

const TPM = {
  program: 'false',
  version: '2.0',
  stateDir: '/',
  endsWithParent: false,
  user: undefined,
} as const
const USER = { name: '12345', uid: 12_345, gid: 12_345, hasGroups: false, home: '/', setpriv: 'setpriv' }
const FILES = ['known_hosts', 'network-1.pcap', 'qemu.pid', 'qmp.sock', 'screen.png', 'tpm.sock']

let victim: string
let moved: string
let workspace: Workspace

// One test runs the built package.
beforeAll(buildCli)

beforeEach(async () => {
  victim = join(ownTmpdir(), 'victim')
  mkdirSync(victim, { mode: 0o700 })
  for (const name of FILES) writeFileSync(join(victim, name), name.repeat(1000))
  workspace = await openWorkspace(ownTmpdir())
  moved = `${workspace.dir}-moved`
  onTestFinished(() => workspace.dispose())
})

/**
 * Replaces the folder of a run with a link, as a compromised QEMU can: the folder belongs to its
 * user.
 */
function replaceFolder(make: (path: string) => void): void {
  renameSync(workspace.dir, moved)
  make(workspace.dir)
}

const isLinux = process.platform === 'linux'

test.runIf(isLinux)('writes to the folder of a run do not follow a link in its place', async () => {
  await workspace.handOver(USER)
  replaceFolder((path) => symlinkSync(victim, path))
  await workspace.write('qemu.pid', '4711')
  await workspace.write('known_hosts', '* ssh-ed25519 AAAA')
  expect(readFileSync(join(moved, 'qemu.pid'), 'utf8')).toBe('4711')
  expect(readdirSync(moved).sort()).toEqual(['known_hosts', 'qemu.pid'])
  for (const name of FILES) expect(readFileSync(join(victim, name), 'utf8')).toBe(name.repeat(1000))
})

test.runIf(isLinux)('removals in the folder of a run do not follow a link in its place', async () => {
  const { sockets } = workspace
  const listener = await listenUnix(workspace.socket('qmp.sock'), { boundAt: sockets.entry('qmp.sock') })
  const captures = new CaptureFiles(workspace.folder, 1000)
  captures.next('power-on')
  captures.next('power-on')
  replaceFolder((path) => symlinkSync(victim, path))
  for (const name of ['network-1.pcap', 'screen.png', 'tpm.sock']) writeFileSync(join(moved, name), '')
  await listener.close()
  await workspace.folder.remove('screen.png')
  captures.next('power-on')
  await new TpmEmulator({ ...TPM, sockets }).start().catch(() => {}) // the result does not matter
  await workspace.dispose()
  expect(readdirSync(moved)).toEqual([])
  expect(readdirSync(victim).sort()).toEqual(FILES)
})

test.runIf(isLinux)(
  'giving the folder to the user of `runAs` does not follow a link in its place',
  async () => {
    await workspace.write('secret', '')
    replaceFolder((path) => symlinkSync(victim, path))
    await workspace.handOver(USER)
    const ownersOf = (dir: string) =>
      [dir, ...readdirSync(dir).map((name) => join(dir, name))].map((path) => statSync(path).uid)
    expect(ownersOf(moved)).toEqual([USER.uid, USER.uid])
    expect(new Set(ownersOf(victim))).toEqual(new Set([process.getuid?.()]))
  },
)

test.runIf(isLinux)('child processes enter the folder of a run, not a link in its place', async () => {
  replaceFolder((path) => symlinkSync(victim, path))
  const qemu = await QemuProcess.start({ file: 'pwd', args: ['-P'] }, workspace.folder)
  expect((await qemu.exited).stderr.trim()).toBe(moved)
})

test.runIf(process.geteuid?.() === 0)(
  'child processes enter the folder of a run, and files in it are copied, where /proc has other process ids',
  async () => {
    const folder = ownTmpdir()
    const source = `
      import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
      import { OpenFolder } from '#dist/src/common/files/open-folder.js'
      import { copyWrittenFile } from '#dist/src/disk/written-overlay.js'
      import { QemuProcess } from '#dist/src/qemu/process.js'
      const folder = await OpenFolder.make('${folder}/run')
      const qemu = await QemuProcess.start({ file: 'pwd', args: ['-P'] }, folder)
      const entered = (await qemu.exited).stderr.trim()
      writeFileSync('${folder}/run/written', 'content')
      await copyWrittenFile('${folder}/run/written', '${folder}/copied')
      console.log(entered, readFileSync('${folder}/copied', 'utf8'))`
    // A PID namespace with the /proc of the outer one.
    const namespace = ['--pid', '--fork', '--kill-child', process.execPath]
    const { stdout } = await execa('unshare', [...namespace, writeScript(folder, source)])
    expect(stdout).toBe(`${folder}/run content`)
  },
)

test.runIf(isLinux)('swtpm does not start in the working directory of this process', async () => {
  const program = join(ownTmpdir(), 'swtpm')
  const printed = `${program}.cwd`
  writeFileSync(program, `#!/bin/sh\npwd -P >${printed}\n`, { mode: 0o755 })
  await new TpmEmulator({ ...TPM, program, sockets: workspace.sockets }).start().catch(() => {})
  expect(readFileSync(printed, 'utf8')).toBe('/\n')
})

test('a closed folder of a run is not written to, because its descriptor may be reused', async () => {
  await workspace.dispose()
  const { folder } = await openWorkspace(ownTmpdir())
  onTestFinished(() => folder.close())
  await expect(workspace.write('qemu.pid', '1')).rejects.toThrow(`The folder ${workspace.dir} was closed`)
  await workspace.folder.remove('qemu.pid')
  expect(readdirSync(folder.path)).toEqual([])
})

test('a workspace that was disposed of leaves no descriptor open', async () => {
  const countDescriptors = () => readdirSync('/proc/self/fd').length
  const before = countDescriptors()
  for (let round = 0; round < 20; round++) await (await openWorkspace(ownTmpdir())).dispose()
  expect(countDescriptors()).toBeLessThanOrEqual(before)
})
