import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DiskInterface, launchVM, type VMOptions } from 'withvm'
import { writeBootCd, writeBootDisk } from '../../support/boot-sector.js'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'withvm-disks-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const bare = { ssh: false, memory: '64M', log: () => {} } as const

async function bootsUntil(options: VMOptions, line: string) {
  await using vm = await launchVM({ ...bare, ...options, ready: new RegExp(line) })
  return vm.name
}

test.each<[DiskInterface, VMOptions]>([
  ['virtio', {}],
  ['scsi', {}],
  ['ide', {}],
  ['ide', { machine: 'q35' }],
  ['sata', {}],
  ['sata', { machine: 'q35' }],
  ['usb', {}],
  ['nvme', {}],
  ['sd', {}],
])('the firmware boots from a system disk on %s, %j', async (kind, options) => {
  const path = await writeBootDisk(join(folder, 'disk.img'), 'booted from the disk', 1024 ** 2)
  const image = { path, format: 'raw' } as const
  await bootsUntil({ ...options, image, systemDisk: { interface: kind } }, 'booted from the disk')
})

test.each(['pc', 'q35'])('the firmware of a %s machine boots from a floppy disk', async (machine) => {
  const fda = await writeBootDisk(join(folder, 'floppy.img'), 'booted from the floppy disk')
  await bootsUntil({ machine, image: false, fda, boot: 'a' }, 'booted from the floppy disk')
})

test('the content of a pflash disk replaces the firmware', async () => {
  const bios = await readFile('/usr/share/seabios/bios-256k.bin', 'latin1')
  const image = join(folder, 'flash.img')
  writeFileSync(image, bios.replaceAll('SeaBIOS (version', 'OurBIOS (version'), 'latin1')
  await bootsUntil({ image: false, disks: [{ image, interface: 'pflash' }] }, 'OurBIOS \\(version')
})

test('the boot order selects the device to boot from', async () => {
  const hda = await writeBootDisk(join(folder, 'hda.img'), 'booted from hda')
  const cdrom = await writeBootCd(join(folder, 'cd.iso'), 'booted from the CD')
  const usb = await writeBootDisk(join(folder, 'usb.img'), 'booted from USB')
  await bootsUntil({ hda, cdrom }, 'booted from hda')
  await bootsUntil({ hda, cdrom, boot: 'd' }, 'booted from the CD')
  const disks = [{ image: usb, interface: 'usb', bootIndex: 1 }] as const
  await bootsUntil({ hda, cdrom, disks }, 'booted from USB')
})

const content = randomBytes(64)
const guest = guestTest({
  start: 'cold',
  cpus: 2, // with one CPU, tiny disables the interrupts that IDE needs
  disks: [
    { size: '16M', serial: 'NEW-DISK' },
    { size: '8M', interface: 'scsi' },
    { size: '4M', interface: 'nvme', serial: 'NVME-1' },
    { size: '2M', interface: 'ide', serial: 'IDE-1' },
  ],
})

guest('additional disks are empty and report their serial numbers', async ({ vm }) => {
  const { stdout } = await vm.ssh`
    for module in ata_piix virtio_scsi sd_mod; do modprobe $module; done
    for try in 1 2 3 4 5 6 7 8 9; do [ -e /sys/block/sdb ] && break; sleep 1; done
    cat /sys/block/vdb/serial; echo
    cat /sys/block/*/size | sort -n | uniq -c | grep -E ' (32768|16384|8192|4096)$'
    od -An -c -N1 /dev/vdb
    grep -ho '[^ ]*' /sys/class/nvme/*/serial`
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.trim()),
  ).toEqual(['NEW-DISK', '1 4096', '1 8192', '1 16384', '1 32768', '\\0', 'NVME-1'])
})

test('writes to a disk go to an overlay, or to the image file with `snapshot: false`', async () => {
  const [kept, written] = ['kept.img', 'written.img'].map((name) => join(folder, name)) as [string, string]
  for (const path of [kept, written]) writeFileSync(path, Buffer.alloc(1024 ** 2, 1))
  const logged: string[] = []
  const disks = [
    { image: kept, format: 'raw' },
    { image: written, format: 'raw', snapshot: false },
    { image: kept, format: 'raw', readonly: true },
  ] as const
  await using vm = await launchVM({ disks, log: (line) => logged.push(line) })
  writeFileSync(join(folder, 'content'), content)
  await vm.upload(join(folder, 'content'), '/root/content')
  await vm.ssh`for disk in vdb vdc; do dd if=/root/content of=/dev/$disk conv=fsync 2>/dev/null; done`
  expect((await vm.ssh`cat /sys/block/vd[bcd]/ro`).stdout).toBe('0\n0\n1')
  expect(logged).toContain(`'${vm.id}' writes directly to ${written}: snapshot is false.`)
  const busy = await failureOf(launchVM({ ...bare, image: false, disks: [disks[1]] }))
  expect(busy).toMatchObject({ code: 'IMAGE_LOCKED' })
  await vm.dispose()
  expect(readFileSync(kept).subarray(0, 64)).toEqual(Buffer.alloc(64, 1))
  expect(readFileSync(written).subarray(0, 64)).toEqual(content)
})
