import { join } from 'node:path'
import { changeOwner, type HostUser } from '../common/process/host-user.js'
import { createOverlay, flattenOverlay } from '../disk/overlay.js'
import { copyWrittenOverlay, readOverlayBase } from '../disk/written-overlay.js'
import type { BaseImage } from '../spec/base-image.js'
import { isCopiedToTemplate } from '../vm/machine/disk-content.js'
import type { MachineSnapshot } from '../vm/machine/guest-plan.js'
import type { Machine } from '../vm/machine/machine.js'
import { diskFileNames, isSavedDisk } from './template-files.js'

type DiskImage = NonNullable<BaseImage['disk']>

interface SaveOptions {
  /** Folder in which the template is built. */
  readonly building: string
  /** Folder of the complete template. */
  readonly final: string
  /** Template that the guest was restored from. Undefined: it was booted. */
  readonly parent: MachineSnapshot | undefined
  readonly signal: AbortSignal | undefined
}

interface WrittenDisk {
  /** Number of the disk; 0 is the system disk. */
  readonly index: number
  /** File that QEMU has written. */
  readonly written: string
  /** Image below, which belongs to the author or the cache. Undefined: none. */
  readonly image: DiskImage | undefined
  /** Overlay of the template that the guest was restored from. */
  readonly parentOverlay: string | undefined
}

/**
 * Saves the content of all disks that a guest has written to, after its QEMU has ended. Each gets
 * an empty overlay, which clones copy.
 */
export async function saveDisks(machine: Machine, options: SaveOptions): Promise<void> {
  for (const disk of await listWrittenDisks(machine, options.parent))
    await saveDisk(disk, machine.host.user, options)
}

async function listWrittenDisks(
  { spec, files }: Machine,
  parent: MachineSnapshot | undefined,
): Promise<WrittenDisk[]> {
  const disks: WrittenDisk[] = []
  if (files.overlay !== undefined && spec.image?.disk !== undefined) {
    const { disk: image } = spec.image
    disks.push({ index: 0, written: files.overlay.path, image, parentOverlay: parent?.overlay })
  }
  for (const [index, disk] of spec.disks.entries()) {
    const file = files.disks[index]
    if (file === undefined || !isSavedDisk(disk)) continue
    const { content } = disk
    const hasImage = content.kind === 'image' && !(await isCopiedToTemplate(content.file))
    disks.push({
      index: index + 1,
      written: file.path,
      image: hasImage ? content.file : undefined,
      parentOverlay: parent?.furtherOverlays[index],
    })
  }
  return disks
}

async function saveDisk(
  { index, written, image, parentOverlay }: WrittenDisk,
  user: HostUser | undefined,
  { building, final, signal }: SaveOptions,
): Promise<void> {
  const names = diskFileNames(index)
  const path = join(building, names.disk)
  const below = parentOverlay === undefined ? image : await readOverlayBase(parentOverlay)
  const { virtualBytes } = await copyWrittenOverlay({ from: written, to: path, base: below, signal })
  if (user !== undefined) await changeOwner(user, path, 0o600)
  // Flattened, so it does not depend on its parent templates. Their files may have been changed by
  // the QEMU of `runAs`, so they are opened as that user.
  if (parentOverlay !== undefined) await flattenOverlay({ path, base: image, user, signal })
  const overlay = join(building, names.overlay)
  const base = { path: join(final, names.disk), format: 'qcow2' } as const
  await createOverlay({ base, path: overlay, virtualBytes, signal })
  if (user !== undefined) await changeOwner(user, overlay, 0o600)
}
