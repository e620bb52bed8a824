import { listDisks, readSystemDisk, WITHOUT_BOOT_INDEX } from '../list-disks.js'
import type { DiskConnection, DiskInterface, DiskOptions } from '../options/disks.js'
import type { VMOptions } from '../options.js'
import { listNetworks } from '../resolve/resolve-network.js'
import type { Report } from './report.js'

/** Where a CD drive can be. */
const CD_INTERFACES: readonly DiskInterface[] = ['ide', 'sata', 'scsi', 'usb']
/** Real disks of these kinds cannot be made read only, and QEMU's are like them. */
const ALWAYS_WRITABLE: readonly DiskInterface[] = ['ide', 'sata']
const WITHOUT_SERIAL: readonly DiskInterface[] = ['floppy', 'sd', 'pflash']

/** What of the disks cannot be together. */
export function findDiskConflicts<VM>(options: VMOptions<VM>, report: Report): void {
  if (options.hda !== undefined && options.image !== undefined) {
    report('hda', 'a disk to boot from beside `image`', 'one of both: either is the disk that is booted from')
  }
  if (options.hda !== undefined && options.systemDisk?.interface !== undefined) {
    report(
      'systemDisk.interface',
      `'${options.systemDisk.interface}' beside \`hda\``,
      '`image` in place of `hda`',
    )
  }
  if (options.cdrom !== undefined && options.hdc !== undefined) {
    report('cdrom', 'a CD beside `hdc`', 'one of both, as they have one place; or the CD in `disks`')
  }
  if (options.image === false && options.systemDisk !== undefined) {
    report('systemDisk', 'how a disk is connected', 'nothing, as with `image: false` there is none')
  }
  const { connection } = readSystemDisk(options)
  checkConnection('systemDisk', connection, connection.interface ?? 'virtio', report)
  for (const { path, disk } of listDisks(options)) checkDisk(path, disk, report)
  reportDoublePlaces(options, report)
  reportDoubleBootIndexes(options, report)
}

function checkDisk(path: string, disk: DiskOptions, report: Report): void {
  const isCd = disk.media === 'cdrom'
  const kind = disk.interface ?? (isCd ? 'ide' : 'virtio')
  if (disk.image !== undefined && disk.size !== undefined) {
    report(`${path}.size`, 'a size beside an image', 'one of both: an image has its size')
  }
  if (disk.image === undefined && disk.size === undefined && !isCd && kind !== 'floppy') {
    report(path, 'a disk with nothing on it', '`image`, or `size` for a new one')
  }
  if (isCd && disk.size !== undefined)
    report(`${path}.size`, 'a size', 'an `image`: nothing can be written to a CD')
  if (isCd && !CD_INTERFACES.includes(kind)) {
    report(`${path}.interface`, `'${kind}' for a CD`, CD_INTERFACES.map((name) => `'${name}'`).join(' or '))
  }
  if (disk.readonly === true && !isCd && ALWAYS_WRITABLE.includes(kind)) {
    report(
      `${path}.readonly`,
      `a disk at '${kind}' that is read only`,
      "another interface, such as 'virtio', or media: 'cdrom'",
    )
  }
  checkConnection(path, disk, kind, report)
  if (disk.snapshot === false) checkWrittenThrough(path, disk, isCd, report)
}

function checkConnection(
  path: string,
  { serial, bootIndex }: DiskConnection,
  kind: DiskInterface,
  report: Report,
): void {
  if (serial !== undefined && WITHOUT_SERIAL.includes(kind)) {
    report(`${path}.serial`, `a serial number at '${kind}'`, 'none: such a disk has no serial number')
  }
  if (bootIndex !== undefined && WITHOUT_BOOT_INDEX.includes(kind)) {
    report(`${path}.bootIndex`, `a place in the boot order at '${kind}'`, 'another interface')
  }
}

/** What is written to is a file of the author's: what is kept for others, or read by them, is not. */
function checkWrittenThrough(path: string, disk: DiskOptions, isCd: boolean, report: Report): void {
  const { image } = disk
  const isPath = typeof image === 'string' ? /[/.]/.test(image) : image !== undefined && 'path' in image
  if (!isPath)
    report(
      `${path}.snapshot`,
      'false',
      'the path of a file in `image` beside it: what the guest writes goes there',
    )
  if (isCd || disk.readonly === true) report(`${path}.snapshot`, 'false', 'nothing: this disk is read only')
  if (isPath && disk.format === undefined && (typeof image === 'string' || image?.format === undefined)) {
    report(
      `${path}.snapshot`,
      'false',
      '`format` beside it: a guest that writes to a file could make it look like another format',
    )
  }
}

function reportDoublePlaces<VM>(options: VMOptions<VM>, report: Report): void {
  const { image, connection } = readSystemDisk(options)
  const taken = new Map<string, string>()
  const isQ35 = options.machine?.includes('q35') === true
  const system =
    image === false ? [] : [{ path: options.hda === undefined ? 'systemDisk' : 'hda', disk: connection }]
  for (const { path, disk } of [...system, ...listDisks(options)]) {
    if (disk.index === undefined) continue
    const kind = disk.interface ?? ('media' in disk && disk.media === 'cdrom' ? 'ide' : 'virtio')
    const bus = kind === 'sata' && isQ35 ? 'ide' : kind
    const other = taken.get(`${bus} ${disk.index}`)
    // That of a CD and `hdc` is told in words of their own.
    const isTold = path === 'cdrom' && other === 'hdc'
    if (other !== undefined && !isTold)
      report(path, `place ${disk.index} at '${kind}', where ${other} is`, 'another `index`')
    taken.set(`${bus} ${disk.index}`, path)
  }
}

function reportDoubleBootIndexes<VM>(options: VMOptions<VM>, report: Report): void {
  const several = Array.isArray(options.network)
  const places = [
    { path: 'systemDisk', bootIndex: options.systemDisk?.bootIndex },
    ...listDisks(options).map(({ path, disk }) => ({ path, bootIndex: disk.bootIndex })),
    ...listNetworks(options).map(({ bootIndex }, index) => ({
      path: several ? `network[${index}]` : 'network',
      bootIndex,
    })),
  ]
  const taken = new Map<number, string>()
  for (const { path, bootIndex } of places) {
    if (bootIndex === undefined) continue
    const other = taken.get(bootIndex)
    if (other !== undefined) report(`${path}.bootIndex`, `${bootIndex}`, `another than that of ${other}`)
    taken.set(bootIndex, path)
  }
}
