import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { takeProcessLock } from '../../../../src/common/locks/process-lock.js'
import { findPrivilege } from '../../../../src/host/setup/apt-install.js'
import { setUpHost } from '../../../../src/host/setup/setup.js'
import { findTools, selectNeeds } from '../../../../src/host/tools.js'
import { makePath, makeTemporaryDir, writeProgram } from '../fake-program.js'

const FROBNICATE = { program: 'frobnicate', aptPackage: 'frob-tools', why: 'frobnicates images' }
const UNFROB = { program: 'unfrob', aptPackage: 'frob-tools', why: 'undoes the frobnication' }

/** Creates a system with its own PATH, whose `apt-get` and `apt-cache` are small scripts that log their calls. */
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

test('`setUpHost()` installs a missing package once and logs its programs and their purpose', async () => {
  const system = makeSystem({ install: 'add frobnicate; add unfrob' })
  const needs = [FROBNICATE, UNFROB, { program: 'sh', aptPackage: 'dash', why: 'is installed' }]
  const tools = await setUpHost({ ...system.options, needs })
  expect(tools.map(({ path }) => path)).toEqual(
    ['frobnicate', 'unfrob', 'sh'].map((name) => join(system.path, name)),
  )
  expect(system.calls()).toEqual([INSTALL])
  expect(system.lines).toEqual([
    'Installing a package:',
    '  frob-tools: frobnicate, which frobnicates images',
    '  frob-tools: unfrob, which undoes the frobnication',
    `${prefix}apt-get install -y --no-install-recommends frob-tools`,
  ])
})

test('`setUpHost()` runs and logs no commands if all programs are installed', async () => {
  const system = makeSystem({ install: 'exit 1' })
  await setUpHost({ ...system.options, needs: [{ program: 'sh', aptPackage: 'dash', why: 'is installed' }] })
  expect(system.calls()).toEqual([''])
  expect(system.lines).toEqual([])
})

test('package lists are updated before the installation of an unknown package, even if a source fails', async () => {
  const system = makeSystem({
    policy: `printf '%s:\\n  Candidate: (none)\\n' "$2"`,
    update: 'echo "E: The repository of a third party does not have a Release file." >&2; exit 100',
    install: 'add frobnicate',
  })
  await setUpHost({ ...system.options, needs: [FROBNICATE] })
  expect(system.calls()).toEqual([UPDATE, INSTALL])
})

test('stale package lists are updated and the installation is retried', async () => {
  const system = makeSystem({
    update: 'add updated',
    install:
      'if command -v updated; then add frobnicate; else echo "E: Failed to fetch frob-tools_1.0.deb  404  Not Found"; exit 100; fi',
  })
  await setUpHost({ ...system.options, needs: [FROBNICATE] })
  expect(system.calls()).toEqual([INSTALL, UPDATE, INSTALL])
})

test('a failed installation rejects with the output of apt', async () => {
  const system = makeSystem({ install: 'echo "E: You do not have enough free space."; exit 100' })
  await expect(setUpHost({ ...system.options, needs: [FROBNICATE] })).rejects.toMatchObject({
    code: 'SETUP_FAILED',
    message: `The installation of packages with apt failed (exit code 100).

Command:
  | apt-get install -y --no-install-recommends frob-tools

Last lines of apt's output:
  | E: You do not have enough free space.

Fix: Fix \`apt-get update\` and the command above on this host (network, sources, free space), then run \`withvm setup\` again.`,
  })
  expect(system.calls()).toEqual([INSTALL])
})

test('a program that is missing after the installation is an error', async () => {
  const system = makeSystem({ install: ':' })
  await expect(setUpHost({ ...system.options, needs: [FROBNICATE] })).rejects.toMatchObject({
    code: 'SETUP_FAILED',
    message: expect.stringContaining(
      'Some programs were not found after the installation of their packages.',
    ),
  })
})

test('`checkOnly` rejects with the install command and installs no packages', async () => {
  const system = makeSystem({ install: 'add frobnicate' })
  const set = setUpHost({ ...system.options, needs: [FROBNICATE], checkOnly: true })
  await expect(set).rejects.toMatchObject({
    code: 'TOOL_NOT_FOUND',
    message: `A required program is not installed: frobnicate.

Purpose:
  | frobnicate: frobnicates images

Fix: Run \`sudo apt-get install -y --no-install-recommends frob-tools\` or \`npx withvm setup\`, then retry.`,
  })
  expect(system.calls()).toEqual([''])
})

