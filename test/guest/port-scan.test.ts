import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { OPEN_PORTS } from '../support/loopback-watch.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { buildPortScanner, type PortScan } from '../support/port-scanner.js'

/** Addresses of the host in the guest's network: the gateway and the name server of QEMU. */
const [HOST, DNS] = ['10.0.2.2', '10.0.2.3']
/** Address of this host that other hosts can reach; undefined without a network. */
const externalAddress = Object.values(networkInterfaces())
  .flatMap((addresses = []) => addresses)
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address

/** Counts connections and datagrams that reach this host, on the loopback address and the external one. */
async function listen() {
  const reached = { tcp: 0, udp: 0 }
  const ports: number[] = []
  const addresses = externalAddress === undefined ? ['127.0.0.1'] : ['127.0.0.1', externalAddress]
  for (const [index, address] of addresses.entries()) {
    const port = index === 0 ? 0 : OPEN_PORTS.unreached
    const server = createServer((socket) => {
      reached.tcp++
      socket.on('error', () => {}).resume()
    }).listen(port, address)
    const datagrams = createSocket('udp4', () => reached.udp++)
    onTestFinished(() => {
      server.close()
      datagrams.close()
    })
    await once(server, 'listening')
    ports.push((server.address() as AddressInfo).port)
    datagrams.bind(ports.at(-1), address)
    await once(datagrams, 'listening')
  }
  return { reached, ports }
}

/** Returns the ports that accept a connection of the guest. */
async function scan(vm: VM, range: PortScan): Promise<number[]> {
  const program = join(ownTmpdir(), 'scan')
  writeFileSync(program, buildPortScanner(range))
  await vm.upload(program, '/tmp/scan')
  const { stdout } = await vm.ssh(`chmod +x /tmp/scan; /tmp/scan | hexdump -v -e '1/2 "%u\\n"'`, {
    timeout: '10m',
  })
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map(Number)
}

/** Requests a file over TFTP, because busybox sends these UDP datagrams to any port. */
const sendDatagrams = (vm: VM, ports: readonly number[], addresses: readonly string[]) =>
  vm.ssh(
    addresses
      .flatMap((address) => ports.map((port) => `timeout 3 tftp -g -r x -l /tmp/x ${address} ${port} &`))
      .join('\n')
      .concat('\nwait'),
    { reject: false },
  )

test('with `network.internet`, the port scanner finds the listening ports of this host', async () => {
  const { reached, ports } = await listen()
  await using vm = await launchVM({ log: () => {}, network: { internet: true } })
  const [own = 0, open] = ports
  expect(await scan(vm, { address: HOST, first: own, last: own })).toEqual([own])
  if (externalAddress !== undefined && open !== undefined) {
    expect(await scan(vm, { address: externalAddress, first: open - 3, last: open + 3 })).toContain(open)
    expect(reached.tcp).toBe(2)
  }
  await sendDatagrams(vm, [own], [HOST])
  expect(reached.udp).toBeGreaterThan(0)
})

/** The scan of a port takes about a millisecond under TCG. */
const SCAN_TIMEOUT_MS = 600_000

test(
  'a port scan by the guest finds no listening port of this host',
  async () => {
    const { reached, ports } = await listen()
    await using vm = await launchVM({ log: () => {}, hostfwd: [{ guest: 80 }] })
    expect(await scan(vm, { address: HOST, first: 1, last: 65_535 })).toEqual([])
    const otherAddresses = [DNS, ...(externalAddress === undefined ? [] : [externalAddress])]
    for (const address of otherAddresses) {
      expect(await scan(vm, { address, first: 1, last: 1023 }), address).toEqual([])
      for (const port of [...ports, vm.hostPort(22), vm.hostPort(80)])
        expect(await scan(vm, { address, first: port, last: port }), `${address}:${port}`).toEqual([])
    }
    await sendDatagrams(vm, ports, [HOST, ...otherAddresses])
    expect(reached).toEqual({ tcp: 0, udp: 0 })
  },
  SCAN_TIMEOUT_MS,
)
