import { copyFile, link, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { copySparse } from '../../common/files/sparse-copy.js'
import type { HostUser } from '../../common/process/host-user.js'
import { MIB } from '../../common/units.js'
import { copyDisk, createEmptyDisk, createOverlay } from '../../disk/overlay.js'
import type { DiskFile } from '../../qemu/command.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { DiskSpec } from '../../spec/disk-spec.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'
import { isCopiedToTemplate } from './disk-content.js'
import type { ForkedState } from './forked-state.js'
import type { StartOrigin } from './guest-plan.js'

/**
 * Creates the files of the disks other than the system disk: an overlay on the image or on the
 * snapshot's disk, a new file, or the original file if it is opened in place.
 */
export async function makeDisks(
  workspace: Workspace,
  { disks }: MachineSpec,
  origin: StartOrigin,
): Promise<Array<DiskFile | undefined>> {
  return Promise.all(disks.map((disk, index) => makeDisk(workspace, disk, index, origin)))
}

/** Size up to which a copy without holes is faster than another process. */
const MAX_PLAIN_BYTES = 4 * MIB

/** Returns the file name of an overlay. Index 0 is the system disk. */
export function overlayName(index: number, generation = 0): string {
  if (generation > 0) return `disk-${index}.${generation}.qcow2`
  return index === 0 ? 'disk.qcow2' : `disk-${index}.qcow2`
}

/**
 * Makes the overlay of a child of a fork, on top of links to the layers that it shares with its
 * parent. Returns undefined if the disk was not forked.
 */
export async function takeForkedDisk(
  workspace: Workspace,
  index: number,
  fork: ForkedState | undefined,
): Promise<DiskFile | undefined> {
  const disk = fork?.disks[index]
  if (fork === undefined || disk === undefined) return undefined
  const { overlay, layers } = disk
  await Promise.all(layers.files.map((name) => link(join(fork.folder, name), workspace.path(name))))
  const path = workspace.path(overlayName(index, layers.generation))
  const isSmall = (await stat(overlay)).size <= MAX_PLAIN_BYTES
  await (isSmall ? copyFile(overlay, path) : copySparse(overlay, path))
  return { path, format: 'qcow2', layers }
}

async function makeDisk(
  workspace: Workspace,
  disk: DiskSpec,
  index: number,
  { snapshot, memoryFiles }: StartOrigin,
): Promise<DiskFile | undefined> {
  const { content, isReadonly, isWrittenDirectly } = disk
  const number = index + 1
  const path = workspace.path(overlayName(number))
  const saved = snapshot?.furtherOverlays[index]
  if (content.kind === 'empty') return undefined
  if (saved !== undefined) {
    await copyFile(saved, path)
    return { path, format: 'qcow2' }
  }
  const forked = await takeForkedDisk(workspace, number, snapshot?.fork)
  if (forked !== undefined && content.kind === 'new') return forked
  if (content.kind === 'new') {
    await createEmptyDisk(path, content.bytes)
    return { path, format: 'qcow2' }
  }
  const { file: base } = content
  const secretFile = await writeSecret(workspace, base, `disk-${number}-secret`)
  if (forked !== undefined) return { ...forked, secretFile }
  if (isReadonly || isWrittenDirectly) return { path: base.path, format: base.format, secretFile }
  if (memoryFiles !== undefined && (await isCopiedToTemplate(base))) await copyDisk({ base, path })
  else await createOverlay({ base, path })
  return { path, format: 'qcow2', secretFile }
}

/** Size of a disk whose content does not matter, in bytes. */
const SCRATCH_BYTES = MIB

/**
 * Creates a disk that is not part of the machine, for the RAM of checkpoints: QEMU writes it after
 * the end of a disk. Returns its path.
 */
export async function makeScratchDisk(
  workspace: Workspace,
  name: string,
  user: HostUser | undefined,
): Promise<string> {
  const path = workspace.path(`${name}.qcow2`)
  await createEmptyDisk(path, SCRATCH_BYTES, user)
  return path
}

/** Writes the secret of an encrypted image to a file that only QEMU can read. */
export async function writeSecret(
  workspace: Workspace,
  disk: BaseImage['disk'],
  name: string,
): Promise<string | undefined> {
  const secret = disk?.encryption?.secret
  const content = typeof secret === 'object' ? await readFile(secret.file) : secret
  return writeSecretFile(workspace, name, content)
}

/**
 * Writes a secret to a file that only QEMU can read. Returns its path; undefined without a secret.
 */
export async function writeSecretFile(
  workspace: Workspace,
  name: string,
  secret: string | Buffer | undefined,
): Promise<string | undefined> {
  if (secret === undefined) return undefined
  await workspace.write(name, secret)
  return workspace.path(name)
}
