import { open, rm } from 'node:fs/promises'
import { type Ext4Options, makeExt4 } from '../../src/archive/ext4.js'
import { QEMU_IMG, runTool } from '../../src/common/process/run-tool.js'
import { MIB } from '../../src/common/units.js'
import { buildGpt, PARTITION_TYPES, type Partition, SECTOR_BYTES } from '../../src/disk/gpt.js'
import { EFI_SYSTEM_MIB, placeBootSector, placeCore } from './grub.js'

const SECTORS_PER_MIB = MIB / SECTOR_BYTES
const EFI_AT_MIB = 2
const ROOT_AT_MIB = EFI_AT_MIB + EFI_SYSTEM_MIB
/** Space after the root for the backup partition table. */
const END_MIB = 1

/**
 * Partition numbers of Debian's own images. The root is number 1 and last on the disk, so it can
 * grow.
 */
const BIOS_BOOT = partition(14, PARTITION_TYPES.biosBoot, 'bios', 1, EFI_AT_MIB)
const EFI_SYSTEM = partition(15, PARTITION_TYPES.efiSystem, 'esp', EFI_AT_MIB, ROOT_AT_MIB)

export interface BootDiskOptions {
  /** Path of the qcow2 file to write. */
  readonly path: string
  readonly virtualBytes: number
  readonly loader: { readonly bootSector: Buffer; readonly core: Buffer; readonly efiSystem: Buffer }
  readonly root: Omit<Ext4Options, 'path' | 'virtualBytes' | 'offsetBytes'>
  readonly signal?: AbortSignal | undefined
}

/** Creates a partitioned disk that boots with BIOS and UEFI. Needs no privileges. */
export async function makeBootDisk(options: BootDiskOptions): Promise<void> {
  const { path, virtualBytes, loader, root, signal } = options
  const raw = `${path}.raw`
  const diskMib = Math.floor(virtualBytes / MIB)
  const rootEnd = diskMib - END_MIB
  const partitions = [
    partition(1, PARTITION_TYPES.linuxRootX64, 'root', ROOT_AT_MIB, rootEnd),
    BIOS_BOOT,
    EFI_SYSTEM,
  ]
  const file = await open(raw, 'w')
  try {
    await file.truncate(diskMib * MIB)
    const table = buildGpt(diskMib * SECTORS_PER_MIB, partitions)
    await file.write(table.head, 0, table.head.length, 0)
    await file.write(table.tail, 0, table.tail.length, diskMib * MIB - table.tail.length)
    const coreAt = BIOS_BOOT.firstSector
    const bootSector = placeBootSector(loader.bootSector, coreAt)
    await file.write(bootSector, 0, bootSector.length, 0)
    const core = placeCore(loader.core, coreAt)
    await file.write(core, 0, core.length, coreAt * SECTOR_BYTES)
    const { efiSystem } = loader
    await file.write(efiSystem, 0, efiSystem.length, EFI_SYSTEM.firstSector * SECTOR_BYTES)
  } finally {
    await file.close()
  }
  await makeExt4({
    ...root,
    path: raw,
    offsetBytes: ROOT_AT_MIB * MIB,
    virtualBytes: (rootEnd - ROOT_AT_MIB) * MIB,
    signal,
  })
  await runTool({
    tool: QEMU_IMG,
    args: ['convert', '-f', 'raw', '-O', 'qcow2', raw, path],
    purpose: 'creating the disk',
    timeoutMs: 600_000,
    signal,
  })
  await rm(raw)
}

function partition(number: number, type: string, label: string, fromMib: number, toMib: number): Partition {
  return {
    number,
    type,
    label,
    firstSector: fromMib * SECTORS_PER_MIB,
    lastSector: toMib * SECTORS_PER_MIB - 1,
  }
}
