import type { HostUser } from '../common/process/host-user.js'
import { QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { VMError, vmError } from '../errors.js'
import type { BaseImage } from '../spec/base-image.js'

interface OverlayOptions {
  readonly base: NonNullable<BaseImage['disk']>
  readonly path: string
  /**
   * Size of the disk. If set, the base is not opened and need not exist yet. @default the size of
   * the base
   */
  readonly virtualBytes?: number | undefined
  /** User that creates and owns the file. @default the user of this process */
  readonly user?: HostUser | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Creates a qcow2 overlay on top of `base`, which is not modified.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full; WORKSPACE_FAILED when `path` cannot
 *   be created; TOOL_NOT_FOUND without qemu-img.
 * @throws {UsageError} IMAGE_INVALID when qemu-img rejects the base.
 */
export async function createOverlay({
  base,
  path,
  virtualBytes,
  user,
  signal,
}: OverlayOptions): Promise<void> {
  // The size of an encrypted base is known, and opening it would need its secret and a second.
  const bytes = virtualBytes ?? base.encryption?.virtualBytes
  try {
    await runTool({
      tool: QEMU_IMG,
      args: [
        ...['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path],
        ...(bytes === undefined ? [path] : ['-u', path, String(bytes)]),
      ],
      purpose: `creating an overlay of ${base.path}`,
      code: 'IMAGE_INVALID',
      hint: `Check the image: \`qemu-img check ${base.path}\`.`,
      timeoutMs: 30_000,
      endsWithParent: false, // keeps each start fast
      user,
      signal,
    })
  } catch (error) {
    const isOwn = error instanceof VMError && error.code === 'IMAGE_INVALID'
    if (!isOwn || !error.message.includes(`${path}: Could not create`)) throw error
    throw vmError('WORKSPACE_FAILED', {
      summary: `The overlay ${path} could not be created.`,
      evidence: error.evidence,
      hint: 'Check that its directory exists and that this user can write to it.',
      cause: error,
    })
  }
}

/**
 * Creates an empty qcow2 file of the given size.
 *
 * @param user user that creates and owns the file. @default the user of this process
 * @throws {InfrastructureError} NO_SPACE when the disk is full; TOOL_NOT_FOUND without qemu-img.
 */
export async function createEmptyDisk(path: string, bytes: number, user?: HostUser): Promise<void> {
  await runTool({
    tool: QEMU_IMG,
    args: ['create', '-q', '-f', 'qcow2', path, String(bytes)],
    purpose: 'creating a new disk',
    code: 'WORKSPACE_FAILED',
    timeoutMs: 30_000,
    user,
  })
}

/**
 * Copies a disk image, backing files included, to a new qcow2 file.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full; TOOL_NOT_FOUND without qemu-img.
 */
export async function copyDisk({ base, path, signal }: Omit<OverlayOptions, 'virtualBytes'>): Promise<void> {
  await runTool({
    tool: QEMU_IMG,
    args: ['convert', '-f', base.format, '-O', 'qcow2', base.path, path],
    purpose: `copying ${base.path}`,
    timeoutMs: 300_000,
    signal,
  })
}

/**
 * Copies the data of the layers between an overlay and `base` into the overlay, so it depends only
 * on `base`, or on no other file if `base` is undefined.
 *
 * @param options.user user that opens the overlay and all files named in its header. @default the
 *   user of this process
 */
export async function flattenOverlay({
  base,
  path,
  user,
  signal,
}: Omit<OverlayOptions, 'virtualBytes' | 'base'> & {
  readonly base: OverlayOptions['base'] | undefined
}): Promise<void> {
  const target = base === undefined ? ['-b', ''] : ['-F', base.format, '-b', base.path]
  await runTool({
    tool: QEMU_IMG,
    args: ['rebase', '-q', '-f', 'qcow2', ...target, path],
    purpose: `rebasing the overlay ${path} onto ${base?.path ?? 'no other file'}`,
    timeoutMs: 300_000,
    user,
    signal,
  })
}
