import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, vi } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../support/failure-of.js'
import { guestTest } from '../support/guest-test.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { findOwners, readListeningSockets } from '../support/proc-sockets.js'

vi.stubEnv('WITHVM_TEST_TOKEN', 'of-the-ci')
const test = guestTest({ hostfwd: [{ guest: 80 }] })

const filesBelow = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

/** The lines of a private key that are of no other key. */
function secretLines(pem: string): string[] {
  const lines = pem.split('\n').filter((line) => /^[A-Za-z0-9+/=]{16,}$/.test(line))
  return lines.slice(-2)
}

describe('QEMU', () => {
  test('may neither start programs nor gain privileges', async ({ vm }) => {
    const status = readFileSync(`/proc/${vm.pid}/status`, 'utf8')
    expect(status).toMatch(/^Seccomp:\t2$/m)
    const args = readFileSync(`/proc/${vm.pid}/cmdline`, 'utf8').split('\0')
    expect(args[args.indexOf('-sandbox') + 1]).toBe(
      'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    )
  })

  test('gets no more of the environment than it needs', async ({ vm }) => {
    const names = readFileSync(`/proc/${vm.pid}/environ`, 'utf8')
      .split('\0')
      .map((entry) => entry.split('=', 1)[0])
    expect(names).toContain('PATH')
    expect(names).not.toContain('WITHVM_TEST_TOKEN')
    expect(names.filter((name) => /VITEST|NODE|npm/.test(name ?? ''))).toEqual([])
  })

  test('is started without a shell', async ({ vm }) => {
    const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${vm.pid}/status`, 'utf8'))?.[1]
    expect(Number(parent)).toBe(process.pid)
    expect(readFileSync(`/proc/${vm.pid}/cmdline`, 'utf8').split('\0')[0]).toMatch(/qemu/)
  })

  test('listens on loopback alone', async ({ vm }) => {
    const own = readListeningSockets().filter(({ inode }) => findOwners(inode).includes(vm.pid))
    expect(own.map(({ port }) => port).sort()).toEqual([vm.hostPort(22), vm.hostPort(80)].sort())
    expect(own.filter(({ isLoopback }) => !isLoopback)).toEqual([])
  })
})

/** The flags of the mapping that holds the guest's RAM, as proc_pid_smaps(5) lists them: `dd` is left out of core dumps. */
function flagsOfRam(pid: number, bytes: number): string[] {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const ram = mappings.find((text) => new RegExp(`^Size: +${bytes / 1024} kB$`, 'm').test(text))
  return /^VmFlags: (.*)$/m.exec(ram ?? '')?.[1]?.split(' ') ?? []
}

test.for(['warm', 'cold'] as const)(
  'the RAM of a guest that starts %s is left out of core dumps of QEMU',
  async (start) => {
    await using vm = await launchVM({ log: () => {}, start, memory: '200M' })
    expect(flagsOfRam(vm.pid, 200 * 1024 ** 2)).toEqual(expect.arrayContaining(['rd', 'wr', 'dd']))
  },
)

test('`memoryDump` holds the RAM all the same', async () => {
  await using vm = await launchVM({ log: () => {}, start: 'cold', memory: '200M' })
  await vm.ssh`printf 'mark-%s' of-the-memory > /dev/shm/mark`
  const folder = await vm.saveLogs(ownTmpdir(), { memory: true })
  expect(readFileSync(join(folder, 'memory.elf')).includes('mark-of-the-memory')).toBe(true)
})

describe('the folder of a run', () => {
  test('is for its user alone, and so is each file with a secret', async ({ vm }) => {
    expect(statSync(vm.runFolder).mode & 0o777).toBe(0o700)
    const keys = ['id_ed25519', ...readdirSync(vm.runFolder).filter((name) => name.startsWith('smbios'))]
    for (const name of keys) expect(statSync(join(vm.runFolder, name)).mode & 0o077, name).toBe(0)
  })
})

test('keys stand in no argument list, and in nothing that is kept of a guest that failed', async () => {
  const artifacts = join(ownTmpdir(), 'kept')
  mkdirSync(artifacts)
  await using vm = await launchVM({ log: () => {}, artifacts })
  const key = readFileSync(join(vm.runFolder, 'id_ed25519'), 'utf8')
  const secrets = secretLines(key)
  expect(secrets).toHaveLength(2)
  const commandLines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      } catch {
        return ''
      }
    })
    .join('\n')
  expect(commandLines).toContain(vm.runFolder)
  // The guest prints what it can get hold of, and fails.
  await vm.ssh('cat >/dev/ttyS0; sleep 0.5', { stdin: key })
  const error = await failureOf(vm.ssh('cat; exit 1', { stdin: 'nothing' }))
  const folder = await vm.saveLogs(artifacts)
  onTestFinished(() => expect(filesBelow(artifacts).length).toBeGreaterThan(2))
  for (const secret of secrets) {
    expect(commandLines).not.toContain(secret)
    expect(error.message).not.toContain(secret)
    for (const file of filesBelow(folder)) expect(readFileSync(file, 'latin1'), file).not.toContain(secret)
  }
})
