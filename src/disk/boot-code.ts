import { constants, mkdir, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newRunFolderName } from '../common/locks/run-folder-name.js'
import { QEMU_IMG, runTool } from '../common/process/run-tool.js'
import { KIB } from '../common/units.js'
import type { BaseImage } from '../spec/base-image.js'

/**
 * Size of the disk head that is checked: up to the first descriptor of a CD, which is after 32 KiB.
 */
const HEAD_BYTES = 68 * KIB
const BLOCK_BYTES = 2048
const SECTOR_BYTES = 512
/** Size of the code in a boot record, before the disk signature and the partition table. */
const CODE_BYTES = 440
const BOOT_SIGNATURE = 0xaa55

export type BootFirmware = 'bios' | 'uefi'

/** Reads the beginning of a disk as the guest sees it, in any format. */
export async function readDiskHead(
  { path, format }: NonNullable<BaseImage['disk']>,
  signal?: AbortSignal,
): Promise<Buffer> {
  if (format === 'raw') return readStart(path)
  // Named like a run's folder, so a later run removes it if this process is killed.
  const dir = join(tmpdir(), newRunFolderName())
  await mkdir(dir, { mode: 0o700 })
  try {
    const to = join(dir, 'head')
    await runTool({
      tool: QEMU_IMG,
      args: [
        ...['dd', '-f', format, '-O', 'raw', `bs=${BLOCK_BYTES}`, `count=${HEAD_BYTES / BLOCK_BYTES}`],
        ...[`if=${path}`, `of=${to}`],
      ],
      purpose: `reading the boot sector of ${path}`,
      code: 'IMAGE_INVALID',
      timeoutMs: 30_000,
      signal,
    })
    return await readFile(to)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function readStart(path: string): Promise<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
  return buffer.subarray(0, bytesRead)
}

/**
 * Returns a description of a disk head that the firmware certainly cannot boot from; undefined if
 * it may be bootable. A BIOS reads only the first sector (SeaBIOS, src/boot.c: `boot_disk`), which
 * needs the signature and code before it. UEFI reads partition tables and file systems, and all
 * those it knows start within these bytes. Pure.
 */
export function findBootProblem(head: Buffer, firmware: BootFirmware): string | undefined {
  if (head.every((byte) => byte === 0)) return 'a disk that begins with zeros'
  if (firmware === 'uefi' || head.length < SECTOR_BYTES) return undefined
  const hasSignature = head.readUInt16LE(SECTOR_BYTES - 2) === BOOT_SIGNATURE
  if (!hasSignature && isCd(head)) return 'a CD without a boot sector for disks'
  if (!hasSignature) return 'a first sector without the signature of a boot sector (0xaa55)'
  const hasCode = head.subarray(0, CODE_BYTES).some((byte) => byte !== 0)
  if (hasCode) return undefined
  const isGpt = head.toString('latin1', SECTOR_BYTES, SECTOR_BYTES + 8) === 'EFI PART'
  return isGpt ? 'a disk with a GPT and no boot code' : 'a partition table without boot code'
}

function isCd(head: Buffer): boolean {
  return head.toString('latin1', 0x8001, 0x8006) === 'CD001'
}
