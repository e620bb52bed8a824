import { readFile } from 'node:fs/promises'
import { createEmptyDisk, createOverlay } from '../../disk/overlay.js'
import type { DiskFile } from '../../qemu/command.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { DiskSpec } from '../../spec/disk-spec.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'

/**
 * Creates the files of the disks other than the system disk: an overlay, a new file, or the
 * original file if it is opened in place.
 */
export async function makeDisks(
  workspace: Workspace,
  { disks }: MachineSpec,
): Promise<Array<DiskFile | undefined>> {
  return Promise.all(disks.map((disk, index) => makeDisk(workspace, disk, index + 1)))
}

async function makeDisk(
  workspace: Workspace,
  { content, isReadonly, isWrittenDirectly }: DiskSpec,
  number: number,
): Promise<DiskFile | undefined> {
  const path = workspace.path(`disk-${number}.qcow2`)
  if (content.kind === 'empty') return undefined
  if (content.kind === 'new') {
    await createEmptyDisk(path, content.bytes)
    return { path, format: 'qcow2' }
  }
  const { file: base } = content
  const secretFile = await writeSecret(workspace, base, `disk-${number}-secret`)
  if (isReadonly || isWrittenDirectly) return { path: base.path, format: base.format, secretFile }
  await createOverlay({ base, path })
  return { path, format: 'qcow2', secretFile }
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
