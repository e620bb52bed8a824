import { KIB } from '../../common/units.js'
import { DISK_FORMATS, type DiskFormat } from '../../spec/base-image.js'
import type { ImageSource } from '../../spec/image-source.js'
import type { DiskCache, DiskConnection, DiskInterface, DiskOptions } from '../../spec/options/disks.js'
import { type Controllers, findControllers, readDiskDevice } from './disk-devices.js'
import { type Draft, formatGiven, type ParsedOption } from './draft.js'
import { formatParameters, isOn, lastValue, type Parameters, parseParameters } from './parameters.js'

const LETTERS = ['hda', 'hdb', 'hdc', 'hdd', 'cdrom', 'fda', 'fdb'] as const
const INTERFACES = ['ide', 'scsi', 'virtio', 'sd', 'floppy', 'pflash'] as const
const CACHES: Readonly<Record<string, DiskCache>> = {
  none: 'none',
  writeback: 'writeback',
  writethrough: 'writethrough',
  directsync: 'directsync',
  unsafe: 'unsafe',
  off: 'none', // name until QEMU 0.10
}
const NULL_DISK = ['file.driver=null-co', 'file.read-zeroes=on']

/** Parses all disks. The first bootable disk is the system disk. Returns the remaining options. */
export function readDisks(draft: Draft, given: readonly ParsedOption[]): readonly ParsedOption[] {
  const controllers = findControllers(given, draft.options.machine)
  const used = new Set<ParsedOption>()
  const optionsOf = new Map<ParsedOption, DiskOptions>()
  let first: DiskOptions | undefined
  for (const one of given) {
    const { flag, value } = one
    if ((LETTERS as readonly string[]).includes(flag)) {
      used.add(one)
      draft.options[flag as (typeof LETTERS)[number]] = value
    } else if (flag === 'sd' || flag === 'pflash') {
      used.add(one)
      optionsOf.set(one, { interface: flag, image: value })
    } else if (flag === 'snapshot') {
      used.add(one)
    } else if (flag === 'drive') {
      const disk = readDrive(draft, one, given, controllers)
      if (disk === undefined) continue
      used.add(one)
      for (const device of disk.devices) used.add(device)
      optionsOf.set(one, disk.options)
      if (lastValue(parseParameters(value), 'id') === 'disk0') first = disk.options
    }
  }
  const empty = readEmptyDrives(given, used, controllers)
  for (const { device, options } of empty) {
    used.add(device)
    optionsOf.set(device, options)
  }
  const disks = given.flatMap((one) => optionsOf.get(one) ?? [])
  placeSystemDisk(draft, disks, first)
  const rest = given.filter((one) => !used.has(one))
  for (const one of rest) if (one.flag === 'drive') keepDrive(draft, one)
  return rest.filter((one) => one.flag !== 'drive' && !controllers.isUnused(one, rest))
}

/**
 * Passes through a drive that the options do not support, with a snapshot so that the file is not
 * modified.
 */
function keepDrive(draft: Draft, given: ParsedOption): void {
  const parameters = parseParameters(given.value)
  const snapshot = lastValue(parameters, 'snapshot')
  const isReadonly = ['readonly', 'read-only'].some((key) => isOn(lastValue(parameters, key) ?? 'off'))
  if (snapshot !== undefined || isReadonly || lastValue(parameters, 'media') === 'cdrom')
    return void draft.keep(given)
  const value = formatParameters([...parameters, ['snapshot', 'on']])
  draft.keep({ flag: 'drive', value })
  draft.translate(given, `-drive ${value}`, 'the writes of a guest are discarded with the guest')
}

interface ReadDrive {
  readonly options: DiskOptions
  readonly devices: readonly ParsedOption[]
}

function readDrive(
  draft: Draft,
  one: ParsedOption,
  given: readonly ParsedOption[],
  controllers: Controllers,
): ReadDrive | undefined {
  const parameters = parseParameters(one.value)
  const get = (key: string) => lastValue(parameters, key)
  const kind = get('if') ?? 'ide'
  const id = get('id')
  const devices = given.filter(({ flag, value }) => {
    return (
      flag === 'device' && id !== undefined && lastValue(parseParameters(value, 'driver'), 'drive') === id
    )
  })
  const connection =
    kind === 'none' ? readDiskDevice(devices[0], controllers) : readInterface(kind, parameters)
  if (connection === undefined || (id !== undefined && devices.length > 1)) return undefined
  const content = readContent(parameters, given)
  if (content === undefined || !hasOnlyKnown(parameters)) return undefined
  const { isCd, ...connector } = connection
  const cache = get('cache')
  if (get('snapshot') !== undefined && !isOn(get('snapshot') ?? '')) {
    draft.translate(
      one,
      'an overlay',
      'the writes of a guest are discarded with the guest; disks: [{ snapshot: false }] writes to the file itself',
    )
  }
  if (get('boot') !== undefined) {
    draft.translate(
      one,
      formatGiven({ ...one, value: formatParameters(parameters.filter(([key]) => key !== 'boot')) }),
      'current firmware boots from every disk without `boot=on`',
    )
  }
  const isReadonly = isOn(get('readonly') ?? get('read-only') ?? 'off')
  const options: DiskOptions = {
    ...content,
    ...connector,
    ...(get('serial') === undefined ? {} : { serial: get('serial') as string }),
    ...(cache === undefined ? {} : { cache: CACHES[cache] ?? (cache as DiskCache) }),
    ...(get('discard') === 'ignore' || get('discard') === 'off' ? { discard: 'ignore' } : {}),
    ...(get('media') === 'cdrom' || isCd ? { media: 'cdrom' } : isReadonly ? { readonly: true } : {}),
  }
  return { options, devices }
}

