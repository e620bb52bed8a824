import type { DiskFormat } from '../../spec/base-image.js'
import { DISK_FORMATS } from '../../spec/base-image.js'
import type { DiskCache, DiskConnection, DiskInterface, DiskOptions } from '../../spec/options/disks.js'
import type { VMOptions } from '../../spec/options.js'
import { count } from './cpu.js'
import type { Note } from './note.js'
import type { XmlElement } from './xml-element.js'

const BUSES: Readonly<Record<string, DiskInterface>> = {
  virtio: 'virtio',
  ide: 'ide',
  sata: 'sata',
  scsi: 'scsi',
  usb: 'usb',
  sd: 'sd',
  fdc: 'floppy',
}
const CACHES: readonly string[] = ['none', 'writeback', 'writethrough', 'directsync', 'unsafe']
/** Buses on which the name of a disk determines its index. */
const INDEXED: readonly DiskInterface[] = ['ide', 'sata', 'floppy']

interface ReadDisk {
  readonly disk: DiskOptions
  readonly path: string | undefined
  readonly device: string
}

/** Reads the disks. The system disk is the first in the boot order, or the first one. */
export function readDisks(domain: XmlElement, note: Note): VMOptions {
  const os = domain.child('os')
  const order = (os?.children('boot') ?? []).map((boot) => boot.attribute('dev') ?? '')
  const hasKernel = os?.child('kernel') !== undefined
  const all = (domain.child('devices')?.children('disk') ?? []).flatMap((element) => readDisk(element, note))
  const ordered = hasKernel ? all : addBootIndexes(all, order)
  const candidates = ordered.filter(({ device, path }) => device === 'disk' && path !== undefined)
  const system = candidates.reduce<ReadDisk | undefined>(
    (best, one) => (best === undefined || rank(one) < rank(best) ? one : best),
    undefined,
  )
  const disks = ordered.filter((one) => one !== system).map(({ disk }) => disk)
  return {
    image: system === undefined ? (hasKernel ? undefined : false) : readImage(system),
    systemDisk: system && connectionOf(system.disk, ordered.length > 1),
    disks: disks.length === 0 ? undefined : disks,
  } as VMOptions
}

const rank = ({ disk }: ReadDisk) => disk.bootIndex ?? Number.POSITIVE_INFINITY

/**
 * Converts `<boot dev>`, which refers to kinds of disks, to boot indexes of disks, as libvirt does
 * for QEMU.
 */
function addBootIndexes(all: readonly ReadDisk[], order: readonly string[]): readonly ReadDisk[] {
  if (order.length === 0 || all.some(({ disk }) => disk.bootIndex !== undefined)) return all
  const kinds: Readonly<Record<string, string>> = { disk: 'hd', lun: 'hd', cdrom: 'cdrom', floppy: 'fd' }
  const used = new Set<string>()
  return all.map((one) => {
    const kind = kinds[one.device] ?? ''
    const position = order.indexOf(kind)
    if (position < 0 || used.has(kind) || one.disk.interface === 'sd') return one
    used.add(kind)
    return { ...one, disk: { ...one.disk, bootIndex: position + 1 } }
  })
}

function readImage({ disk, path }: ReadDisk) {
  return disk.format === undefined ? path : { path, format: disk.format }
}

/** Returns the connection of the system disk. Its boot index is omitted if it is the only disk. */
function connectionOf(disk: DiskOptions, isOneOfMany: boolean): DiskConnection | undefined {
  const { interface: kind, index, serial, cache, discard, bootIndex } = disk
  const connection = {
    interface: kind === 'virtio' ? undefined : kind,
    index,
    serial,
    cache,
    discard,
    bootIndex: isOneOfMany ? bootIndex : undefined,
  }
  const entries = Object.entries(connection).filter(([, value]) => value !== undefined)
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as DiskConnection)
}

function readDisk(element: XmlElement, note: Note): ReadDisk[] {
  const type = element.attribute('type') ?? 'file'
  const device = element.attribute('device') ?? 'disk'
  const target = element.child('target')
  const name = target?.attribute('dev') ?? ''
  const what = `<disk type="${type}" device="${device}"> (${name})`
  const bus = BUSES[target?.attribute('bus') ?? guessBus(name)]
  const source = element.child('source')
  if (!['file', 'block'].includes(type) && source !== undefined) {
    note(what, 'devices/disk', 'its content is not a file of this host: download it and add it with `disks`')
    return []
  }
  if (bus === undefined) {
    note(what, 'devices/disk', 'QEMU does not support this bus for disks')
    return []
  }
  const path = source?.attribute('file') ?? source?.attribute('dev')
  const isCd = device === 'cdrom'
  const isFloppy = device === 'floppy'
  if (path === undefined && !isCd && !isFloppy) {
    note(what, 'devices/disk', 'the disk has no source')
    return []
  }
  const isReadonly = element.child('readonly') !== undefined
  const disk = {
    image: path,
    format: isCd || isFloppy ? undefined : readFormat(element, note),
    media: isCd ? 'cdrom' : undefined,
    interface: bus,
    index: INDEXED.includes(bus) ? letterOf(name) : undefined,
    serial: element.child('serial')?.text || undefined,
    ...readDriver(element, note),
    readonly: isReadonly && !isCd && !['ide', 'sata'].includes(bus) ? true : undefined,
    bootIndex: count(element.child('boot')?.attribute('order')),
  }
  const defined = Object.fromEntries(Object.entries(disk).filter(([, value]) => value !== undefined))
  return [{ disk: defined as DiskOptions, path, device }]
}

function readFormat(element: XmlElement, note: Note): DiskFormat | undefined {
  const driver = element.child('driver')
  driver?.attribute('name')
  const type = driver?.attribute('type')
  if (type === undefined || DISK_FORMATS.includes(type as DiskFormat)) return type as DiskFormat | undefined
  note(`<driver type="${type}">`, 'devices/disk/driver@type', 'the format is detected from the content')
  return undefined
}

function readDriver(element: XmlElement, note: Note): Pick<DiskOptions, 'cache' | 'discard'> {
  const driver = element.child('driver')
  driver?.attribute('name')
  driver?.attribute('type')
  const cache = driver?.attribute('cache')
  const discard = driver?.attribute('discard')
  const isKnown = cache !== undefined && CACHES.includes(cache)
  if (cache !== undefined && cache !== 'default' && !isKnown)
    note(`<driver cache="${cache}">`, 'devices/disk/driver@cache', 'QEMU does not support this cache mode')
  return {
    ...(isKnown ? { cache: cache as DiskCache } : {}),
    ...(discard === 'ignore' ? { discard } : {}),
  }
}

/** Guesses the bus from the name of a disk, as libvirt does. */
function guessBus(name: string): string {
  return { vd: 'virtio', hd: 'ide', sd: 'scsi', fd: 'fdc', ub: 'usb' }[name.slice(0, 2)] ?? ''
}

function letterOf(name: string): number | undefined {
  const letter = /^[hsf]d([a-z])$/.exec(name)?.[1]
  return letter === undefined ? undefined : letter.charCodeAt(0) - 'a'.charCodeAt(0)
}
