import { gunzipSync } from 'node:zlib'
import { type HostTool, runTool } from '../common/process/run-tool.js'
import { DECOMPRESSORS } from '../disk/packing.js'
import { isElf64 } from './elf.js'

const PACKED: ReadonlyArray<{
  readonly suffix: string
  readonly magic: readonly number[]
  readonly tool: HostTool
  readonly args: readonly string[]
}> = [
  { suffix: '.xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], tool: DECOMPRESSORS.xz, args: ['-dc'] },
  { suffix: '.zst', magic: [0x28, 0xb5, 0x2f, 0xfd], tool: DECOMPRESSORS.zstd, args: ['-dcq'] },
]
const GZIP = [0x1f, 0x8b, 0x08]
const LZ4_LEGACY = [0x02, 0x21, 0x4c, 0x18]

/**
 * Returns the ELF kernel inside an x86 bzImage, which QEMU can boot without the kernel's own
 * decompressor (Documentation/x86/boot.rst: `payload_offset` and `payload_length`, relative to the
 * protected-mode code). Returns undefined if the file is not a bzImage or is not compressed with
 * gzip, xz, zstd or lz4.
 */
export async function extractVmlinux(bzImage: Buffer, signal?: AbortSignal): Promise<Buffer | undefined> {
  const payload = findPayload(bzImage)
  if (payload === undefined) return undefined
  const kernel = await decompress(payload, signal)
  return kernel !== undefined && isElf64(kernel) ? kernel : undefined
}

/** Unpacks a kernel module according to the suffix of its name. */
export async function unpackModule(path: string, content: Buffer, signal?: AbortSignal): Promise<Buffer> {
  const row = PACKED.find(({ suffix }) => path.endsWith(suffix))
  if (row === undefined) return content
  const { tool, args } = row
  const purpose = `unpacking ${path}`
  return Buffer.from(await runTool({ tool, args, input: content, purpose, timeoutMs: 60_000, signal }))
}

function findPayload(bzImage: Buffer): Buffer | undefined {
  if (bzImage.length < 0x260 || bzImage.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined
  const setupSectors = bzImage[0x1f1] || 4
  const start = (setupSectors + 1) * 512 + bzImage.readUInt32LE(0x248)
  // The last four bytes of the payload are its uncompressed size, appended by the kernel build.
  return bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c))
}

async function decompress(payload: Buffer, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
  const begins = (magic: readonly number[]) => magic.every((byte, index) => payload[index] === byte)
  if (begins(GZIP)) return gunzipSync(payload)
  if (begins(LZ4_LEGACY)) return decompressLz4Legacy(payload, payload.readUInt32LE(payload.length - 4))
  for (const { magic, tool, args } of PACKED) {
    if (!begins(magic)) continue
    const input = payload.subarray(0, -4)
    const purpose = 'unpacking the kernel'
    return Buffer.from(await runTool({ tool, args, input, purpose, timeoutMs: 120_000, signal }))
  }
  return undefined
}

/**
 * Decompresses the legacy lz4 frame (`lz4 -l`): a magic number, then blocks preceded by their size.
 */
export function decompressLz4Legacy(frame: Buffer, outputBytes: number): Buffer {
  const output = Buffer.alloc(outputBytes)
  let at = 4
  let written = 0
  while (written < outputBytes && at + 4 <= frame.length) {
    const end = at + 4 + frame.readUInt32LE(at)
    at += 4
    while (at < end) {
      const token = frame[at++] ?? 0
      let literals = token >> 4
      if (literals === 15) for (let more = 255; more === 255; literals += more) more = frame[at++] ?? 0
      written += frame.copy(output, written, at, at + literals)
      at += literals
      if (at >= end) break
      const distance = frame.readUInt16LE(at)
      at += 2
      let length = (token & 15) + 4
      if (length === 19) for (let more = 255; more === 255; length += more) more = frame[at++] ?? 0
      // A match may overlap its own output, so it is copied byte by byte.
      for (let from = written - distance; length > 0; length--) output[written++] = output[from++] ?? 0
    }
  }
  return output
}
