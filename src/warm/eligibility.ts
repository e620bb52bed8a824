import type { MachineSpec } from '../spec/machine-spec.js'
import type { VMOptions } from '../spec/options.js'

interface Row<VM> {
  readonly applies: (spec: MachineSpec<VM>, options: VMOptions<VM>) => boolean
  readonly reason: string
}

/** What speaks against going on from a guest that was booted before. The first that applies counts. */
const ROWS: readonly Row<never>[] = [
  { applies: (_, { start }) => start === 'cold', reason: "start: 'cold'" },
  {
    applies: ({ image, directBoot }) => image === undefined && directBoot !== undefined,
    reason: 'there is no image, only a kernel',
  },
  { applies: ({ image }) => image === undefined, reason: 'there is no image' },
  {
    applies: ({ image }) => image?.traits.hasIdentityAgent !== true || image.identity === undefined,
    reason: 'nothing in this image can make each of its clones a machine of its own',
  },
  {
    applies: ({ ready }) => ready === 'none',
    reason: "with ready: 'none' the test is to see the guest boot",
  },
  {
    applies: ({ ready }) => typeof ready === 'function' || ready instanceof RegExp,
    reason: 'with a `ready` of its own the test is to see the guest boot',
  },
  {
    applies: ({ bootOrder, bootOnce, bootMenu, netboot }) =>
      bootOrder !== undefined || bootOnce !== undefined || bootMenu || netboot !== undefined,
    reason: 'a boot order and network boots are about booting',
  },
  {
    applies: ({ systemDisk, disks, network, furtherNetworks }) =>
      [systemDisk, ...disks, network, ...furtherNetworks].some(({ bootIndex }) => bootIndex !== undefined),
    reason: 'a place in the boot order is about booting',
  },
  { applies: ({ firmware }) => firmware.type === 'uefi', reason: 'UEFI firmware has variables of its own' },
  {
    applies: ({ firmware }) => firmware.type === 'bios' && firmware.file !== undefined,
    reason: 'firmware of its own is about booting',
  },
  { applies: ({ tpm }) => tpm !== undefined, reason: 'a TPM has keys of its own' },
  {
    applies: ({ disks }) => disks.length > 0,
    reason: 'only the system disk is frozen, and there are others',
  },
  {
    applies: ({ network, furtherNetworks }) =>
      furtherNetworks.length > 0 ||
      network.id !== undefined ||
      network.address !== undefined ||
      network.vectors !== undefined ||
      Object.values(network.addresses).some((value) => value !== undefined),
    reason: 'a clone is given the default address of one card',
  },
  {
    applies: ({ network }) => network.guestForwards.some(({ answer }) => 'handler' in answer),
    reason: 'a function that answers a guest is of one test alone',
  },
  {
    applies: ({ display: { window, vnc, spice } }) =>
      [window, vnc, spice].some((shown) => shown !== undefined),
    reason: 'who looks at the display is to see the guest boot',
  },
  { applies: ({ numa }) => numa.length > 0, reason: 'the memory of NUMA nodes is in several pieces' },
  { applies: ({ smbios }) => Object.keys(smbios).length > 0, reason: 'what `smbios` says is read at boot' },
  { applies: ({ rtc }) => Object.keys(rtc).length > 0, reason: 'a clone is given the time of the host' },
  {
    applies: ({ debug }) => Object.keys(debug).length > 0,
    reason: '`debug` is about what happens from the power button on',
  },
  { applies: ({ ports }) => ports.length > 0, reason: 'what crosses `ports` is of one guest alone' },
  {
    applies: ({ memoryBacking }) => Object.keys(memoryBacking).length > 0,
    reason: 'the memory of a clone is a file that others share',
  },
  {
    applies: ({ devices }) => devices.others.length > 0,
    reason: '`devices` may have some that cannot be frozen',
  },
  { applies: (_, { kernel }) => kernel !== undefined, reason: 'a kernel of its own is about booting' },
  {
    applies: ({ ssh }) => ssh === undefined || ssh.login !== undefined,
    reason: 'a clone is given the keys of its run, and `ssh` says something else',
  },
  {
    applies: ({ login }) => login !== undefined,
    reason:
      'a login on the serial console is for images that take no keys, and a clone is given those of its run',
  },
  {
    applies: ({ qemuArgs }) => qemuArgs.length > 0,
    reason: '`qemuArgs` may name files and devices that cannot be shared',
  },
]

/** Why this guest is to be booted from its power button; undefined where it can go on from one that was booted before. */
export function findColdReason<VM>(spec: MachineSpec<VM>, options: VMOptions<VM>): string | undefined {
  const rows = ROWS as readonly unknown[] as readonly Row<VM>[]
  return rows.find(({ applies }) => applies(spec, options))?.reason
}
