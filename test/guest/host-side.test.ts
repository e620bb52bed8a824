import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, vi } from 'vitest'
import { launchVM } from 'withvm'
import { guestTest } from '../support/guest-test.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { findOwners, readListeningSockets } from '../support/proc-sockets.js'

vi.stubEnv('WITHVM_TEST_TOKEN', 'of-the-ci')
const test = guestTest()

/** Returns a free port of this host. */
async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('QEMU', () => {
  test('QEMU can neither start programs nor gain privileges', async ({ vm }) => {
    const status = readFileSync(`/proc/${vm.pid}/status`, 'utf8')
    expect(status).toMatch(/^Seccomp:\t2$/m)
    const args = readFileSync(`/proc/${vm.pid}/cmdline`, 'utf8').split('\0')
    expect(args[args.indexOf('-sandbox') + 1]).toBe(
      'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    )
  })

  test('QEMU gets only the environment variables that it needs', async ({ vm }) => {
    const names = readFileSync(`/proc/${vm.pid}/environ`, 'utf8')
      .split('\0')
      .map((entry) => entry.split('=', 1)[0])
    expect(names).toContain('PATH')
    expect(names).not.toContain('WITHVM_TEST_TOKEN')
    expect(names.filter((name) => /VITEST|NODE|npm/.test(name ?? ''))).toEqual([])
  })

  test('QEMU is started without a shell', async ({ vm }) => {
    const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${vm.pid}/status`, 'utf8'))?.[1]
    expect(Number(parent)).toBe(process.pid)
    expect(readFileSync(`/proc/${vm.pid}/cmdline`, 'utf8').split('\0')[0]).toMatch(/qemu/)
  })

  test('all servers of QEMU listen only on loopback addresses', async () => {
    const [spice, gdb] = [await findFreePort(), await findFreePort()]
    await using vm = await launchVM({
      ...{ log: () => {}, image: false, ssh: false, ready: 'none' },
      vnc: { websocket: true },
      spice: { port: spice },
      debug: { gdb },
      network: [{}, { hub: 'some' }],
      hostfwd: [{ guest: 80 }],
    })
    const { port, websocketPort } = await vm.vnc()
    const own = readListeningSockets().filter(({ inode }) => findOwners(inode).includes(vm.pid))
    expect(own.filter(({ isLoopback }) => !isLoopback)).toEqual([])
    // The list contains every server, so that none was overlooked.
    const tcp = own.filter(({ protocol }) => protocol === 'tcp').map((socket) => socket.port)
    expect(new Set(tcp)).toEqual(new Set([port, websocketPort, spice, gdb, vm.hostPort(80)]))
    expect(own.filter(({ protocol }) => protocol === 'udp')).toHaveLength(1)
  })
})

/** Returns the flags of the mapping of the guest's RAM (proc_pid_smaps(5)). `dd` excludes a mapping from core dumps. */
function flagsOfRam(pid: number, bytes: number): string[] {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const ram = mappings.find((text) => new RegExp(`^Size: +${bytes / 1024} kB$`, 'm').test(text))
  return /^VmFlags: (.*)$/m.exec(ram ?? '')?.[1]?.split(' ') ?? []
}

test.for(['warm', 'cold'] as const)(
  'core dumps of QEMU do not contain the RAM of a guest with a %s start',
  async (start) => {
    await using vm = await launchVM({ log: () => {}, start, memory: '200M' })
    expect(flagsOfRam(vm.pid, 200 * 1024 ** 2)).toEqual(expect.arrayContaining(['rd', 'wr', 'dd']))
  },
)

test('a memory dump contains the RAM, although core dumps do not', async () => {
  await using vm = await launchVM({ log: () => {}, start: 'cold', memory: '200M' })
  await vm.ssh`printf 'mark-%s' of-the-memory > /dev/shm/mark`
  const folder = await vm.saveLogs(ownTmpdir(), { memory: true })
  expect(readFileSync(join(folder, 'memory.elf')).includes('mark-of-the-memory')).toBe(true)
})

test('no other user can connect to the unix sockets of VNC and SPICE', async () => {
  const socket = join(ownTmpdir(), 'vnc.sock')
  const umask = process.umask(0o022)
  try {
    await using vm = await launchVM({
      ...{ log: () => {}, image: false, ssh: false, ready: 'none' },
      vnc: { socket },
      spice: true,
    })
    expect((await vm.vnc()).url).toBe(`vnc+unix://${socket}`)
    expect(statSync(socket).mode & 0o022).toBe(0) // a connection requires write permission
    expect(dirname((await vm.spice()).socket ?? '')).toBe(vm.runFolder)
    const own = readListeningSockets().filter(({ inode }) => findOwners(inode).includes(vm.pid))
    expect(own).toEqual([])
  } finally {
    process.umask(umask)
  }
})

describe('the folder of a run', () => {
  test('the folder of a run and its files with secrets are accessible only to their user', async ({ vm }) => {
    expect(statSync(vm.runFolder).mode & 0o777).toBe(0o700)
    const keys = ['id_ed25519', ...readdirSync(vm.runFolder).filter((name) => name.startsWith('smbios'))]
    for (const name of keys) expect(statSync(join(vm.runFolder, name)).mode & 0o077, name).toBe(0)
  })
})