test.each([
  ['ID=fedora', 'Run `sudo dnf install -y qemu-kvm frob-tools`, then retry.'],
  ['ID=arch', 'Run `sudo pacman -S --needed --noconfirm qemu-base frob-tools`, then retry.'],
  [
    'ID=void\nPRETTY_NAME="Void Linux"',
    'Install them with the package manager of Void Linux (on Debian: qemu-system-x86, frob-tools).',
  ],
])('the error on a system with %j contains its install command', async (release, fix) => {
  const system = makeSystem({ install: 'add frobnicate' })
  writeFileSync(system.options.osReleasePath, `${release}\n`)
  const qemu = { program: 'qemu-system-x86_64', aptPackage: 'qemu-system-x86', why: 'runs the guests' }
  await expect(setUpHost({ ...system.options, needs: [qemu, FROBNICATE] })).rejects.toMatchObject({
    code: 'TOOL_NOT_FOUND',
    message: `2 required programs are not installed: qemu-system-x86_64, frobnicate.

Purpose:
  | qemu-system-x86_64: runs the guests
  | frobnicate: frobnicates images

Fix: ${fix}`,
  })
  expect(system.calls()).toEqual([''])
})

test('`setUpHost()` waits for a concurrent call and does not repeat its installation', async () => {
  const system = makeSystem({ install: 'exit 1' })
  const lock = await takeProcessLock('setup')
  const set = setUpHost({ ...system.options, needs: [FROBNICATE] })
  await expect.poll(() => system.lines).toEqual(['Waiting for another `withvm setup` …'])
  writeProgram(join(system.path, 'frobnicate'), ':')
  await lock.release()
  expect((await set)[0]?.path).toBe(join(system.path, 'frobnicate'))
  expect(system.calls()).toEqual([''])
})

test('`findPrivilege()` returns sudo for other users only if it needs no password', async () => {
  const { path } = makeSystem({ install: ':' })
  expect(await findPrivilege({ PATH: path }, 0)).toEqual([])
  writeProgram(join(path, 'sudo'), '[ "$*" = "-n true" ]')
  expect(await findPrivilege({ PATH: path }, 1000)).toEqual(['sudo', '-n'])
  writeProgram(join(path, 'sudo'), 'echo "sudo: a password is required" >&2; exit 1')
  expect(await findPrivilege({ PATH: path }, 1000)).toBeUndefined()
  const bare = makePath(makeTemporaryDir(), {})
  expect(await findPrivilege({ PATH: bare }, 1000)).toBeUndefined()
})

test('an invalid WITHVM_QEMU rejects without an installation', async () => {
  const system = makeSystem({ install: ':' })
  const qemu = { program: 'qemu-system-x86_64', aptPackage: 'qemu-system-x86', why: 'runs the guests' }
  const env = { ...system.options.env, WITHVM_QEMU: '/nowhere/qemu' }
  await expect(setUpHost({ ...system.options, env, needs: [qemu] })).rejects.toMatchObject({
    code: 'QEMU_NOT_FOUND',
  })
  expect(existsSync(join(system.path, 'qemu-system-x86_64'))).toBe(false)
})

test('programs in the sbin folders are found without these folders in PATH', async () => {
  const [tool] = await findTools(
    [{ program: 'mke2fs', aptPackage: 'e2fsprogs', why: 'creates file systems' }],
    {
      env: { PATH: '/nowhere' },
    },
  )
  expect(tool?.path).toMatch(/sbin\/mke2fs$/)
})

test.each([
  ['apt', 'aarch64', 'qemu-system-aarch64', 'qemu-system-arm'],
  ['dnf', 'aarch64', 'qemu-system-aarch64', 'qemu-system-aarch64'],
  ['zypper', 'aarch64', 'qemu-system-aarch64', 'qemu-arm'],
  ['pacman', 'x86_64', 'qemu-system-x86_64', 'qemu-system-x86'],
  [undefined, 'x86_64', 'qemu-system-x86_64', 'qemu-system-x86'],
] as const)('with %s, a host of the architecture %s needs %s', (manager, arch, program, aptPackage) => {
  const [qemu] = selectNeeds([], manager, 'linux', arch)
  expect(qemu).toEqual({ program, aptPackage, why: 'runs the guests' })
})

test('`selectNeeds()` includes programs of recipes only with apt, and those of util-linux only on Linux', () => {
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
