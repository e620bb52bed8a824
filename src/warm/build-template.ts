import { appendFile, chmod, statfs, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { copySparse } from '../common/files/sparse-copy.js'
import { changeOwner } from '../common/process/host-user.js'
import { noSpaceError } from '../common/process/run-tool.js'
import { formatBytes, MIB } from '../common/units.js'
import { withWaitLimit } from '../common/wait-limit.js'
import { VMError } from '../errors.js'
import type { MachineSpec, NetworkSpec } from '../spec/machine-spec.js'
import { type BootedGuest, bootMachine } from '../vm/boot/boot.js'
import { runPreparation } from '../vm/guest/run-preparation.js'
import type { GuestPlan, MachineSnapshot } from '../vm/machine/guest-plan.js'
import { requireShortKey } from '../vm/power/save-checks.js'
import { findUnsavableDevice, saveGuest } from '../vm/power/save-state.js'
import { newGuestName } from '../vm/workspace/guest-name.js'
import { saveDisks } from './save-disks.js'
import { describeFiles, isProbed, saveSmallFiles } from './template-files.js'

/** Reserve for the device state, the disk, and other files that grow in the meantime. */
const SPARE_BYTES = 32 * MIB

/** The snapshot of a booted guest could not be saved. The boot itself succeeded. */
export class TemplateSaveError extends Error {}

export interface BuildOptions {
  /** Template that the new one is built on. Undefined: the guest is booted. */
  readonly parent: MachineSnapshot | undefined
  /** Folder in which the template is built. */
  readonly building: string
  /** Folder of the complete template. */
  readonly final: string
}

/** Boots a guest, or restores it from the parent template and prepares it, and saves it. */
export async function buildTemplate(plan: GuestPlan, options: BuildOptions): Promise<void> {
  const { host, steps, run } = plan
  const { parent, building } = options
  const { signal } = run
  const spec = describeTemplateGuest(plan.spec)
  const files = describeFiles(building, spec)
  await requireShortKey(spec).catch(rejectSave)
  await checkSpace(building, spec.memoryBytes)
  await createMemoryFiles(plan, files, options)
  const template: GuestPlan = {
    name: newGuestName(spec.name),
    spec,
    host,
    steps: [],
    run: { ...run, keepMs: undefined },
  }
  const { memory: memoryFiles } = files
  const origin = { startedFrom: { kind: 'cold' }, memoryFiles, snapshot: parent } as const
  // This guest belongs to no test: only the signal of the waiting caller ends it.
  const guest = await withWaitLimit(
    () => Number.POSITIVE_INFINITY,
    () => bootMachine(template, origin).catch(rejectUnsavable),
  )
  await using vm = guest.vm
  const step = steps.at(-1)
  if (step !== undefined) await runPreparation(step, vm)
  await saveTo(files, guest, { isPrepared: parent !== undefined, signal })
  await saveSmallFiles(guest.machine, files)
  for (const [index, { received }] of guest.machine.guestPorts.entries())
    await writeFile(files.portLogs[index] as string, received)
  await saveDisks(guest.machine, { ...options, signal })
}

/**
 * Describes the guest that becomes the template of a machine, without the host resources that only
 * a guest of a test uses. A `ready` function may use them, so it gets those that two guests can
 * have one after the other.
 */
function describeTemplateGuest(spec: MachineSpec): MachineSpec {
  const { name, image, ssh, display, network, furtherNetworks, ready } = spec
  const isUsed = typeof ready === 'function'
  const hasFixedIdentity = spec.identity === 'own' && !isProbed(spec)
  const withoutServices = (card: NetworkSpec): NetworkSpec =>
    isUsed ? card : { ...card, guestForwards: [], sharedFolder: undefined }
  const servers = isUsed ? {} : { vnc: undefined, spice: undefined }
  return {
    ...spec,
    name: isUsed ? name : basename(image?.name ?? name),
    forwards: isUsed ? spec.forwards : spec.forwards.slice(0, ssh === undefined ? 0 : 1),
    // A clone that has a new MAC address requests its address itself. The template takes no lease.
    network: { ...withoutServices(network), ...(hasFixedIdentity && { addresses: {} }) },
    furtherNetworks: furtherNetworks.map(withoutServices),
    display: { ...display, window: undefined, grab: undefined, ...servers },
    debug: {},
  }
}

/** Creates the files of the RAM for the user of QEMU, which cannot create files in the cache. */
async function createMemoryFiles(
  { host: { user }, run: { signal } }: GuestPlan,
  { memory }: MachineSnapshot,
  { parent, building }: BuildOptions,
): Promise<void> {
  if (user !== undefined) await chmod(building, 0o711)
  for (const [node, path] of memory.entries()) {
    const from = parent?.memory[node]
    if (from !== undefined) await copySparse(from, path, signal)
    if (user === undefined) continue
    await appendFile(path, '') // QEMU sets its size
    await changeOwner(user, path, 0o600)
  }
}

function rejectSave(cause: unknown): never {
  throw new TemplateSaveError('The snapshot of the guest cannot be saved.', { cause })
}

/** Converts the error of a QEMU that rejects a device whose state cannot be saved. */
function rejectUnsavable(error: unknown): never {
  const cause = error instanceof VMError ? findUnsavableDevice(error) : undefined
  if (cause === undefined) throw error
  rejectSave(cause)
}

async function saveTo(
  { state: statePath }: MachineSnapshot,
  { vm, machine, session }: BootedGuest,
  { isPrepared, signal }: { readonly isPrepared: boolean; readonly signal: AbortSignal | undefined },
): Promise<void> {
  try {
    const access = vm.sshAccess
    await saveGuest(machine, session, { statePath, isPrepared, access, signal })
  } catch (error) {
    signal?.throwIfAborted()
    rejectSave(error)
  }
}

/** Checks the free space first: a guest whose RAM file does not fit is killed without notice. */
async function checkSpace(dir: string, memoryBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dir)
  const neededBytes = memoryBytes + SPARE_BYTES
  if (bavail * bsize < neededBytes) {
    throw noSpaceError(
      `saving the snapshot of a guest takes up to ${formatBytes(neededBytes)} in ${dirname(dir)}`,
    )
  }
}
