import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { copyFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { writeBootCd, writeBootDisk } from '../../support/boot-sector.js'
import { writeEfiDisk } from '../../support/efi-disk.js'
import { failureOf } from '../../support/failure-of.js'

const DOMAINS = join(import.meta.dirname, 'domains')
const folder = mkdtempSync(join(tmpdir(), 'withvm-domains-'))

beforeAll(async () => {
  await Promise.all([
    writeBootDisk(join(folder, 'boot.img'), 'booted from boot.img', 1024 ** 2),
    writeBootDisk(join(folder, 'data.img'), 'booted from data.img', 1024 ** 2),
    writeBootDisk(join(folder, 'floppy.img'), 'booted from floppy.img'),
    writeBootCd(join(folder, 'boot.iso'), 'booted from boot.iso'),
    writeEfiDisk(join(folder, 'efi.img'), 'booted from efi.img'),
  ])
  const { disk, directBoot } = await resolveImage('tiny')
  await copyFile(disk?.path ?? '', join(folder, 'tiny.qcow2'))
  await copyFile(directBoot?.kernel ?? '', join(folder, 'kernel'))
  await copyFile(directBoot?.initrd ?? '', join(folder, 'initrd'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Reads a domain as virt-install printed it, with its disks in the folder of this test. */
const readDomain = (name: string) =>
  readFileSync(join(DOMAINS, `${name}.xml`), 'utf8').replaceAll('/srv/withvm/', `${folder}/`)

async function boot(name: string, options: VMOptions): Promise<VM> {
  return launchVM({ libvirtXML: readDomain(name), start: 'cold', log: () => {}, ...options })
}

/** Console output that shows that the guest booted, by domain. */
const READY_PATTERNS: Readonly<Record<string, RegExp>> = {
  'bios-virtio': /booted from boot\.img/,
  'q35-sata-spice': /booted from boot\.img/,
  'uefi-tpm': /booted from efi\.img/,
  // The program on the disk is not signed.
  'secure-boot': /failed to load Boot\d+ .*: Access Denied/,
  'pc-cdrom-vnc': /booted from boot\.iso/,
  'scsi-numa': /booted from boot\.img/,
  'two-cards': /booted from boot\.img/,
  'usb-and-all-sorts': /booted from boot\.img/,
  'host-cpu-floppy': /booted from floppy\.img/,
}

test.each(Object.entries(READY_PATTERNS))('the domain %s of virt-install boots', async (name, ready) => {
  await using vm = await boot(name, { ssh: false, ready })
  expect(
    vm.importReport.skippedSettings.map(({ path, what, reason }) => `${path}: ${what}: ${reason}`),
  ).toMatchSnapshot()
  expect(
    vm.importReport.skippedSettings.filter(({ reason }) => reason === 'not supported by withvm'),
  ).toEqual([])
})

test('the domain kernel-initrd of virt-install boots and is reachable over SSH', async () => {
  const logged: string[] = []
  await using vm = await boot('kernel-initrd', { log: (line) => logged.push(line) })
  const { stdout } = await vm.ssh`cat /proc/cmdline /sys/class/net/eth0/address`
  expect(stdout).toBe('console=ttyS0 quiet panic=0\n52:54:00:00:00:07')
  expect(vm.name).toBe('kernel-initrd')
  expect(logged).toContain(
    `${vm.importReport.skippedSettings.length} settings were not imported from the libvirt domain of '${vm.id}': see vm.importReport, or run \`withvm import\`.`,
  )
})

test('every domain in the folder has a test', () => {
  const names = readdirSync(DOMAINS).map((file) => file.replace('.xml', ''))
  expect(names.sort()).toEqual([...Object.keys(READY_PATTERNS), 'kernel-initrd'].sort())
})

test('explicit options override the settings of the domain', async () => {
  const image = { path: join(folder, 'data.img'), format: 'raw' } as const
  const options = { image, memory: '64M', name: 'other' } as const
  await using vm = await boot('scsi-numa', {
    ...options,
    numa: [],
    disks: [],
    ssh: false,
    ready: /booted from data\.img/,
  })
  expect(vm.name).toBe('other')
  expect(vm.commandLine).toContain('-m size=65536k')
  expect(vm.commandLine).toContain('virtio-blk-pci')
})

test('a missing disk of a domain is named in the error', async () => {
  const text = readDomain('bios-virtio').replaceAll(`${folder}/boot.img`, '/srv/gone/boot.img')
  const error = await failureOf(launchVM({ libvirtXML: text, log: () => {} }))
  expect(error.code).toBe('IMAGE_NOT_FOUND')
  expect(error.message).toMatchInlineSnapshot(`
    "The disk /srv/gone/boot.img of the libvirt domain does not exist.
      Expected: a readable file, as specified in the domain (inline text)
      Got:      no readable file at /srv/gone/boot.img
    Fix: Copy the disk to that path, or override it with the option \`image\` or \`disks\`."
  `)
})
