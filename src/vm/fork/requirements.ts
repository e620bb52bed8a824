import { vmError } from '../../errors.js'
import { mediumDeviceId } from '../../qemu/argv/disks.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { ForkParent } from '../power/power.js'

interface Obstacle {
  readonly applies: (spec: MachineSpec) => boolean
  /** Options that cause it, for the documentation. */
  readonly options: readonly string[]
  readonly reason: string
  readonly hint: string
}

/** Settings because of which a guest cannot be forked. The first one that applies is reported. */
export const FORK_OBSTACLES: readonly Obstacle[] = [
  {
    applies: ({ tpm }) => tpm !== undefined,
    options: ['tpm'],
    reason: 'it has a TPM, whose state is outside of QEMU',
    hint: 'Omit `tpm`.',
  },
  {
    applies: ({ disks }) => disks.some((disk) => disk.isWrittenDirectly && !disk.isReadonly),
    options: ['disks[].snapshot'],
    reason: 'it writes directly to a file of the host (`snapshot: false`)',
    hint: 'Omit `snapshot: false` of the disk, or make the disk read-only.',
  },
  {
    applies: ({ systemDisk, disks }) => [systemDisk, ...disks].some((disk) => disk.interface === 'pflash'),
    options: ['disks[].interface'],
    reason: 'a flash chip in `disks` cannot be switched to another file',
    hint: 'Use the option `firmware` instead.',
  },
  {
    applies: ({ network, furtherNetworks }) =>
      [network, ...furtherNetworks].some(({ link }) => link !== undefined && 'tap' in link),
    options: ['network.tap'],
    reason: 'only one guest can use its TAP interface',
    hint: 'Connect the guests with a LAN: `network: { hub: … }`.',
  },
  {
    applies: ({ display }) => display.window === 'curses',
    options: ['display'],
    reason: 'only one guest can use the terminal',
    hint: "Omit `display: 'curses'`.",
  },
  {
    applies: ({ qemuArgs }) => qemuArgs.length > 0,
    options: ['qemuArgs'],
    reason: '`qemuArgs` may name files and devices that cannot be shared',
    hint: 'Replace `qemuArgs` by options of withvm.',
  },
]

/**
 * Checks that a guest can be forked.
 * @throws {UsageError} SAVE_UNSUPPORTED
 */
export async function requireForkable(parent: ForkParent, signal: AbortSignal): Promise<void> {
  const { machine, session } = parent
  const { spec, owner, name } = machine
  if (owner.run.buildsImage === true || machine.isTemplate) {
    const hint = 'Fork a guest that is started from the image instead.'
    throw unsupportedError(name, 'its disk becomes an image', hint)
  }
  const obstacle = FORK_OBSTACLES.find(({ applies }) => applies(spec))
  if (obstacle !== undefined) throw unsupportedError(name, obstacle.reason, obstacle.hint)
  const plugged = [...session.pluggedDevices.keys()]
  if (plugged.length > 0) {
    const hint = 'Unplug the devices first, or fork the guest before.'
    throw unsupportedError(name, `devices were plugged in: ${plugged.join(', ')}`, hint)
  }
  await requireFirstMedia(parent, signal)
  await requireSavable(parent, signal)
}

/** Children have the media that their options name. */
async function requireFirstMedia({ machine, session }: ForkParent, signal: AbortSignal): Promise<void> {
  const media = machine.spec.disks.flatMap((disk, index) => mediumDeviceId(disk, index + 1) ?? [])
  if (media.length === 0) return
  const blocks = await session.qmp.execute('query-block', {}, { signal })
  for (const [index, disk] of machine.spec.disks.entries()) {
    const id = mediumDeviceId(disk, index + 1)
    if (id === undefined) continue
    const block = blocks.find(({ qdev }) => qdev === id || qdev?.endsWith(`/${id}`))
    if (block?.inserted?.file === machine.files.disks[index]?.path) continue
    const hint = 'Insert the first medium again, or fork the guest before.'
    throw unsupportedError(machine.name, `the medium of disks[${index}] was changed`, hint)
  }
}

/** `xen-save-devices-state` does not check whether all devices can be saved. */
async function requireSavable({ machine, session }: ForkParent, signal: AbortSignal): Promise<void> {
  const status = (await session.qmp.execute('query-migrate', {}, { signal })) as {
    readonly 'blocked-reasons'?: readonly unknown[]
  }
  const [reason] = status['blocked-reasons'] ?? []
  if (reason === undefined) return
  const hint = 'Remove the device that QEMU names, or unmount the file system that it serves.'
  throw unsupportedError(machine.name, String(reason).slice(0, 1000), hint)
}

function unsupportedError(name: string, got: string, hint: string) {
  return vmError('SAVE_UNSUPPORTED', {
    summary: `The guest '${name}' cannot be forked.`,
    got,
    hint,
  })
}
