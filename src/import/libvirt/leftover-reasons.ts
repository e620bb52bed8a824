import type { NotCarriedOver } from '../../spec/not-carried-over.js'
import type { Leftover } from './xml-element.js'

/** Why what nobody has asked for was left out. The first that fits counts. */
const REASONS: ReadonlyArray<readonly [RegExp, string]> = [
  [
    /^(uuid|genid|title|description|metadata)(\/|$)/,
    'it tells domains of libvirt apart: a guest of a test has no life before or after it',
  ],
  [
    /^(on_poweroff|on_reboot|on_crash|on_lockfailure)$/,
    'what becomes of a guest is for the test to say and to see',
  ],
  [/(^|\/)address(@|\/|$)/, 'QEMU gives devices their places'],
  [/(^|\/)alias(@|\/|$)/, 'names of devices are given anew'],
  [/^@(id|type)$/, 'it is of the running domain, or of another hypervisor'],
  [/^devices\/emulator/, 'QEMU is found on this host; the option `qemu` names another'],
  [/^devices\/controller/, 'controllers come with what is connected to them'],
  [/^devices\/(graphics|redirdev)/, 'nobody looks at a guest of a test: `vm.screenshot()` takes pictures'],
  [/^devices\/channel/, 'nobody is at the other end; the channel of the guest agent is always there'],
  [/^devices\/(console|serial|parallel)/, 'one serial console is there always, and kept as a log'],
  [
    /^devices\/hostdev/,
    'a device of the host is for one guest alone; add it with `qemuArgs` where a test has it for itself',
  ],
  [/^devices\/filesystem/, 'a guest shares no folder of the host; `vm.upload()` copies into it'],
  [
    /^devices\/(vsock|shmem|memory|iommu|smartcard|hub|lease|nvram|crypto)/,
    'it can be added with `devices` or `qemuArgs`',
  ],
  [/^devices\/audio/, 'nobody hears a guest of a test'],
  [/^devices\/video/, 'the display has what its card has by itself'],
  [
    /^devices\/disk\/(iotune|blockio|geometry|backenddomain|throttlefilters)/,
    'the disk is as fast as it can be',
  ],
  [
    /^devices\/disk\/(backingStore|mirror|transient|shareable)/,
    'what a guest writes goes to an overlay of its own on the file',
  ],
  [
    /^devices\/interface\/(bandwidth|filterref|vlan|virtualport|port|guest|script|target|backend|coalesce|tune)/,
    'the network behind the card is one of its own',
  ],
  [/^features\//, "QEMU's default counts; `cpu` and `machine` may say more"],
  [/^cpu@(check|match|migratable|mode)/, 'the CPU is what this host can do'],
  [/^cpu\//, 'the CPU is what this host can do'],
  [/^clock\//, "QEMU's timers are as it has them by itself"],
  [/^pm(\/|$)/, 'QEMU has it as the firmware has it'],
  [/^os\/(bios|smbios|acpi|bootloader|nvram|loader|firmware)/, 'the firmware is found on this host'],
  [
    /^(currentMemory|memtune|memoryBacking|numatune|cputune|iothreads|iothreadids|blkiotune|resource|defaultiothread)/,
    'how the host shares itself out is not said by a test',
  ],
  [/^vcpu@/, 'how the host shares itself out is not said by a test'],
  [/^(seclabel|launchSecurity|keywrap)/, "QEMU's own sandbox is used"],
  [/^qemu:/, 'give these arguments with `qemuArgs`'],
]

/** Gives each leftover its reason; alike ones once. */
export function explainLeftovers(leftovers: readonly Leftover[]): NotCarriedOver[] {
  const notes = leftovers.map(({ path, text: what }) => ({
    what,
    path,
    reason: REASONS.find(([pattern]) => pattern.test(path))?.[1] ?? 'withvm does not know it',
  }))
  return notes.filter(({ path, what }, index) => {
    return notes.findIndex((other) => other.path === path && other.what === what) === index
  })
}
