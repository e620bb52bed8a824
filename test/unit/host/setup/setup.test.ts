import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { takeProcessLock } from '../../../../src/common/locks/process-lock.js'
import { findPrivilege } from '../../../../src/host/setup/apt-install.js'
import { setUpHost } from '../../../../src/host/setup/setup.js'
import { findTools, selectNeeds } from '../../../../src/host/tools.js'
import { makePath, makeTemporaryDir, writeProgram } from '../fake-program.js'

const FROBNICATE = { program: 'frobnicate', aptPackage: 'frob-tools', why: 'frobnicates images' }
const UNFROB = { program: 'unfrob', aptPackage: 'frob-tools', why: 'undoes that' }

/** A system with a PATH of its own, on which `apt-get` and `apt-cache` are small scripts that keep a log. */
function makeSystem(scripts: {
  readonly install: string
  readonly update?: string
  readonly policy?: string
}) {
  const dir = makeTemporaryDir()
  const path = makePath(dir, { sh: '/bin/sh', env: '/usr/bin/env', cat: '/bin/cat', chmod: '/bin/chmod' })
  const osReleasePath = join(dir, 'os-release')
  writeFileSync(osReleasePath, 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
  writeFileSync(join(dir, 'calls'), '')
  writeProgram(join(path, 'sudo'), 'shift; exec "$@"')
  writeProgram(join(path, 'apt-cache'), scripts.policy ?? `printf '%s:\\n  Candidate: 1.0\\n' "$2"`)
  writeProgram(
    join(path, 'apt-get'),
    `echo "$DEBIAN_FRONTEND: $*" >>${dir}/calls
add() { printf '#!/bin/sh\\n' >${path}/$1; chmod 755 ${path}/$1; }
case "$*" in
  *update*) ${scripts.update ?? ':'} ;;
  *) ${scripts.install} ;;
esac`,
  )
  const lines: string[] = []
  return {
    dir,
    path,
    lines,
    calls: () => readFileSync(join(dir, 'calls'), 'utf8').trimEnd().split('\n'),
    options: {
      env: { PATH: path },
      osReleasePath,
      cacheDir: join(dir, 'cache'),
      log: (line: string) => void lines.push(line),
    },
  }
}

const INSTALL = 'noninteractive: -o DPkg::Lock::Timeout=300 install -y --no-install-recommends frob-tools'
const UPDATE = 'noninteractive: -o DPkg::Lock::Timeout=300 update -q'
const prefix = process.geteuid?.() === 0 ? '$ ' : '$ sudo -n '

test('the missing package is installed, once, with what and why', async () => {
  const system = makeSystem({ install: 'add frobnicate; add unfrob' })
  const needs = [FROBNICATE, UNFROB, { program: 'sh', aptPackage: 'dash', why: 'is there' }]
  const tools = await setUpHost({ ...system.options, needs })
  expect(tools.map(({ path }) => path)).toEqual(
    ['frobnicate', 'unfrob', 'sh'].map((name) => join(system.path, name)),
  )
  expect(system.calls()).toEqual([INSTALL])
  expect(system.lines).toEqual([
    'Installing a package:',
    '  frob-tools: frobnicate, which frobnicates images',
    '  frob-tools: unfrob, which undoes that',
    `${prefix}apt-get install -y --no-install-recommends frob-tools`,
  ])
})

test('where nothing is missing, nothing runs and nothing is said', async () => {
  const system = makeSystem({ install: 'exit 1' })
  await setUpHost({ ...system.options, needs: [{ program: 'sh', aptPackage: 'dash', why: 'is there' }] })
  expect(system.calls()).toEqual([''])
  expect(system.lines).toEqual([])
})

test('package lists are fetched first when apt does not know the package, even if a source of them fails', async () => {
  const system = makeSystem({
    policy: `printf '%s:\\n  Candidate: (none)\\n' "$2"`,
    update: 'echo "E: The repository of a third party does not have a Release file." >&2; exit 100',
    install: 'add frobnicate',
  })
  await setUpHost({ ...system.options, needs: [FROBNICATE] })
  expect(system.calls()).toEqual([UPDATE, INSTALL])
})

test('package lists are fetched when they turn out to be too old, and the installation is tried again', async () => {
  const system = makeSystem({
    update: 'add updated',
    install:
      'if command -v updated; then add frobnicate; else echo "E: Failed to fetch frob-tools_1.0.deb  404  Not Found"; exit 100; fi',
  })
  await setUpHost({ ...system.options, needs: [FROBNICATE] })
  expect(system.calls()).toEqual([INSTALL, UPDATE, INSTALL])
})

test('an installation that fails says what apt said', async () => {
  const system = makeSystem({ install: 'echo "E: You do not have enough free space."; exit 100' })
  await expect(setUpHost({ ...system.options, needs: [FROBNICATE] })).rejects.toMatchObject({
    code: 'SETUP_FAILED',
    message: `apt could not install what withvm needs (exit code 100).

Command:
  | apt-get install -y --no-install-recommends frob-tools

The end of apt's output:
  | E: You do not have enough free space.

Fix: Make \`apt-get update\` and the command above work on this host (network, sources, free space), then run it again.`,
  })
  expect(system.calls()).toEqual([INSTALL])
})

test('an installation that leaves the program missing is a failure', async () => {
  const system = makeSystem({ install: ':' })
  await expect(setUpHost({ ...system.options, needs: [FROBNICATE] })).rejects.toMatchObject({
    code: 'SETUP_FAILED',
    message: expect.stringContaining('The packages were installed, but some programs are still not found.'),
  })
})

test('a check installs nothing and gives the command', async () => {
  const system = makeSystem({ install: 'add frobnicate' })
  const set = setUpHost({ ...system.options, needs: [FROBNICATE], checkOnly: true })
  await expect(set).rejects.toMatchObject({
    code: 'TOOL_NOT_FOUND',
    message: `A program that withvm needs is not installed: frobnicate.

What each is for:
  | frobnicate frobnicates images

Fix: Run \`sudo apt-get install -y --no-install-recommends frob-tools\` (\`npx withvm setup\` does it, where it may), then run this again.`,
  })
  expect(system.calls()).toEqual([''])
})

test.each([
  ['ID=fedora', 'Run `sudo dnf install -y qemu-kvm frob-tools`, then run this again.'],
  ['ID=arch', 'Run `sudo pacman -S --needed --noconfirm qemu-base frob-tools`, then run this again.'],
  [
    'ID=void\nPRETTY_NAME="Void Linux"',
    'Install them with the package manager of Void Linux; on Debian they are in qemu-system-x86, frob-tools.',
  ],
])('on a system with %j one message gives the command', async (release, fix) => {
  const system = makeSystem({ install: 'add frobnicate' })
  writeFileSync(system.options.osReleasePath, `${release}\n`)
  const qemu = { program: 'qemu-system-x86_64', aptPackage: 'qemu-system-x86', why: 'runs the guests' }
  await expect(setUpHost({ ...system.options, needs: [qemu, FROBNICATE] })).rejects.toMatchObject({
    code: 'TOOL_NOT_FOUND',
    message: `2 programs that withvm needs are not installed: qemu-system-x86_64, frobnicate.

What each is for:
  | qemu-system-x86_64 runs the guests
  | frobnicate frobnicates images

Fix: ${fix}`,
  })
  expect(system.calls()).toEqual([''])
})

test('a set-up waits for another that is at work, and does not do its work again', async () => {
  const system = makeSystem({ install: 'exit 1' })
  const lock = await takeProcessLock('setup')
  const set = setUpHost({ ...system.options, needs: [FROBNICATE] })
  await expect.poll(() => system.lines).toEqual(['Another set-up is at work; waiting for it …'])
  writeProgram(join(system.path, 'frobnicate'), ':')
  await lock.release()
  expect((await set)[0]?.path).toBe(join(system.path, 'frobnicate'))
  expect(system.calls()).toEqual([''])
})

test('root is root; others become root by a sudo that asks for no password, or not at all', async () => {
  const { path } = makeSystem({ install: ':' })
  expect(await findPrivilege({ PATH: path }, 0)).toEqual([])
  writeProgram(join(path, 'sudo'), '[ "$*" = "-n true" ]')
  expect(await findPrivilege({ PATH: path }, 1000)).toEqual(['sudo', '-n'])
  writeProgram(join(path, 'sudo'), 'echo "sudo: a password is required" >&2; exit 1')
  expect(await findPrivilege({ PATH: path }, 1000)).toBeUndefined()
  const bare = makePath(makeTemporaryDir(), {})
  expect(await findPrivilege({ PATH: bare }, 1000)).toBeUndefined()
})

test('a WITHVM_QEMU that is wrong is not mended by an installation', async () => {
  const system = makeSystem({ install: ':' })
  const qemu = { program: 'qemu-system-x86_64', aptPackage: 'qemu-system-x86', why: 'runs the guests' }
  const env = { ...system.options.env, WITHVM_QEMU: '/nowhere/qemu' }
  await expect(setUpHost({ ...system.options, env, needs: [qemu] })).rejects.toMatchObject({
    code: 'QEMU_NOT_FOUND',
  })
  expect(existsSync(join(system.path, 'qemu-system-x86_64'))).toBe(false)
})

test('programs of the sbin folders are found when PATH lacks them', async () => {
  const [tool] = await findTools(
    [{ program: 'mke2fs', aptPackage: 'e2fsprogs', why: 'makes file systems' }],
    {
      env: { PATH: '/nowhere' },
    },
  )
  expect(tool?.path).toMatch(/sbin\/mke2fs$/)
})

test('recipes need their programs only where apt is, and the programs of util-linux only on Linux', () => {
  const names = (...system: [Parameters<typeof selectNeeds>[1], NodeJS.Platform]) =>
    selectNeeds([FROBNICATE], ...system).map(({ program }) => program)
  expect(names('apt', 'linux')).toEqual([
    'qemu-system-x86_64',
    'qemu-img',
    'setpriv',
    'prlimit',
    'frobnicate',
  ])
  expect(names('dnf', 'linux')).toEqual(['qemu-system-x86_64', 'qemu-img', 'setpriv', 'prlimit'])
  expect(names('brew', 'darwin')).toEqual(['qemu-system-x86_64', 'qemu-img'])
})
