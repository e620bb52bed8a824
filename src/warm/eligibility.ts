import { findAgentArch } from '../provisioning/identity-agent/target.js'
import { describeArch, restoresTime } from '../spec/architectures.js'
import type { DiskFormat } from '../spec/base-image.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { MICROVM } from '../spec/microvm.js'
import { hasFixedBase } from '../spec/resolve/resolve-machine.js'
import { acceptsKeys } from '../vm/machine/machine-identity.js'
import { hasRootChannel } from '../vm/power/root-channel.js'
import { isProbed } from './template-files.js'

/** Reason for a cold boot. */
export interface ColdReason {
  readonly applies: (spec: MachineSpec) => boolean
  /** Options that cause it, for the documentation. */
  readonly options: readonly string[]
  readonly reason: string
  /** Change of the options that allows a warm start. Undefined if none has the same effect. */
  readonly fix?: string
}

const SHARED_IDENTITY =
  "Set `start: 'warm'` and `identity: 'shared'` if guests may have equal random numbers and an old clock."

/** Formats that block migration (QEMU 7.2). */
const UNSAVABLE_FORMATS: ReadonlyArray<DiskFormat | undefined> = ['vmdk', 'vdi', 'vhdx', 'vpc']

/**
 * Reasons against a warm start. The first one that applies is reported. A reason that needs I/O is
 * in `findClosedCache` (start-warm.ts), and reasons that only a booted guest shows in
 * `requireSavable` (vm/power/save-checks.ts).
 */
