import { VMError, vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'
import { QEMU_IMG, runTool } from './run-tool.js'

/**
 * Makes a qcow2 file that takes a guest's writes and reads the rest from `base`, which stays as it is.
 *
 * @throws {InfrastructureError} NO_SPACE when the disk is full; WORKSPACE_FAILED when `path` cannot be made;
 *   TOOL_NOT_FOUND without qemu-img.
 * @throws {UsageError} IMAGE_INVALID when qemu-img refuses the base.
 */
export async function createOverlay(options: {
  readonly base: { readonly path: string; readonly format: DiskFormat }
  readonly path: string
  readonly signal?: AbortSignal | undefined
}): Promise<void> {
  const { base, path, signal } = options
  try {
    await runTool({
      tool: QEMU_IMG,
      args: ['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path, path],
      purpose: `making an overlay of ${base.path}`,
      code: 'IMAGE_INVALID',
      hint: `Check the image with: qemu-img check ${base.path}`,
      timeoutMs: 30_000,
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
