import { listDisks, readSystemDisk, WITHOUT_BOOT_INDEX } from '../list-disks.js'
import type { DiskConnection, DiskInterface, DiskOptions } from '../options/disks.js'
import type { VMOptions } from '../options.js'
import { listNetworks } from '../resolve/resolve-network.js'
import type { Report } from './report.js'

/** Interfaces that support a CD drive. */
const CD_INTERFACES: readonly DiskInterface[] = ['ide', 'sata', 'scsi', 'usb']
/** IDE and SATA disks cannot be read-only, neither in hardware nor in QEMU. */
const ALWAYS_WRITABLE: readonly DiskInterface[] = ['ide', 'sata']
const WITHOUT_SERIAL: readonly DiskInterface[] = ['floppy', 'sd', 'pflash']

/** Reports disks that conflict. */
export function findDiskConflicts(options: VMOptions, report: Report): void {
  if (options.hda !== undefined && options.image !== undefined) {
    report('hda', 'both', 'only one of `hda` and `image` (each is the disk to boot from)')
  }
  if (options.hda !== undefined && options.systemDisk?.interface !== undefined) {
    report(
      'systemDisk.interface',
      `'${options.systemDisk.interface}' together with \`hda\``,
      '`image` instead of `hda`',
    )
  }
  if (options.cdrom !== undefined && options.hdc !== undefined) {
    report(
      'cdrom',
      'both',
      'only one of `cdrom` and `hdc` (both are the third IDE disk), or the CD in `disks`',
    )
  }
  if (options.image === false && options.systemDisk !== undefined) {
    report('systemDisk', 'a disk connection', 'no `systemDisk` with `image: false`')
  }
  const { connection } = readSystemDisk(options)
  checkConnection('systemDisk', connection, connection.interface ?? 'virtio', report)
  for (const { path, disk } of listDisks(options)) checkDisk(path, disk, report)
  reportDuplicateIndexes(options, report)
  reportDuplicateBootIndexes(options, report)
}

function checkDisk(path: string, disk: DiskOptions, report: Report): void {
  const isCd = disk.media === 'cdrom'
  const kind = disk.interface ?? (isCd ? 'ide' : 'virtio')
  if (disk.image !== undefined && disk.size !== undefined) {
    report(`${path}.size`, 'both', 'only one of `image` and `size` (an image has its own size)')
  }
  if (disk.image === undefined && disk.size === undefined && !isCd && kind !== 'floppy') {
    report(path, 'neither', '`image`, or `size` for a new disk')
  }
  if (isCd && disk.size !== undefined)
    report(`${path}.size`, 'a size', 'an `image` instead (a CD is read-only)')
  if (isCd && !CD_INTERFACES.includes(kind)) {
    report(
      `${path}.interface`,
      `'${kind}' for a CD`,
      `one of ${CD_INTERFACES.map((name) => `'${name}'`).join(', ')}`,
    )
  }
  if (disk.readonly === true && !isCd && ALWAYS_WRITABLE.includes(kind)) {
    report(
      `${path}.readonly`,
      `a read-only disk on '${kind}'`,
      "another interface such as 'virtio', or `media: 'cdrom'`",
    )
  }
  checkConnection(path, disk, kind, report)
  if (disk.snapshot === false) checkDirectWrites(path, disk, isCd, report)
}

function checkConnection(
  path: string,
  { serial, bootIndex }: DiskConnection,
  kind: DiskInterface,
  report: Report,
): void {
  if (serial !== undefined && WITHOUT_SERIAL.includes(kind)) {
    report(
      `${path}.serial`,
      `a serial number on '${kind}'`,
      'no serial number (the interface does not support one)',
    )
  }
  if (bootIndex !== undefined && WITHOUT_BOOT_INDEX.includes(kind)) {
    report(`${path}.bootIndex`, `a boot index on '${kind}'`, 'another interface')
  }
}

/** A guest may write directly only to a file of the user, never to a cached or shared image. */
function checkDirectWrites(path: string, disk: DiskOptions, isCd: boolean, report: Report): void {
  const { image } = disk
  const isPath = typeof image === 'string' ? /[/.]/.test(image) : image !== undefined && 'path' in image
  if (!isPath)
    report(`${path}.snapshot`, 'false', 'the path of a file in `image` (the guest writes to this file)')
  if (isCd || disk.readonly === true) report(`${path}.snapshot`, 'false', 'no `snapshot` on a read-only disk')
  if (isPath && disk.format === undefined && (typeof image === 'string' || image?.format === undefined)) {
    report(
      `${path}.snapshot`,
      'false',
      '`format` to be set too (a guest could write the header of another format to the file)',
    )
  }
}

function reportDuplicateIndexes(options: VMOptions, report: Report): void {
  const { image, connection } = readSystemDisk(options)
  const used = new Map<string, string>()
  const isQ35 = options.machine?.includes('q35') === true
  const system =
    image === false ? [] : [{ path: options.hda === undefined ? 'systemDisk' : 'hda', disk: connection }]
  for (const { path, disk } of [...system, ...listDisks(options)]) {
    if (disk.index === undefined) continue
    const kind = disk.interface ?? ('media' in disk && disk.media === 'cdrom' ? 'ide' : 'virtio')
    const bus = kind === 'sata' && isQ35 ? 'ide' : kind
    const other = used.get(`${bus} ${disk.index}`)
    // `cdrom` with `hdc` has its own message.
    const isReported = path === 'cdrom' && other === 'hdc'
    if (other !== undefined && !isReported)
      report(path, `index ${disk.index} on '${kind}', which ${other} uses`, 'a free `index`')
    used.set(`${bus} ${disk.index}`, path)
  }
}

function reportDuplicateBootIndexes(options: VMOptions, report: Report): void {
  const several = Array.isArray(options.network)
  const devices = [
    { path: 'systemDisk', bootIndex: options.systemDisk?.bootIndex },
    ...listDisks(options).map(({ path, disk }) => ({ path, bootIndex: disk.bootIndex })),
    ...listNetworks(options).map(({ bootIndex }, index) => ({
      path: several ? `network[${index}]` : 'network',
      bootIndex,
    })),
  ]
  const used = new Map<number, string>()
  for (const { path, bootIndex } of devices) {
    if (bootIndex === undefined) continue
    const other = used.get(bootIndex)
    if (other !== undefined)
      report(`${path}.bootIndex`, `${bootIndex}`, `a boot index other than that of ${other}`)
    used.set(bootIndex, path)
  }
}
