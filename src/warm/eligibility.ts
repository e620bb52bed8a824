import { restoresTime } from '../spec/architectures.js'
import type { MachineSpec } from '../spec/machine-spec.js'

interface ColdReason {
  readonly applies: (spec: MachineSpec) => boolean
  /** Options that cause it, for the documentation. */
  readonly options: readonly string[]
  readonly reason: string
}

/**
 * Reasons against a warm start. The first one that applies is reported. A reason that needs I/O is
 * in `findClosedCache` (start-warm.ts).
 */
export const COLD_REASONS: readonly ColdReason[] = [
  { applies: ({ start }) => start === 'cold', options: ['start'], reason: "start: 'cold'" },
  {
    applies: ({ image, directBoot }) => image === undefined && directBoot !== undefined,
    options: ['kernel'],
    reason: 'the guest has no image, only a kernel',
  },
  { applies: ({ image }) => image === undefined, options: ['image'], reason: 'the guest has no image' },
  {
    applies: ({ image }) => image?.traits.identity === undefined || image.fingerprint === undefined,
    options: ['image'],
    reason: 'the image has no identity agent, which clones need for their own identity',
  },
  {
    applies: ({ arch }) => !restoresTime(arch),
    options: ['arch'],
    reason: 'QEMU does not restore the time base of POWER processors, so timers of a clone would stop',
  },
  {
    applies: ({ ready }) => ready === 'none',
    options: ['ready'],
    reason: "with `ready: 'none'` the test observes the boot",
  },
  {
    applies: ({ ready }) => typeof ready === 'function' || ready instanceof RegExp,
    options: ['ready'],
    reason: 'with its own `ready` check the test observes the boot',
  },
  {
    applies: ({ bootOrder, bootOnce, bootMenu, netboot }) =>
      bootOrder !== undefined || bootOnce !== undefined || bootMenu || netboot !== undefined,
    options: ['boot', 'bootOnce', 'bootMenu', 'netboot', 'network.tftp'],
    reason: 'boot order and network boot take effect only in a cold boot',
  },
  {
    applies: ({ systemDisk, disks, network, furtherNetworks }) =>
      [systemDisk, ...disks, network, ...furtherNetworks].some(({ bootIndex }) => bootIndex !== undefined),
    options: ['systemDisk.bootIndex', 'disks[].bootIndex', 'network.bootIndex'],
    reason: '`bootIndex` takes effect only in a cold boot',
  },
  {
    applies: ({ firmware }) => firmware.type === 'uefi',
    options: ['firmware'],
    reason: 'UEFI variables belong to one guest',
  },
  {
    applies: ({ firmware }) => firmware.type === 'bios' && firmware.file !== undefined,
    options: ['firmware'],
    reason: 'a firmware file takes effect only in a cold boot',
  },
  {
    applies: ({ tpm }) => tpm !== undefined,
    options: ['tpm'],
    reason: 'the keys of a TPM belong to one guest',
  },
  {
    applies: ({ disks }) => disks.length > 0,
    options: ['disks', 'hda', 'hdb', 'hdc', 'hdd', 'cdrom', 'fda', 'fdb'],
    reason: 'a template contains only the system disk, and this guest has more disks',
  },
  {
    applies: ({ network, furtherNetworks }) =>
      furtherNetworks.length > 0 ||
      network.id !== undefined ||
      network.address !== undefined ||
      network.vectors !== undefined ||
      Object.values(network.addresses).some((value) => value !== undefined),
    options: ['network'],
    reason: 'a clone has one network card with the default address',
  },
  {
    applies: ({ network }) => network.guestForwards.some(({ service }) => 'handler' in service),
    options: ['network.guestfwd'],
    reason: 'a `guestfwd` handler is a function of one test',
  },
  {
    applies: ({ display: { window, vnc, spice } }) =>
      [window, vnc, spice].some((shown) => shown !== undefined),
    options: ['display', 'vnc', 'spice'],
    reason: 'a window, VNC or SPICE shows the boot',
  },
  {
    applies: ({ numa }) => numa.length > 0,
    options: ['numa'],
    reason: 'a template has one memory file, and NUMA nodes have several',
  },
  {
    applies: ({ smbios }) => Object.keys(smbios).length > 0,
    options: ['smbios'],
    reason: '`smbios` is read at boot',
  },
  {
    applies: ({ rtc }) => Object.keys(rtc).length > 0,
    options: ['rtc'],
    reason: '`rtc` is set, and a clone gets the time of the host',
  },
  {
    applies: ({ debug }) => Object.keys(debug).length > 0,
    options: ['debug'],
    reason: '`debug` observes a guest from power-on',
  },
  { applies: ({ ports }) => ports.length > 0, options: ['ports'], reason: '`ports` connect to one guest' },
  {
    applies: ({ memoryBacking }) => Object.keys(memoryBacking).length > 0,
    options: ['memory'],
    reason:
      '`memory` configures the memory of the host, and the RAM of a clone is a file shared with other guests',
  },
  {
    applies: ({ devices }) => devices.others.length > 0,
    options: ['devices'],
    reason: '`devices` may contain devices whose state cannot be saved',
  },
  {
    applies: ({ directBoot }) => directBoot?.isCustom === true,
    options: ['kernel'],
    reason: '`kernel` takes effect only in a cold boot',
  },
  {
    applies: ({ ssh }) => ssh === undefined || ssh.login !== undefined,
    options: ['ssh'],
    reason: 'a clone accepts only the key of its run, and `ssh` specifies another login or none',
  },
  {
    applies: ({ login }) => login !== undefined,
    options: ['login'],
    reason: '`login` is for images without an identity agent',
  },
  {
    applies: ({ qemuArgs }) => qemuArgs.length > 0,
    options: ['qemuArgs'],
    reason: '`qemuArgs` may name files and devices that cannot be shared',
  },
]

/** Returns why this guest needs a cold boot; undefined if it can start from a template. */
export function findColdReason(spec: MachineSpec): string | undefined {
  return COLD_REASONS.find(({ applies }) => applies(spec))?.reason
}
