import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'

const folder = mkdtempSync(join(tmpdir(), 'withvm-services-'))
writeFileSync(join(folder, 'from-host.txt'), 'a file of the host\n')
const logged: string[] = []

const listen = async (server: Server, where: ListenOptions) => {
  await new Promise<void>((resolve) => server.listen(where, resolve))
  return server
}
const createUppercaseServer = () =>
  createServer((socket) => void socket.on('data', (data) => socket.end(data.toString().toUpperCase())))
const unix = await listen(createUppercaseServer(), { path: join(folder, 'server.sock') })
const tcp = await listen(createUppercaseServer(), { host: '127.0.0.1', port: 0 })
const web = createHttpServer((request, response) => response.end(`you asked for ${request.url}`))
afterAll(async () => {
  unix.close()
  tcp.close()
  await rm(folder, { recursive: true })
})

const test = guestTest({
  name: 'served',
  log: (line) => logged.push(line),
  network: {
    smb: folder,
    guestfwd: [
      { address: '10.0.2.100:7', command: "sed -u 's/$/, replies the host/'" },
      { address: '10.0.2.100:8', socket: join(folder, 'server.sock') },
      { address: '10.0.2.101:8', tcp: (tcp.address() as AddressInfo).port },
      { address: '10.0.2.102:80', handler: (connection) => web.emit('connection', connection) },
      {
        address: '10.0.2.103:80',
        handler: async (connection) => {
          const [request] = await once(connection, 'data')
          throw new Error(`no service for ${request}`)
        },
      },
    ],
  },
})

test('a guest in a closed network reaches a command, a unix socket and a TCP server of the host through guestfwd', async ({
  vm,
}) => {
  const send = async (host: string, port: number) =>
    (await vm.ssh`echo hello | nc -w 5 ${host} ${port}`).stdout
  expect(await Promise.all([send('10.0.2.100', 7), send('10.0.2.100', 8), send('10.0.2.101', 8)])).toEqual([
    'hello, replies the host',
    'HELLO',
    'HELLO',
  ])
})

test('a function serves connections of guestfwd, and the error of a function is logged as one line', async ({
  vm,
}) => {
  const { stdout } = await vm.ssh`wget -qO- http://10.0.2.102/some/path`
  expect(stdout).toBe('you asked for /some/path')
  // Text of the guest is escaped and stays on one line.
  await vm.ssh(`printf 'a\\033[2J\\n::error::b' | nc -w 5 10.0.2.103 80`, { reject: false })
  expect(logged).toContain('a function of `guestfwd` failed: no service for a\\u001b[2J ::error::b')
})

/** Counts the processes of this host that serve connections of a guest, and their memory in KiB. */
function findConnectors(runFolder: string): { readonly count: number; readonly kib: number } {
  const sizes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`${runFolder}/forward-`)) return []
        return [Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])]
      } catch {
        return [] // it has ended
      }
    })
  return { count: sizes.length, kib: sizes.reduce((sum, one) => sum + one, 0) }
}

test('64 concurrent connections take a few MiB of host memory, and more are refused', async () => {
  let open = 0
  const handler = (connection: Socket) => {
    open++
    connection
      .resume()
      .once('end', () => connection.end())
      .once('close', () => open--)
  }
  const lines: string[] = []
  const guestfwd = [{ address: '10.0.2.100:9', handler }]
  await using vm = await launchVM({ network: { guestfwd }, log: (line) => lines.push(line) })
  await vm.ssh`for i in $(seq 64); do (sleep 1000 | nc 10.0.2.100 9) >/dev/null 2>&1 & done`
  await expect.poll(() => open, { timeout: 60_000 }).toBe(64)
  const { count, kib } = findConnectors(vm.runFolder)
  expect(count).toBe(2 * 64)
  expect(kib).toBeLessThan(20 * 1024)
  await vm.ssh`echo too many | nc -w 20 10.0.2.100 9`
  expect(open).toBe(64)
  expect(lines).toContain('the guest has 64 connections to 10.0.2.100:9: further connections are refused')
  await vm.ssh`killall sleep nc || true` // the end of one process ends the other
  await expect.poll(() => [open, findConnectors(vm.runFolder).count], { timeout: 60_000 }).toEqual([0, 0])
})

/** A killed process can stay a zombie if the first process of a container does not reap it. */
function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
}

test.each(['power cut', 'end'] as const)(
  'a command of guestfwd that ignores its streams is killed with its children after the %s of its guest',
  async (how) => {
    const command = 'sh -c \'trap "" PIPE HUP TERM; sleep 1000 & echo $! $$; wait; sleep 1000\''
    await using vm = await launchVM({
      network: { guestfwd: [{ address: '10.0.2.100:7', command }] },
      log: () => {},
    })
    await vm.ssh`(sleep 1000 | nc 10.0.2.100 7 >/run/pids) >/dev/null 2>&1 &`
    const { stdout } = await vm.ssh`until [ -s /run/pids ]; do sleep 0.2; done; cat /run/pids`
    const pids = stdout.trim().split(' ')
    expect(pids.map(isRunning)).toEqual([true, true])
    if (how === 'power cut') await vm.powerCut()
    else await vm.dispose()
    await expect.poll(() => pids.map(isRunning)).toEqual([false, false])
  },
)

test('a guest mounts a folder of the host over SMB, reads from it and writes to it', async ({ vm }) => {
  await vm.ssh`
    modprobe -a cifs sha256_generic hmac
    mkdir -p /mnt
    mount -t cifs -o sec=none,vers=2.1,ip=10.0.2.4 //10.0.2.4/qemu /mnt`
  expect((await vm.ssh`cat /mnt/from-host.txt`).stdout).toBe('a file of the host')
  await vm.ssh`echo of the guest > /mnt/from-guest.txt; umount /mnt`
  expect(await readFile(join(folder, 'from-guest.txt'), 'utf8')).toBe('of the guest\n')
  // QEMU's settings for samba are in the folder of the run, so they are removed with it.
  expect((await readdir(vm.runFolder)).filter((name) => name.startsWith('qemu-smb'))).toHaveLength(1)
})

test('invalid addresses of guestfwd and a missing SMB folder are rejected', async () => {
  const guestfwd = [
    { address: '192.168.1.1:80', tcp: 80 },
    { address: '10.0.2.100:80' },
    { address: '10.0.2.100:80', tcp: 80, command: 'cat' },
  ]
  const error = await failureOf(launchVM({ network: { smb: join(folder, 'none'), guestfwd } }))
  expect(error.message).toContain(
    'network.guestfwd[0].address: expected an address of the network 10.0.2.0/24, got "192.168.1.1:80"',
  )
  expect(error.message).toContain(
    'network.guestfwd[1]: expected exactly one of `command`, `socket`, `tcp` and `handler`, got none of them',
  )
  expect(error.message).toContain('network.guestfwd[2].address: expected an unused address')
  expect(error.message).toContain('got `command` and `tcp`')
  expect(error.message).toContain('none", which does not exist')
})
