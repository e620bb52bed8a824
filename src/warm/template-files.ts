import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { copyWrittenFile } from '../disk/written-overlay.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { MachineSnapshot } from '../vm/machine/guest-plan.js'
import type { Machine } from '../vm/machine/machine.js'

const FILES = {
  state: 'state',
  identity: 'identity.json',
  log: 'serial.log',
  variables: 'uefi-vars',
  tpm: 'tpm',
} as const
/** Lock of swtpm, which is not part of the state of a TPM. */
const TPM_LOCK = '.lock'

/** Returns the names of the files of a disk: its content, and an empty overlay. 0: system disk. */
export function diskFileNames(index: number): { readonly disk: string; readonly overlay: string } {
  const suffix = index === 0 ? '' : `-${index}`
  return { disk: `disk${suffix}.qcow2`, overlay: `overlay${suffix}.qcow2` }
}

/** Returns true if a template contains a disk: the guest can write to it, but not to its image. */
export function isSavedDisk({ content, isReadonly }: MachineSpec['disks'][number]): boolean {
  return content.kind !== 'empty' && !isReadonly
}

/**
 * Returns true if clones get their own identity, and their image does not describe its places: they
 * are found in the running guest.
 */
export function isProbed({ identity, image }: MachineSpec): boolean {
  return identity === 'own' && image?.traits.identity === undefined
}

/** Returns the files of the template of a machine in a folder. */
export function describeFiles(dir: string, spec: MachineSpec): MachineSnapshot {
  const { image, disks, firmware, tpm, ports, numa } = spec
  const at = (name: string) => join(dir, name)
  return {
    // One file for each NUMA node.
    memory: Array.from({ length: Math.max(1, numa.length) }, (_, node) =>
      at(node === 0 ? 'memory' : `memory-${node}`),
    ),
    state: at(FILES.state),
    identity: isProbed(spec) ? at(FILES.identity) : undefined,
    serialLog: at(FILES.log),
    portLogs: ports.map((_, index) => at(`port-${index}.log`)),
    overlay: image?.disk === undefined ? undefined : at(diskFileNames(0).overlay),
    furtherOverlays: disks.map((disk, index) =>
      isSavedDisk(disk) ? at(diskFileNames(index + 1).overlay) : undefined,
    ),
    variables: firmware.type === 'uefi' ? at(FILES.variables) : undefined,
    tpmDir: tpm === undefined ? undefined : at(FILES.tpm),
  }
}

/** Removes all files of an unfinished template. */
export async function removeFiles(dir: string): Promise<void> {
  for (const name of await readdir(dir)) await rm(join(dir, name), { recursive: true, force: true })
}

/**
 * Copies the small files of a guest whose QEMU has ended: console log, UEFI variables, and state of
 * the TPM. Another user's QEMU may have written links to files that the user cannot read, which are
 * not followed.
 */
export async function saveSmallFiles(
  { workspace, files, services, probed }: Machine,
  { serialLog, identity, variables, tpmDir }: MachineSnapshot,
): Promise<void> {
  await copyWrittenFile(workspace.path(FILES.log), serialLog)
  if (identity !== undefined) await writeFile(identity, JSON.stringify(probed), { mode: 0o600 })
  if (variables !== undefined && files.firmware !== undefined)
    await copyWrittenFile(files.firmware.vars.path, variables)
  if (tpmDir === undefined || services.tpm === undefined) return
  const { stateDir } = services.tpm
  await mkdir(tpmDir, { mode: 0o700 })
  for (const name of await readdir(stateDir))
    if (name !== TPM_LOCK) await copyWrittenFile(join(stateDir, name), join(tpmDir, name))
}
