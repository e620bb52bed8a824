import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findProgram } from '../../../src/common/process/find-program.js'
import { qemuPackage } from '../../../src/host/distribution.js'
import { findQemu, parseVersion } from '../../../src/host/qemu-binary.js'
import { makePath, makeTemporaryDir, writeProgram } from './fake-program.js'

const DEBIAN = 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'

function writeOsRelease(dir: string, text = DEBIAN): string {
  const path = join(dir, 'os-release')
  writeFileSync(path, text)
  return path
}

async function catchError(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    () => expect.unreachable('the promise should have rejected'),
    (error: Error) => error,
  )
}

test('`findQemu()` finds the installed QEMU on PATH with its version', async () => {
  const qemu = await findQemu({ cacheDir: makeTemporaryDir() })
  expect(qemu.path).toBe(await findProgram('qemu-system-x86_64'))
  expect(qemu.version.major).toBeGreaterThanOrEqual(7)
  expect(qemu.arch).toBe('x86_64')
})

test('the option `qemu` takes precedence over WITHVM_QEMU, and WITHVM_QEMU over PATH', async () => {
  const dir = makeTemporaryDir()
  const fake = (name: string, version: string) =>
    writeProgram(join(dir, name), `echo "QEMU emulator version ${version}"`)
  const env = { PATH: process.env.PATH, WITHVM_QEMU: fake('by-environment', '8.1.2') }
  const option = fake('by-option', '9.0.50 (v9.0.0-rc1)')
  const common = { env, cacheDir: join(dir, 'cache') }
  expect(await findQemu({ ...common, qemu: option })).toMatchObject({
    path: option,
    version: { major: 9, minor: 0, micro: 50, text: '9.0.50 (v9.0.0-rc1)' },
  })
  expect((await findQemu(common)).path).toBe(env.WITHVM_QEMU)
})

test('`findQemu()` finds QEMU under the name qemu-kvm', async () => {
  const dir = makeTemporaryDir()
  const target = writeProgram(join(dir, 'real'), 'echo "QEMU emulator version 8.2.0 (qemu-kvm-8.2.0-11.el9)"')
  const env = { PATH: makePath(dir, { 'qemu-kvm': target }) }
  expect((await findQemu({ env, cacheDir: dir })).path).toBe(join(env.PATH, 'qemu-kvm'))
})

test('the error for a missing QEMU lists the searched folders and the install command', async () => {
  const dir = makeTemporaryDir()
  const PATH = makePath(dir, {})
  const error = await catchError(
    findQemu({ env: { PATH }, cacheDir: dir, osReleasePath: writeOsRelease(dir) }),
  )
  expect(error.code).toBe('QEMU_NOT_FOUND')
  expect(error.message).toBe(
    `No QEMU for x86_64 guests was found.
  Expected: one of qemu-system-x86_64, qemu-kvm, /usr/libexec/qemu-kvm, kvm
  Got:      none of these programs in ${PATH}
Fix: Run \`npx withvm setup\`, or \`sudo apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils\`, or specify a binary with the option \`qemu\` or with WITHVM_QEMU.`,
  )
})

test('the option `qemu` with a missing program rejects with its path', async () => {
  const dir = makeTemporaryDir()
  const osReleasePath = writeOsRelease(dir, 'ID=nixos\nPRETTY_NAME=NixOS\n')
  const error = await catchError(
    findQemu({ qemu: '/nowhere/qemu', env: { PATH: '' }, cacheDir: dir, osReleasePath }),
  )
  expect(error.message).toBe(
    `The option \`qemu\` is set to /nowhere/qemu, which is not an executable program.
  Expected: an executable file
  Got:      no executable file at /nowhere/qemu
Fix: Install QEMU for x86_64 guests with the package manager of NixOS, or specify a binary with the option \`qemu\` or with WITHVM_QEMU.`,
  )
})

test('`findQemu()` does not fall back to another QEMU if WITHVM_QEMU is invalid', async () => {
  const env = { PATH: process.env.PATH, WITHVM_QEMU: 'missing-qemu' }
  const error = await catchError(findQemu({ env, cacheDir: makeTemporaryDir() }))
  expect(error.message).toContain('WITHVM_QEMU is set to missing-qemu, which is not an executable program')
})

test('a QEMU that is too old is rejected with the minimum version', async () => {
  const dir = makeTemporaryDir()
  const qemu = writeProgram(
    join(dir, 'qemu-system-x86_64'),
    'echo "QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)"',
  )
  const error = await catchError(findQemu({ qemu, cacheDir: dir }))
  expect(error.code).toBe('QEMU_TOO_OLD')
  expect(error.message).toBe(
    `${qemu} is too old: withvm requires QEMU 7.2.
  Expected: QEMU 7.2 or newer
  Got:      QEMU 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)
Fix: Install a newer QEMU, or specify one with the option \`qemu\` or with WITHVM_QEMU=/path/to/qemu-system-x86_64.`,
  )
})

