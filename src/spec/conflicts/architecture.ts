import {
  type ArchitectureRow,
  describeArch,
  type GuestArch,
  hostArch,
  isNative,
  isPc,
  resolveArch,
} from '../architectures.js'
import { listDisks, readSystemDisk } from '../list-disks.js'
import type { VMOptions } from '../options.js'
import { bringsFirmware } from '../resolve/resolve-devices.js'
import { listNetworks } from '../resolve/resolve-network.js'
import type { Report } from './report.js'

/** An option that not each architecture has. */
interface Row {
  readonly option: keyof VMOptions
  readonly isSupported: (row: ArchitectureRow, arch: GuestArch) => boolean
  /** Who has it, as the end of "…, which … have". */
  readonly supportedBy: string
  /** What to do in its place. */
  readonly instead?: string
}

const ofPcs = {
  isSupported: (_: ArchitectureRow, arch: GuestArch) => isPc(arch),
  supportedBy: 'PCs alone',
} as const
const withVirtio = {
  isSupported: ({ virtio }: ArchitectureRow) => virtio !== undefined,
  supportedBy: 'machines with virtio',
} as const

const ROWS: readonly Row[] = [
  { option: 'tpm', ...ofPcs },
  { option: 'bootMenu', ...ofPcs },
  { option: 'hotplug', ...ofPcs },
  { option: 'sound', ...ofPcs },
  { option: 'watchdog', ...ofPcs },
  { option: 'vga', ...ofPcs },
  { option: 'vnc', ...ofPcs },
  { option: 'spice', ...ofPcs },
  { option: 'display', ...ofPcs },
  { option: 'tablet', ...ofPcs },
  {
    option: 'usb',
    isSupported: ({ disks }) => disks.includes('usb'),
    supportedBy: 'machines with PCI',
  },
  { option: 'rng', ...withVirtio },
  { option: 'balloon', ...withVirtio },
  { option: 'cloudInit', ...withVirtio },
  ...(['boot', 'bootOnce'] as const).map(
    (option): Row => ({
      option,
      isSupported: ({ readsBootOrder }) => readsBootOrder,
      supportedBy: 'machines whose firmware reads it',
      instead: '`bootIndex` of a disk or a card',
    }),
  ),
]

/** What a machine of the guest's architecture has no place for. */
export function findArchitectureConflicts<VM>(options: VMOptions<VM>, report: Report): void {
  const arch = resolveArch(options.arch)
  const row = describeArch(arch)
  if (options.accel === 'kvm' && !isNative(arch)) {
    report(
      'accel',
      `'kvm' for ${arch} guests`,
      `'auto' or 'tcg': KVM of this host runs ${hostArch()} guests alone`,
    )
  }
  for (const {
    option,
    isSupported,
    supportedBy,
    instead = 'nothing: `devices` and `qemuArgs` take what QEMU itself has',
  } of ROWS) {
    const value = options[option as keyof VMOptions<VM>]
    if (value === undefined || value === false || value === 'none' || isSupported(row, arch)) continue
    report(option, `it for ${arch} guests, and ${supportedBy} have it`, instead)
  }
  checkFirmware(options, arch, report)
  checkDisks(options, arch, report)
  checkPorts(options, arch, report)
  checkCards(options, arch, report)
  const { uuid: _, ...told } = options.smbios ?? {}
  if (!row.hasSmbios && Object.keys(told).length > 0)
    report(
      'smbios',
      `${Object.keys(told).join(', ')} for ${arch} guests`,
      '`uuid` alone: they have no SMBIOS',
    )
  if (isPc(arch)) return
  if (typeof options.cpus === 'object' && options.cpus.maxcpus !== undefined)
    report('cpus.maxcpus', `processors to plug in for ${arch} guests`, 'a `count`: PCs alone take more later')
  if (typeof options.memory === 'object' && options.memory.max !== undefined)
    report('memory.max', `memory to plug in for ${arch} guests`, 'a `size`: PCs alone take more later')
}

function checkFirmware<VM>(options: VMOptions<VM>, arch: GuestArch, report: Report): void {
  const { firmware, kernel, disks, qemuArgs } = options
  const { hasOwnFirmware, hasUefi } = describeArch(arch)
  if (firmware === undefined || (typeof firmware === 'object' && firmware.type === 'bios')) return
  if (firmware === 'bios') {
    const isGiven = hasOwnFirmware || kernel !== undefined || bringsFirmware({ disks, qemuArgs })
    if (!isGiven)
      report(
        'firmware',
        `'bios' for ${arch} guests`,
        "'uefi', a `kernel`, or `{ type: 'bios', file }`: the board has no firmware",
      )
  } else if (!hasUefi) {
    report('firmware', `'uefi' for ${arch} guests`, "'bios', which stands for the machine's own firmware")
  }
}

function checkDisks<VM>(options: VMOptions<VM>, arch: GuestArch, report: Report): void {
  const { disks: known, machine } = describeArch(arch)
  const { connection } = readSystemDisk(options)
  const all = [
    { path: options.hda === undefined ? 'systemDisk.interface' : 'hda', kind: connection.interface },
    ...listDisks(options).map(({ path, disk }) => ({
      path: /\[/.test(path) ? `${path}.interface` : path,
      kind: disk.interface,
    })),
  ]
  for (const { path, kind } of all) {
    if (kind === undefined || known.includes(kind)) continue
    const list = known.map((name) => `'${name}'`).join(', ')
    report(path, `'${kind}' for ${arch} guests`, `what a machine '${machine}' has: ${list}`)
  }
}

function checkPorts<VM>({ ports = [] }: VMOptions<VM>, arch: GuestArch, report: Report): void {
  const { virtio } = describeArch(arch)
  ports.forEach(({ type = 'virtio' }, index) => {
    const isSupported = type === 'virtio' ? virtio !== undefined : isPc(arch)
    if (isSupported) return
    const others = virtio === undefined ? 'none: the machine has its console alone' : "'virtio'"
    report(`ports[${index}].type`, `'${type}' for ${arch} guests`, others)
  })
}

/** What is soldered on cannot be another, nor a second one. */
function checkCards<VM>(options: VMOptions<VM>, arch: GuestArch, report: Report): void {
  const { card, machine } = describeArch(arch)
  if (!card.isOnBoard) return
  const cards = listNetworks(options)
  if (cards.length > 1)
    report(
      'network',
      `${cards.length} cards for ${arch} guests`,
      `one: a machine '${machine}' has it on its board`,
    )
  for (const { model } of cards) {
    if (model !== undefined && model !== card.model)
      report('network.model', `"${model}" for ${arch} guests`, `'${card.model}', which is on the board`)
  }
}
