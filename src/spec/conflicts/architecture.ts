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
import { providesFirmware } from '../resolve/resolve-firmware.js'
import { listNetworks } from '../resolve/resolve-network.js'
import type { Report } from './report.js'

/** An option that only some architectures support. */
interface Row {
  readonly option: keyof VMOptions
  readonly isSupported: (row: ArchitectureRow, arch: GuestArch) => boolean
  /** Guests that support it, for the message "expected …". */
  readonly supportedBy: string
  /**
   * Alternative on unsupported architectures, for the message "otherwise use …".
   * @default '`devices` or `qemuArgs`'
   */
  readonly instead?: string
}

const ofPcs = {
  isSupported: (_: ArchitectureRow, arch: GuestArch) => isPc(arch),
  supportedBy: 'a PC guest (x86)',
} as const
const withVirtio = {
  isSupported: ({ virtio }: ArchitectureRow) => virtio !== undefined,
  supportedBy: 'a guest with virtio',
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
    supportedBy: 'a guest with PCI',
  },
  { option: 'rng', ...withVirtio },
  { option: 'balloon', ...withVirtio },
  { option: 'cloudInit', ...withVirtio },
  ...(['boot', 'bootOnce'] as const).map(
    (option): Row => ({
      option,
      isSupported: ({ readsBootOrder }) => readsBootOrder,
      supportedBy: 'a guest whose firmware reads it',
      instead: '`bootIndex` of a disk or card',
    }),
  ),
]

/** Reports options that machines of the guest's architecture do not support. */
export function findArchitectureConflicts(options: VMOptions, report: Report): void {
  const arch = resolveArch(options.arch)
  const row = describeArch(arch)
  if (options.accel === 'kvm' && !isNative(arch)) {
    report('accel', `'kvm' on ${arch}`, `'auto' or 'tcg' (KVM on this host runs only ${hostArch()} guests)`)
  }
  for (const { option, isSupported, supportedBy, instead = '`devices` or `qemuArgs`' } of ROWS) {
    const value = options[option as keyof VMOptions]
    if (value === undefined || value === false || value === 'none' || isSupported(row, arch)) continue
    report(option, `the architecture ${arch}`, `${supportedBy}; otherwise use ${instead}`)
  }
  checkFirmware(options, arch, report)
  checkDisks(options, arch, report)
  checkPorts(options, arch, report)
  checkCards(options, arch, report)
  const { uuid: _, ...others } = options.smbios ?? {}
  if (!row.hasSmbios && Object.keys(others).length > 0)
    report(
      'smbios',
      `${Object.keys(others).join(', ')} on ${arch}`,
      'only `uuid` (the architecture has no SMBIOS)',
    )
  if (isPc(arch)) return
  if (typeof options.cpus === 'object' && options.cpus.maxcpus !== undefined)
    report('cpus.maxcpus', `hot-plug CPUs on ${arch}`, 'only `count` (CPU hot-plug requires a PC guest)')
  if (typeof options.memory === 'object' && options.memory.max !== undefined)
    report('memory.max', `hot-plug memory on ${arch}`, 'only `size` (memory hot-plug requires a PC guest)')
}

function checkFirmware(options: VMOptions, arch: GuestArch, report: Report): void {
  const { firmware, kernel, disks, qemuArgs } = options
  const { hasOwnFirmware, hasUefi } = describeArch(arch)
  if (firmware === undefined || (typeof firmware === 'object' && firmware.type === 'bios')) return
  if (firmware === 'bios') {
    const hasFirmware = hasOwnFirmware || kernel !== undefined || providesFirmware({ disks, qemuArgs })
    if (!hasFirmware)
      report(
        'firmware',
        `'bios' on ${arch}`,
        "'uefi', a `kernel`, or `{ type: 'bios', file }` (the board has no firmware)",
      )
  } else if (!hasUefi) {
    report('firmware', `'uefi' on ${arch}`, "'bios', the machine's built-in firmware")
  }
}

function checkDisks(options: VMOptions, arch: GuestArch, report: Report): void {
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
    report(path, `'${kind}' on ${arch}`, `one of ${list} (interfaces of the machine '${machine}')`)
  }
}

function checkPorts({ ports = [] }: VMOptions, arch: GuestArch, report: Report): void {
  const { virtio } = describeArch(arch)
  ports.forEach(({ type = 'virtio' }, index) => {
    const isSupported = type === 'virtio' ? virtio !== undefined : isPc(arch)
    if (isSupported) return
    const others = virtio === undefined ? 'no ports (the machine supports only its console)' : "'virtio'"
    report(`ports[${index}].type`, `'${type}' on ${arch}`, others)
  })
}

/** An onboard card cannot be replaced, and no second card can be added. */
function checkCards(options: VMOptions, arch: GuestArch, report: Report): void {
  const { card, machine } = describeArch(arch)
  if (!card.isOnBoard) return
  const cards = listNetworks(options)
  if (cards.length > 1)
    report('network', `${cards.length} cards on ${arch}`, `one card (onboard on the machine '${machine}')`)
  for (const { model } of cards) {
    if (model !== undefined && model !== card.model)
      report('network.model', `"${model}" on ${arch}`, `'${card.model}', the onboard card`)
  }
}
