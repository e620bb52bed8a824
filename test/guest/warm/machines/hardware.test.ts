import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { decodePng } from '../../../../src/vm/evidence/picture.js'
import { qemuImg } from '../../../support/disk-images.js'
import { expectOwnIdentities, startTwoClones } from '../../../support/two-clones.js'

const folder = mkdtempSync(join(tmpdir(), 'wt-'))
const [small, large, cd] = ['small.img', 'large.qcow2', 'cd.iso'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
]

/** One machine with everything that a BIOS guest can have. */
const options = {
  cpus: 2,
  numa: [
    { memory: '192M', cpus: [0] },
    { memory: '64M', cpus: [1] },
  ],
  disks: [
    { size: '16M', serial: 'NEW' },
    { image: small, format: 'raw' },
    { image: large },
    { image: cd, format: 'raw', readonly: true },
  ],
  network: [{ internet: true, net: '10.5.0.0/24', hostname: 'by-dhcp' }, {}, {}],
  smbios: { product: 'Engine' },
  rtc: { base: '2030-01-31T12:00:00' },
  ports: [{ name: 'control' }, { name: 'line', type: 'serial' }],
  vnc: true,
  devices: [{ driver: 'pvpanic' }],
  rng: true,
  debug: { gdb: true },
} as const

let clones: [VM, VM] & AsyncDisposable

beforeAll(async () => {
  writeFileSync(small, Buffer.alloc(1024 ** 2, 's'))
  qemuImg('create', '-q', '-f', 'qcow2', large, '1G')
  writeFileSync(cd, Buffer.alloc(1024 ** 2, 'c'))
  clones = await startTwoClones(options)
  return async () => {
    await clones[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  }
})

test('clones of a machine with many devices have their own identities', async () => {
  await expectOwnIdentities(clones)
})

test('each clone has its own content of further disks, on top of that of the template', async () => {
  const [one, two] = clones
  const read = (vm: VM) =>
    vm.ssh`for disk in vdb vdc vdd vde; do head -c 4 /dev/$disk | tr '\\0' 0; echo; done`
  expect((await read(one)).stdout).toBe('0000\nssss\n0000\ncccc')
  await one.ssh`for disk in vdb vdc vdd; do echo -n mine | dd of=/dev/$disk conv=fsync 2>/dev/null; done`
  expect((await read(one)).stdout).toBe('mine\nmine\nmine\ncccc')
  expect((await read(two)).stdout).toBe('0000\nssss\n0000\ncccc')
  expect((await two.ssh`cat /sys/block/vde/ro /sys/block/vdb/serial`).stdout).toBe('1\nNEW')
})

test('the further disks of a clone keep their content across a power cut', async () => {
  await using vm = await launchVM({ ...options, standby: false, log: () => {} })
  expect(vm.startedFrom.kind).toBe('template')
  await vm.ssh`echo -n kept | dd of=/dev/vdb conv=fsync 2>/dev/null`
  await vm.powerCut()
  await vm.start()
  expect((await vm.ssh`head -c 4 /dev/vdb; head -c 4 /dev/vdc`).stdout).toBe('keptssss')
  // The RAM is no longer that of the template.
  expect(await vm.qmp.execute('query-memdev')).toMatchObject([{ id: 'node0' }, { id: 'node1' }])
})

test('all network cards of a clone work, the first one with its own addresses', async () => {
  for (const vm of clones) {
    await vm.waitFor.command('ifconfig eth0 | grep -q 10.5.0.15')
    const { stdout } = await vm.ssh`
      for card in eth1 eth2; do
        ip link set $card up
        udhcpc -i $card -f -n -q -s /usr/lib/withvm/none 2>&1 | grep -o 'lease of [0-9.]*'
        cat /sys/class/net/$card/address
      done`
    expect(stdout.split('\n')).toEqual([
      ...['lease of 10.0.3.15', '52:54:00:12:34:57'],
      ...['lease of 10.0.4.15', '52:54:00:12:34:58'],
    ])
  }
})

test('clones report the SMBIOS values and NUMA nodes, and start at the specified time', async () => {
  const [vm] = clones
  const { stdout } =
    await vm.ssh`cat /sys/class/dmi/id/product_name /sys/devices/system/node/online; date -u +%F; hwclock -u`
  const [product, nodes, date, hardware] = stdout.split('\n')
  expect([product, nodes, date]).toEqual(['Engine', '0-1', '2030-01-31'])
  expect(hardware).toMatch(/Jan 31 12:0\d:\d\d 2030/)
})

test('guest ports of a clone transfer bytes in both directions', async () => {
  for (const vm of clones) {
    const { stdout } = await vm.ssh`
      cd /sys/class/virtio-ports; echo /dev/$(dirname $(grep -lx control */name))`
    for (const [name, device] of [
      ['control', stdout],
      ['line', '/dev/ttyS1'],
    ] as const) {
      await vm.ssh`
        (exec 3<>${device}; echo ready >&3; read -r word <&3; echo "got $word" >&3) </dev/null >/dev/null 2>&1 &`
      await vm.port(name).waitFor('ready')
      await vm.port(name).write('hello\n')
      expect(await vm.port(name).waitFor('got hello')).toBe('got hello')
    }
  }
})

test('the VNC server of a clone shows its screen', async () => {
  const [one, two] = clones
  for (const vm of clones) {
    const { port } = await vm.vnc()
    expect(await readGreeting(port as number)).toBe('RFB 003.008\n')
  }
  expect((await one.vnc()).port).not.toBe((await two.vnc()).port)
  const { width, height } = await decodePng(await one.screenshot())
  expect([width, height]).toEqual([720, 400])
})

function readGreeting(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', reject).once('data', (bytes) => {
      resolve(bytes.toString())
      socket.destroy()
    })
  })
}

test('a clone has a GDB server of its own', async () => {
  const [one, two] = clones
  expect(one.gdb).toContain(one.runFolder)
  expect(one.gdb).not.toBe(two.gdb)
})

test('checkpoints of a clone include all of its disks', async () => {
  const [vm] = clones
  await vm.ssh`echo -n old1 | dd of=/dev/vdd conv=fsync 2>/dev/null`
  await vm.checkpoint('old')
  await vm.ssh`echo -n new1 | dd of=/dev/vdd conv=fsync 2>/dev/null`
  await vm.restore('old')
  expect((await vm.ssh`head -c 4 /dev/vdd; date -u +%F`).stdout).toBe('old12030-01-31')
})
