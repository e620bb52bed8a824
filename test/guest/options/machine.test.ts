import { readFile } from 'node:fs/promises'
import { expect } from 'vitest'
import { guestTest } from '../../support/guest-test.js'

const UUID = '5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162'

/** Additional models of network cards, with their PCI ids. */
const CARDS: Readonly<Record<string, string>> = {
  e1000: '0x8086:0x100e',
  e1000e: '0x8086:0x10d3',
  i82551: '0x8086:0x1209',
  i82557b: '0x8086:0x1229',
  ne2k_pci: '0x10ec:0x8029',
  pcnet: '0x1022:0x2000',
  rtl8139: '0x10ec:0x8139',
  tulip: '0x1011:0x0019',
  vmxnet3: '0x15ad:0x07b0',
}

const test = guestTest({
  name: 'fitted-out',
  start: 'cold',
  cpus: { sockets: 2, cores: 1, threads: 1, maxcpus: 2 },
  memory: { max: '2G', slots: 2 },
  numa: [
    { memory: '768M', cpus: [0], hostNodes: [0] },
    { memory: '256M', cpus: [1], hostNodes: [0], policy: 'interleave' },
  ],
  smbios: { manufacturer: 'Ada & Co., Ltd.', product: 'Engine', serial: '00=17', uuid: UUID },
  rtc: { base: '2030-01-31T12:00:00' },
  vga: 'std',
  sound: 'ich9',
  usb: true,
  rng: true,
  balloon: true,
  watchdog: { model: 'i6300esb', action: 'poweroff' },
  devices: [{ driver: 'usb-tablet', serial: 'TABLET,1' }, { driver: 'pvpanic' }],
  network: [
    {
      internet: true, // otherwise DHCP offers neither router nor name server
      hostname: 'by-dhcp',
      net: '10.5.0.0/24',
      host: '10.5.0.9',
      dhcpstart: '10.5.0.40',
      dns: '10.5.0.8',
      domainname: 'example.org',
      ipv6: false,
    },
    { mac: '52:54:00:11:22:33' },
    ...Object.keys(CARDS).map((model) => ({ model })),
  ],
})

test('the guest has the specified processors, NUMA nodes and memory', async ({ vm }) => {
  const { stdout } = await vm.ssh`
    cd /sys/devices/system
    cat cpu/online node/online cpu/cpu1/topology/physical_package_id
    for node in 0 1; do awk '/MemTotal/ { print int($4 / 131072 + 1) * 128 }' node/node$node/meminfo; done`
  expect(stdout).toBe('0-1\n0-1\n1\n768\n256')
  const memory = await vm.qmp.execute('query-memory-size-summary')
  expect(memory).toMatchObject({ 'base-memory': 1024 ** 3 })
  const slots = (await vm.qmp.execute('query-hotpluggable-cpus')) as unknown[]
  expect(slots).toHaveLength(2)
})

test('the memory of NUMA nodes is bound to the specified nodes of the host', async ({ vm }) => {
  expect(await vm.qmp.execute('query-memdev')).toMatchObject([
    { id: 'node0', policy: 'bind', 'host-nodes': [0] },
    { id: 'node1', policy: 'interleave', 'host-nodes': [0] },
  ])
  const maps = await readFile(`/proc/${vm.pid}/numa_maps`, 'utf8')
  expect(maps).toMatch(/ bind:0 .*anon=/)
  expect(maps).toMatch(/ interleave:0 .*anon=/)
})

test('the guest reports the specified SMBIOS values', async ({ vm }) => {
  const { stdout } =
    await vm.ssh`cd /sys/class/dmi/id && cat sys_vendor product_name product_serial product_uuid`
  expect(stdout.split('\n')).toEqual(['Ada & Co., Ltd.', 'Engine', '00=17', UUID])
  expect(await vm.qmp.execute('query-uuid')).toEqual({ UUID })
})

test("the guest's clock starts at the specified time", async ({ vm }) => {
  expect((await vm.ssh`date -u +%F`).stdout).toBe('2030-01-31')
})

test('each network card has its own network, with the specified addresses', async ({ vm }) => {
  const { stdout } = await vm.ssh`
    cat /sys/class/net/eth1/address
    ip link set eth1 up
    printf '#!/bin/sh\nenv\n' > /tmp/lease; chmod +x /tmp/lease
    for card in eth0 eth1; do udhcpc -i $card -n -q -s /tmp/lease 2>/dev/null | grep -E '^(ip|router|dns|hostname|domain)=' | sort; done`
  expect(stdout.split('\n')).toEqual([
    '52:54:00:11:22:33',
    'dns=10.5.0.8',
    'domain=example.org',
    'hostname=by-dhcp',
    'ip=10.5.0.40',
    'router=10.5.0.9',
    'ip=10.0.3.15',
  ])
})

test('the guest has the specified devices', async ({ vm }) => {
  const { stdout } = await vm.ssh`
    for device in /sys/bus/pci/devices/*; do echo $(cat $device/vendor):$(cat $device/device); done
    `
  expect(stdout.split('\n')).toEqual(
    expect.arrayContaining([
      '0x1234:0x1111', // standard display card
      '0x8086:0x293e', // ICH9 sound card
      '0x1b36:0x000d', // USB controller
      '0x1af4:0x1005', // random number generator
      '0x1af4:0x1002', // balloon
      '0x8086:0x25ab', // watchdog
      ...Object.values(CARDS),
    ]),
  )
  const usb = await vm.qmp.execute('human-monitor-command', { 'command-line': 'info usb' })
  expect(usb).toContain('Product QEMU USB Tablet')
  const panic = await vm.ssh`ls /sys/bus/acpi/devices`
  expect(panic.stdout).toContain('QEMU0001')
})
