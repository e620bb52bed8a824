import { QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'

/** What QEMU says of a disk image. */
export interface DiskInfo {
  readonly virtualBytes: number
  /** The image that it is an overlay of, as it is written in the file, and its format if that is written too. */
  readonly backing: { readonly name: string; readonly format: string | undefined } | undefined
  /** Other files with parts of its content, as they are written in the file. */
  readonly parts: readonly string[]
}

interface QemuImgInfo {
  readonly 'virtual-size': number
  readonly 'backing-filename'?: string
  readonly 'backing-filename-format'?: string
  readonly 'format-specific'?: {
    readonly data?: {
      readonly 'data-file'?: string
      readonly extents?: readonly { readonly filename: string }[]
    }
  }
}

const TIMEOUT_MS = 30_000

/**
 * Has QEMU's own code open an image, but nothing that it is an overlay of: it sees corruption, features that it does not
 * know, and other writers' locks.
 *
 * @throws {UsageError} IMAGE_INVALID when QEMU cannot open it.
 * @throws {InfrastructureError} IMAGE_LOCKED when another process has it open for writing.
 */
export async function readDiskInfo(
  path: string,
  format: DiskFormat,
  signal: AbortSignal | undefined,
): Promise<DiskInfo> {
  const text = await runQemuImg(['info', '--output=json'], path, format, signal)
  const info = JSON.parse(text) as QemuImgInfo
  const { 'data-file': dataFile, extents = [] } = info['format-specific']?.data ?? {}
  const name = info['backing-filename']
  // A VMDK file that was cut off opens all the same: only a look at all of its tables tells.
  if (format === 'vmdk' && name === undefined) await runQemuImg(['check', '-q'], path, format, signal)
  return {
    virtualBytes: info['virtual-size'],
    backing: name === undefined ? undefined : { name, format: info['backing-filename-format'] },
    parts: [...(dataFile === undefined ? [] : [dataFile]), ...extents.map(({ filename }) => filename)].filter(
      (part) => part !== path,
    ),
  }
}

async function runQemuImg(
  command: readonly string[],
  path: string,
  format: DiskFormat,
  signal: AbortSignal | undefined,
): Promise<string> {
  try {
    const output = await runTool({
      tool: QEMU_IMG,
      args: [...command, '-f', format, path],
      purpose: `opening the image ${path} as ${format}`,
      code: 'IMAGE_INVALID',
      hint: `Look at it with: qemu-img check -f ${format} ${path}. It is probably damaged, cut off or not of the format ${format}: download or make it again.`,
      writes: false,
      timeoutMs: TIMEOUT_MS,
      signal,
    })
    return Buffer.from(output).toString()
  } catch (error) {
    if (!/Failed to get .*lock/.test((error as Error).message)) throw error
    throw vmError('IMAGE_LOCKED', {
      summary: `The image ${path} is open for writing in another process.`,
      expected: 'an image that nobody writes to while guests read it',
      got: 'the lock of a QEMU or qemu-img that writes to it',
      hint: `Stop that process (find it with: fuser ${path}), or give it and withvm a copy each.`,
      cause: error,
    })
  }
}
