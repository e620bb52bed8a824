import { QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { vmError } from '../errors.js'
import type { DiskFormat } from '../spec/base-image.js'

/** Properties of a disk image as reported by QEMU. */
export interface DiskInfo {
  readonly virtualBytes: number
  /** Backing file as named in the image, with its format if that is stored. */
  readonly backing: { readonly name: string; readonly format: string | undefined } | undefined
  /** Additional data files as named in the image. */
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
 * Opens an image, without its backing files, with QEMU's own code, which detects corruption,
 * unsupported features and locks of other writers.
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
  // A truncated VMDK file can be opened: only a check of all its tables detects that.
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
      hint: `Download or create it again: it is probably damaged, truncated or not ${format}. Check it with \`qemu-img check -f ${format} ${path}\`.`,
      writes: false,
      timeoutMs: TIMEOUT_MS,
      signal,
    })
    return Buffer.from(output).toString()
  } catch (error) {
    if (!/Failed to get .*lock/.test((error as Error).message)) throw error
    throw vmError('IMAGE_LOCKED', {
      summary: `The image ${path} is open for writing in another process.`,
      expected: 'an image that no process writes to while guests read it',
      got: 'a write lock of QEMU or qemu-img',
      hint: `Stop that process (\`fuser ${path}\` finds it), or use a copy of the image.`,
      cause: error,
    })
  }
}
