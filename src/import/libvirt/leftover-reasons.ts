import type { SkippedSetting } from '../../spec/import-report.js'
import type { Leftover } from './xml-element.js'

/** Reasons for settings that were not imported, by path. The first match is used. */
const REASONS: ReadonlyArray<readonly [RegExp, string]> = [
  [
    /^(uuid|genid|title|description|metadata)(\/|$)/,
    'it identifies a libvirt domain; test guests are temporary',
  ],
  [/^(on_poweroff|on_reboot|on_crash|on_lockfailure)$/, 'the test controls the lifecycle of the guest'],
  [/(^|\/)address(@|\/|$)/, 'QEMU assigns device addresses'],
  [/(^|\/)alias(@|\/|$)/, 'device names are reassigned'],
  [/^@(id|type)$/, 'it describes a running domain or another hypervisor'],
  [/^devices\/emulator/, 'QEMU is found on this host; select another one with the option `qemu`'],
  [/^devices\/controller/, 'controllers are added with the devices that need them'],
  [/^devices\/(graphics|redirdev)/, 'no display is added by default; set `vga`, `vnc` or `spice`'],
  [/^devices\/channel/, 'the channel has no peer; the channel of the guest agent is always added'],
  [/^devices\/(console|serial|parallel)/, 'one serial console is always added and logged'],
  [
    /^devices\/hostdev/,
    'a host device supports only one guest; add it with `qemuArgs` if only one test uses it',
  ],
  [/^devices\/filesystem/, 'guests do not share host folders; copy files with `vm.upload()`'],
  [
    /^devices\/(vsock|shmem|memory|iommu|smartcard|hub|lease|nvram|crypto)/,
    'add it with `devices` or `qemuArgs`',
  ],
  [/^devices\/audio/, 'sound cards are connected to no audio output of the host'],
  [/^devices\/video/, 'the display uses the defaults of its card'],
  [
    /^devices\/disk\/(iotune|blockio|geometry|backenddomain|throttlefilters)/,
    'disks use the defaults of QEMU without limits',
  ],
  [
    /^devices\/disk\/(backingStore|mirror|transient|shareable)/,
    'the writes of a guest go to its own overlay on top of the file',
  ],
  [
    /^devices\/interface\/(bandwidth|filterref|vlan|virtualport|port|guest|script|target|backend|coalesce|tune)/,
    'the card is connected to a separate network',
  ],
  [/^features\//, 'the default of QEMU applies; change it with `cpu` or `machine`'],
  [/^cpu@(check|match|migratable|mode)/, 'the CPU features depend on this host'],
  [/^cpu\//, 'the CPU features depend on this host'],
  [/^clock\//, 'the default timers of QEMU are used'],
  [/^pm(\/|$)/, 'the default of the firmware applies'],
  [/^os\/(bios|smbios|acpi|bootloader|nvram|loader|firmware)/, 'the firmware is found on this host'],
  [
    /^(currentMemory|memtune|memoryBacking|numatune|cputune|iothreads|iothreadids|blkiotune|resource|defaultiothread)/,
    'resources of the host are not imported; set `memory` or `numa`',
  ],
  [/^vcpu@/, 'resources of the host are not imported'],
  [/^(seclabel|launchSecurity|keywrap)/, 'the sandbox of QEMU is used'],
  [/^qemu:/, 'pass these arguments with `qemuArgs`'],
]

/** Returns each unread setting with its reason, without duplicates. */
export function explainLeftovers(leftovers: readonly Leftover[]): SkippedSetting[] {
  const notes = leftovers.map(({ path, text: what }) => ({
    what,
    path,
    reason: REASONS.find(([pattern]) => pattern.test(path))?.[1] ?? 'not supported by withvm',
  }))
  return notes.filter(({ path, what }, index) => {
    return notes.findIndex((other) => other.path === path && other.what === what) === index
  })
}