test('a program that is not QEMU is rejected with its stderr', async () => {
  const dir = makeTemporaryDir()
  const qemu = writeProgram(join(dir, 'busybox'), 'echo "unknown option" >&2; exit 3')
  const error = await catchError(findQemu({ qemu, cacheDir: dir, osReleasePath: writeOsRelease(dir) }))
  expect(error.code).toBe('QEMU_NOT_FOUND')
  expect(error.message).toBe(
    `${qemu} is not QEMU.
  Expected: the output "QEMU emulator version …" of \`--version\`
  Got:      exit code 3

stderr:
  | unknown option

Fix: Run \`npx withvm setup\`, or \`sudo apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils\`, or specify a binary with the option \`qemu\` or with WITHVM_QEMU.`,
  )
})

test('a QEMU for another guest architecture is rejected', async () => {
  const dir = makeTemporaryDir()
  const qemu = writeProgram(join(dir, 'qemu-system-aarch64'), 'echo "QEMU emulator version 7.2.0"')
  const error = await catchError(findQemu({ qemu, cacheDir: dir }))
  expect(error.message).toContain(`${qemu} is QEMU for another guest architecture.
  Expected: qemu-system-x86_64
  Got:      qemu-system-aarch64`)
})

test('the version is cached until the file changes, and invalid cache content is ignored', async () => {
  const cacheDir = makeTemporaryDir()
  const first = await findQemu({ cacheDir })
  const [fact] = readdirSync(join(cacheDir, 'host'))
  const path = join(cacheDir, 'host', String(fact))
  writeFileSync(path, readFileSync(path, 'utf8').replace('emulator version ', 'emulator version 1'))
  expect((await findQemu({ cacheDir })).version.major).toBe(Number(`1${first.version.major}`))
  for (const invalid of ['', '{"version":', '"not a version"', 'null', '[7]']) {
    writeFileSync(path, invalid)
    expect(await findQemu({ cacheDir })).toEqual(first)
  }
})

test('the version of a wrapper script is not cached', async () => {
  const dir = makeTemporaryDir()
  const version = join(dir, 'version')
  const qemu = writeProgram(join(dir, 'wrapper'), `cat ${version}`)
  utimesSync(qemu, 1, 1)
  writeFileSync(version, 'QEMU emulator version 8.0.0\n')
  const before = await findQemu({ qemu, cacheDir: dir })
  writeFileSync(version, 'QEMU emulator version 8.1.0\n')
  const after = await findQemu({ qemu, cacheDir: dir })
  expect([before.version.minor, after.version.minor]).toEqual([0, 1])
  expect(before.fingerprint).not.toBe(after.fingerprint)
})

test('`findQemu()` works without a writable cache', async () => {
  const dir = makeTemporaryDir()
  writeFileSync(join(dir, 'file'), '')
  const qemu = await findQemu({ cacheDir: join(dir, 'file') })
  rmSync(join(dir, 'file'))
  expect(qemu.version.major).toBeGreaterThanOrEqual(7)
})

test.each([
  ['QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright', [7, 2, 22]],
  ['QEMU emulator version 10.0.0', [10, 0, 0]],
  ['QEMU emulator version 9.2', [9, 2, 0]],
])('`parseVersion()` parses %j', (text, [major, minor, micro]) => {
  expect(parseVersion(text)).toMatchObject({ major, minor, micro })
})

test('`parseVersion()` returns undefined for other text', () => {
  expect(parseVersion('BusyBox v1.35.0')).toBeUndefined()
  expect(parseVersion('')).toBeUndefined()
})

test.each([
  ['i386', 'qemu-system-x86_64, qemu-system-i386', 'qemu-system-x86'],
  ['aarch64', 'qemu-system-aarch64', 'qemu-system-arm'],
  ['arm', 'qemu-system-arm', 'qemu-system-arm'],
  ['riscv64', 'qemu-system-riscv64', 'qemu-system-misc'],
  ['ppc64', 'qemu-system-ppc64', 'qemu-system-ppc'],
  ['ppc', 'qemu-system-ppc', 'qemu-system-ppc'],
  ['s390x', 'qemu-system-s390x', 'qemu-system-misc'],
  ['sparc', 'qemu-system-sparc', 'qemu-system-sparc'],
  ['sparc64', 'qemu-system-sparc64', 'qemu-system-sparc'],
] as const)('the error for a missing QEMU for %s names its package', async (arch, programs, debian) => {
  const dir = makeTemporaryDir()
  const options = { arch, env: { PATH: makePath(dir, {}) }, cacheDir: dir }
  const error = await catchError(findQemu({ ...options, osReleasePath: writeOsRelease(dir) }))
  expect(error.code).toBe('QEMU_NOT_FOUND')
  expect(error.message).toContain(`No QEMU for ${arch} guests was found.\n  Expected: one of ${programs}`)
  expect(error.message).toContain(`apt-get install -y --no-install-recommends ${debian} qemu-utils`)
})

test('`qemuPackage()` returns the package names of other distributions', () => {
  expect(qemuPackage('riscv64', 'dnf')).toBe('qemu-system-riscv')
  expect(qemuPackage('aarch64', 'zypper')).toBe('qemu-arm')
  expect(qemuPackage('s390x', 'brew')).toBe('qemu')
})