function hasOnlyKnown(parameters: Parameters): boolean {
  return parameters.every(([key, value]) => {
    return (
      KNOWN.includes(key) ||
      key.endsWith('key-secret') ||
      key === 'file.size' ||
      NULL_DISK.includes(`${key}=${value}`)
    )
  })
}

const KNOWN = ['file', 'if', 'index', 'bus', 'unit', 'media', 'snapshot', 'cache', 'format', 'id', 'serial']
KNOWN.push('discard', 'readonly', 'read-only', 'boot')

/** Parses the content of a drive. Undefined if it cannot be an image. */
function readContent(
  parameters: Parameters,
  given: readonly ParsedOption[],
): Pick<DiskOptions, 'image' | 'size'> | undefined {
  const get = (key: string) => lastValue(parameters, key)
  const file = get('file')
  const size = get('file.size')
  if (get('file.driver') === 'null-co' && size !== undefined) return { size: `${Number(size) / KIB}K` }
  if (file === undefined) return parameters.some(([key]) => key.startsWith('file.')) ? undefined : {}
  // Other protocols, such as nbd:, json:, fat: and http:
  if (/^[a-z][\w+-]+:/i.test(file) && !file.startsWith('file:')) return undefined
  const path = file.replace(/^file:/, '')
  const format = get('format')
  if (format !== undefined && !DISK_FORMATS.includes(format as DiskFormat)) return undefined
  const secret = parameters.find(([key]) => key.endsWith('key-secret'))?.[1]
  const secretFile = secret === undefined ? undefined : findSecret(given, secret)
  if (secret !== undefined && secretFile === undefined) return undefined
  if (format === undefined && secretFile === undefined) return { image: path }
  return {
    image: {
      path,
      ...(format === undefined ? {} : { format: format as DiskFormat }),
      ...(secretFile === undefined ? {} : { secret: { file: secretFile } }),
    },
  }
}

function findSecret(given: readonly ParsedOption[], id: string): string | undefined {
  for (const { flag, value } of given) {
    const parameters = flag === 'object' ? parseParameters(value, 'qom-type') : []
    if (lastValue(parameters, 'qom-type') === 'secret' && lastValue(parameters, 'id') === id)
      return lastValue(parameters, 'file')
  }
  return undefined
}

function readInterface(
  kind: string,
  parameters: Parameters,
): (DiskConnection & { isCd?: boolean }) | undefined {
  if (!(INTERFACES as readonly string[]).includes(kind)) return undefined
  const number = (key: string) => {
    const text = lastValue(parameters, key)
    return text === undefined ? undefined : Number(text)
  }
  const [bus, unit] = [number('bus'), number('unit')]
  const index =
    number('index') ?? (bus === undefined && unit === undefined ? undefined : (bus ?? 0) * 2 + (unit ?? 0))
  return { interface: kind as DiskInterface, ...(index === undefined ? {} : { index }) }
}

/** Finds empty CD and floppy drives, which consist of a device without a drive. */
function readEmptyDrives(
  given: readonly ParsedOption[],
  used: ReadonlySet<ParsedOption>,
  controllers: Controllers,
) {
  return given.flatMap((device) => {
    if (device.flag !== 'device' || used.has(device)) return []
    if (lastValue(parseParameters(device.value, 'driver'), 'drive') !== undefined) return []
    const connection = readDiskDevice(device, controllers)
    if (connection === undefined) return []
    const { isCd, ...connector } = connection
    if (!isCd && connector.interface !== 'floppy') return []
    return [{ device, options: { ...connector, ...(isCd ? { media: 'cdrom' as const } : {}) } }]
  })
}

/**
 * Selects the system disk: `hda` if set; else the disk with ID `disk0`, which `vm.commandLine` uses
 * for the system disk; else the disk with the lowest `bootindex`; else the first disk.
 */
function placeSystemDisk(draft: Draft, disks: readonly DiskOptions[], first: DiskOptions | undefined): void {
  const { options } = draft
  const others = (system?: DiskOptions) => {
    const rest = disks.filter((disk) => disk !== system)
    if (rest.length > 0) options.disks = rest
  }
  if (options.hda !== undefined) {
    others()
    return
  }
  const candidates = disks.filter((disk) => {
    const { image, media, readonly, interface: kind = 'virtio' } = disk
    const canBoot = disk === first || !['floppy', 'pflash', 'sd'].includes(kind)
    return image !== undefined && media !== 'cdrom' && readonly !== true && canBoot
  })
  const rank = (disk: DiskOptions) => (disk === first ? 0 : bootRank(disk))
  const bootRank = ({ bootIndex, interface: kind, index }: DiskOptions) =>
    bootIndex ?? (kind === 'ide' && index === 0 ? 1001 : 1002)
  const [system] = candidates.toSorted((a, b) => rank(a) - rank(b))
  if (system === undefined) options.image = false
  else {
    const { image, media: _, size: __, format: ___, readonly: ____, snapshot: _____, ...connection } = system
    options.image = image as ImageSource
    options.systemDisk = connection
  }
  others(system)
}
