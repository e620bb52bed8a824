import { vmError } from '../errors.js'
import { findUefi } from '../host/firmware.js'
import type { QemuBinary } from '../host/qemu-binary.js'
import { requireTool, type ToolNeed } from '../host/tools.js'
import { resolveImage } from '../image/resolve-image.js'
import { isPc, resolveArch } from '../spec/architectures.js'
import { listDisks, readDiskSource } from '../spec/list-disks.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { VMOptions } from '../spec/options.js'
import type { DiskFiles } from '../spec/resolve/resolve-disks.js'
import type { VM } from '../vm/guest/vm.js'
import type { MachineHost } from '../vm/machine/machine.js'

const SMBD: ToolNeed = { program: 'smbd', aptPackage: 'samba', why: 'gives a guest a folder' }
const SWTPM: ToolNeed = { program: 'swtpm', aptPackage: 'swtpm', why: 'emulates a TPM' }

/** Finds the images of the disks beside the system's, in their order. */
export async function openDisks(options: VMOptions<VM>): Promise<DiskFiles> {
  const { signal } = options
  const arch = resolveArch(options.arch)
  const opening = listDisks(options).map(async ({ path, disk }) => {
    const source = readDiskSource(disk)
    if (source === undefined) return undefined
    const image = await resolveImage(source, { arch, signal })
    if (image.disk !== undefined) return image.disk
    throw vmError('IMAGE_INVALID', {
      summary: `The image ${image.name} of ${path} has no disk.`,
      hint: 'give the path of a disk image.',
    })
  })
  return Promise.all(opening)
}

/**
 * Finds what a machine needs of this host beside QEMU.
 *
 * @throws {UsageError} MACHINE_UNSUPPORTED when QEMU cannot have it all at once.
 * @throws {InfrastructureError} FIRMWARE_NOT_FOUND, TOOL_NOT_FOUND, with the package that has it.
 */
export async function findParts(
  { firmware, machine, tpm, directBoot, network, furtherNetworks }: MachineSpec<VM>,
  { arch }: QemuBinary,
): Promise<Pick<MachineHost, 'firmware' | 'swtpm'>> {
  if (isPc(arch) && tpm !== undefined && firmware.type === 'bios' && directBoot?.initrd !== undefined)
    throw tpmInTheWay()
  if ([network, ...furtherNetworks].some(({ sharedFolder }) => sharedFolder !== undefined))
    await requireTool(SMBD)
  return {
    firmware:
      firmware.type === 'bios'
        ? undefined
        : await findUefi({ arch, machine, secureBoot: firmware.secureBoot }),
    swtpm: tpm === undefined ? undefined : await requireTool(SWTPM),
  }
}

/**
 * QEMU (7.2) leaves 160 KiB between an initial RAM file system and the end of RAM for the tables of ACPI, which the log of a
 * TPM makes longer: the guest would find no table at all. UEFI firmware places both by itself.
 */
function tpmInTheWay() {
  return vmError('MACHINE_UNSUPPORTED', {
    summary:
      'QEMU cannot give a guest a TPM and load its initial RAM file system by itself: it would write over the tables of ACPI.',
    expected: "firmware: 'uefi' beside `tpm`, or an image that boots by itself",
    got: "`tpm` with QEMU's own BIOS and an `initrd`, as `tiny` has one",
    hint: "add firmware: 'uefi'.",
  })
}
