import type { HostUser } from '../common/process/host-user.js'
import { QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { VMError, vmError } from '../errors.js'
import type { BaseImage } from '../spec/base-image.js'

interface OverlayOptions {
  readonly base: NonNullable<BaseImage['disk']>
  readonly path: string
  /** How large the disk is. If set, the base is not opened, and need not be there yet. @default the size of the base */
  readonly virtualBytes?: number | undefined
  /** Who makes it, and whose it is. @default who runs this process */
  readonly user?: HostUser | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Makes a qcow2 file that takes a guest's writes and reads the rest from `base`, which stays as it is.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full; WORKSPACE_FAILED when `path` cannot be made;
 *   TOOL_NOT_FOUND without qemu-img.
 * @throws {UsageError} IMAGE_INVALID when qemu-img refuses the base.
 */
export async function createOverlay({
  base,
  path,
  virtualBytes,
  user,
  signal,
}: OverlayOptions): Promise<void> {
  // The size of an encrypted base is known: to open it takes its secret and a second.
  const bytes = virtualBytes ?? base.encryption?.virtualBytes
  try {
    await runTool({
      tool: QEMU_IMG,
      args: [
        ...['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path],
        ...(bytes === undefined ? [path] : ['-u', path, String(bytes)]),
      ],
      purpose: `making an overlay of ${base.path}`,
      code: 'IMAGE_INVALID',
      hint: `Check the image with: qemu-img check ${base.path}`,
      timeoutMs: 30_000,
      endsWithUs: false, // each start makes one
      user,
      signal,
    })
  } catch (error) {
    const isOwn = error instanceof VMError && error.code === 'IMAGE_INVALID'
    if (!isOwn || !error.message.includes(`${path}: Could not create`)) throw error
    throw vmError('WORKSPACE_FAILED', {
      summary: `The overlay ${path} could not be made.`,
      evidence: error.evidence,
      hint: 'Check that its directory is there and that this user may write to it.',
      cause: error,
    })
  }
}

/**
 * Makes a qcow2 file of a size with nothing on it.
 *
 * @param user who makes it, and whose it is. @default who runs this process
 * @throws {InfrastructureError} NO_SPACE when the disk is full; TOOL_NOT_FOUND without qemu-img.
 */
export async function createEmptyDisk(path: string, bytes: number, user?: HostUser): Promise<void> {
  await runTool({
    tool: QEMU_IMG,
    args: ['create', '-q', '-f', 'qcow2', path, String(bytes)],
    purpose: 'making a new disk',
    code: 'WORKSPACE_FAILED',
    timeoutMs: 30_000,
    user,
  })
}

/**
 * Copies into an overlay what is between it and `base`, so that it needs nothing else.
 *
 * @param options.user who opens the overlay and all that its header names. @default who runs this process
 */
export async function flattenOverlay({
  base,
  path,
  user,
  signal,
}: Omit<OverlayOptions, 'virtualBytes'>): Promise<void> {
  await runTool({
    tool: QEMU_IMG,
    args: ['rebase', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path, path],
    purpose: `putting the overlay ${path} on ${base.path}`,
    timeoutMs: 300_000,
    user,
    signal,
  })
}
