import { mkdtempSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type ListenOptions, type Server } from 'node:net'
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
const shouting = () =>
  createServer((socket) => void socket.on('data', (data) => socket.end(data.toString().toUpperCase())))
const unix = await listen(shouting(), { path: join(folder, 'server.sock') })
const tcp = await listen(shouting(), { host: '127.0.0.1', port: 0 })
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
      { address: '10.0.2.100:7', command: "sed -u 's/$/, says the host/'" },
      { address: '10.0.2.100:8', socket: join(folder, 'server.sock') },
      { address: '10.0.2.101:8', tcp: (tcp.address() as AddressInfo).port },
      { address: '10.0.2.102:80', handler: (connection) => web.emit('connection', connection) },
      {
        address: '10.0.2.103:80',
        handler: async () => {
          throw new Error('nobody is at home')
        },
      },
    ],
  },
})

test('a command, a unix socket and a TCP server of the host answer the guest within its closed network', async ({
  vm,
}) => {
  const say = async (host: string, port: number) =>
    (await vm.ssh`echo hello | nc -w 5 ${host} ${port}`).stdout
  expect(await Promise.all([say('10.0.2.100', 7), say('10.0.2.100', 8), say('10.0.2.101', 8)])).toEqual([
    'hello, says the host',
    'HELLO',
    'HELLO',
  ])
})

test('a function of the test answers it, and one that fails is told of', async ({ vm }) => {
  const { stdout } = await vm.ssh`wget -qO- http://10.0.2.102/some/path`
  expect(stdout).toBe('you asked for /some/path')
  await vm.ssh('nc -w 5 10.0.2.103 80 < /dev/null', { reject: false })
  expect(logged).toContain('a function of `guestfwd` failed: nobody is at home')
})

test('a folder of the host is mounted by SMB, read and written', async ({ vm }) => {
  await vm.ssh`
    modprobe -a cifs sha256_generic hmac
    mkdir -p /mnt
    mount -t cifs -o sec=none,vers=2.1,ip=10.0.2.4 //10.0.2.4/qemu /mnt`
  expect((await vm.ssh`cat /mnt/from-host.txt`).stdout).toBe('a file of the host')
  await vm.ssh`echo of the guest > /mnt/from-guest.txt; umount /mnt`
  expect(await readFile(join(folder, 'from-guest.txt'), 'utf8')).toBe('of the guest\n')
  // The settings that QEMU makes for samba are gone with the guest, however it ends.
  expect((await readdir(vm.runFolder)).filter((name) => name.startsWith('qemu-smb'))).toHaveLength(1)
})

test('addresses that cannot be had, and a folder that is not there, are refused', async () => {
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
    'network.guestfwd[1]: expected one of `command`, `socket`, `tcp` and `handler`, got an address alone',
  )
  expect(error.message).toContain('network.guestfwd[2].address: expected one that nothing else has')
  expect(error.message).toContain('got `command` and `tcp`')
  expect(error.message).toContain('none", which does not exist')
})