export const COLD_REASONS: readonly ColdReason[] = [
  { applies: ({ start }) => start === 'cold', options: ['start'], reason: "start: 'cold'" },
  {
    applies: ({ identity, image, directBoot }) =>
      identity === 'own' && image === undefined && directBoot !== undefined,
    options: ['kernel'],
    reason: 'the guest has no image, only a kernel',
    fix: SHARED_IDENTITY,
  },
  {
    applies: ({ identity, image }) => identity === 'own' && image === undefined,
    options: ['image'],
    reason: 'the guest has no image',
  },
  {
    applies: (spec) => isProbed(spec) && !canStartAgent(spec),
    options: ['image', 'arch'],
    reason: 'guests of this architecture have no port for the identity agent',
    fix: SHARED_IDENTITY,
  },
  {
    applies: (spec) =>
      isProbed(spec) && spec.image?.traits.lacksModules === true && spec.directBoot?.isCustom !== true,
    options: ['image'],
    reason:
      'the guest has no module for the port of the identity agent: a root file system has the kernel of tiny',
    fix: `Set \`kernel\` and \`initrd\` to those of its system, or make a disk image. ${SHARED_IDENTITY}`,
  },
  {
    applies: (spec) => isProbed(spec) && !hasRootChannel(spec),
    options: ['image', 'ready'],
    reason: 'with this `ready`, no login of the guest is known, which its clones need to get their identity',
    fix: `Set \`login: { user: 'root', … }\` for the serial console, or omit \`ready\`. ${SHARED_IDENTITY}`,
  },
  {
    applies: (spec) => isProbed(spec) && spec.image?.disk?.encryption !== undefined,
    options: ['image'],
    reason: 'a template would contain the decrypted content of an encrypted disk',
  },
  {
    applies: ({ image }) => UNSAVABLE_FORMATS.includes(image?.disk?.format),
    options: ['image'],
    reason: 'QEMU cannot save guests with images of this format',
    fix: 'Convert the image to qcow2: `qemu-img convert -O qcow2`.',
  },
  {
    applies: (spec) => spec.identity === 'shared' && acceptsKeys(spec),
    options: ['identity'],
    reason: 'a guest with a shared identity has the SSH key of the run that booted it',
    fix: 'Set `ssh: false`, or specify a login of the image in `ssh`.',
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
    applies: ({ bootOrder, bootOnce, bootMenu, netboot, furtherNetworks }) =>
      bootOrder !== undefined ||
      bootOnce !== undefined ||
      bootMenu ||
      netboot !== undefined ||
      furtherNetworks.some(({ tftp }) => tftp !== undefined),
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
    applies: ({ firmware }) => firmware.type === 'bios' && firmware.file !== undefined,
    options: ['firmware'],
    reason: 'a firmware file takes effect only in a cold boot',
  },
  {
    applies: ({ debug }) => debug.paused === true || debug.log !== undefined || debug.logFile !== undefined,
    options: ['debug.paused', 'debug.log', 'debug.logFile'],
    reason: '`debug` observes a guest from power-on',
  },
  {
    applies: ({ identity, machine }) => identity === 'own' && machine === MICROVM,
    options: ['machine'],
    reason: 'a microvm receives no credentials, through which a template is prepared',
  },
  {
    applies: ({ disks }) => disks.some(({ isWrittenDirectly }) => isWrittenDirectly),
    options: ['disks[].snapshot'],
    reason: 'with `snapshot: false` guests change the same file, so they cannot share a template',
  },
  {
    applies: ({ disks }) => disks.some(({ interface: kind }) => kind === 'pflash'),
    options: ['disks[].interface'],
    reason: 'a flash chip is read by the firmware',
  },
  {
    applies: ({ disks }) =>
      disks.some(({ content }) => content.kind === 'image' && content.file.encryption !== undefined),
    options: ['disks[].image'],
    reason: 'a template would contain the decrypted content of an encrypted disk',
  },
  {
    applies: ({ display }) => display.window === 'curses',
    options: ['display'],
    reason: 'a text screen uses the standard input, through which a clone receives its state',
  },
  {
    applies: ({ furtherNetworks }) => furtherNetworks.some(({ link }) => link !== undefined && 'tap' in link),
    options: ['network.tap'],
    reason: 'the frames that QEMU exchanges with a TAP interface have another form than those of a template',
  },
  {
    applies: (spec) => hasHub(spec) && (isProbed(spec) || spec.identity === 'shared'),
    options: ['network.hub'],
    reason: 'clones of this image cannot change the MAC address of a card on a hub',
  },
  {
    applies: (spec) => hasHub(spec) && spec.furtherNetworks.some(({ model }) => model !== spec.network.model),
    options: ['network.hub', 'network.model'],
    reason: 'with cards of several models, the guest may number the card on a hub differently',
    fix: 'Set the same `model` for all cards.',
  },
  {
    applies: ({ memoryBacking }) => Boolean(memoryBacking.hugePages),
    options: ['memory.hugePages'],
    reason: 'the RAM of a clone is a file of the cache, which huge pages cannot hold',
  },
  {
    applies: ({ memoryBacking, numa }) =>
      [memoryBacking, ...numa].some(({ hostNodes }) => hostNodes !== undefined),
    options: ['memory.hostNodes', 'numa[].hostNodes'],
    reason: 'clones share RAM, which is on the host nodes where their template left it',
  },
  {
    applies: ({ rtc }) => hasFixedBase(rtc) && rtc.clock === 'host',
    options: ['rtc.clock'],
    reason: "with `rtc.clock: 'host'`, the age of the template would be added to `rtc.base`",
    fix: 'Omit `rtc.clock`.',
  },
  {
    applies: ({ start, qemuArgs }) => start !== 'warm' && qemuArgs.length > 0,
    options: ['qemuArgs'],
    reason: '`qemuArgs` may name files and devices that guests cannot share',
    fix: "Set `start: 'warm'` if several guests can use these arguments, and none names a file that changes.",
  },
]

/** Returns true if the guest has a card on a network between guests. */
export function hasHub({ furtherNetworks }: MachineSpec): boolean {
  return furtherNetworks.some(({ link }) => link !== undefined && 'hub' in link)
}

/** Returns true if the identity agent can run in guests of this machine. */
function canStartAgent({ arch }: MachineSpec): boolean {
  return findAgentArch(arch) !== undefined && describeArch(arch).virtio !== undefined
}

/** Returns why this guest needs a cold boot; undefined if it can start from a template. */
export function findColdReason(spec: MachineSpec): ColdReason | undefined {
  return COLD_REASONS.find(({ applies }) => applies(spec))
}
