import { vmError } from '../errors.js'
import { findUefi } from '../host/firmware.js'
import type { QemuBinary } from '../host/qemu-binary.js'
import { requireTool, type ToolNeed } from '../host/tools.js'
import { isPc } from '../spec/architectures.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import type { MachineHost } from '../vm/machine/guest-plan.js'

const SMBD: ToolNeed = { program: 'smbd', aptPackage: 'samba', why: 'shares a folder with a guest' }
const SWTPM: ToolNeed = { program: 'swtpm', aptPackage: 'swtpm', why: 'emulates a TPM' }

/**
 * Finds the firmware and programs that a machine needs on this host, besides QEMU.
 *
 * @throws {UsageError} MACHINE_UNSUPPORTED when QEMU does not support the combination.
 * @throws {InfrastructureError} FIRMWARE_NOT_FOUND, TOOL_NOT_FOUND, with the package that provides
 *   it.
 */
export async function findFirmwareAndTools(
  { firmware, machine, tpm, directBoot, network, furtherNetworks }: MachineSpec,
  { arch }: QemuBinary,
): Promise<Pick<MachineHost, 'firmware' | 'swtpm'>> {
  if (isPc(arch) && tpm !== undefined && firmware.type === 'bios' && directBoot?.initrd !== undefined)
    throw tpmUnsupportedError()
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
 * QEMU 7.2 reserves 160 KiB between the initrd and the end of RAM for the ACPI tables. The event
 * log of a TPM makes the tables larger, so they would overlap the initrd and the guest would find
 * no tables. UEFI firmware places both itself.
 */
function tpmUnsupportedError() {
  return vmError('MACHINE_UNSUPPORTED', {
    summary:
      'QEMU does not support a TPM with a directly booted initrd under BIOS: the initrd would overwrite the ACPI tables.',
    expected: "`firmware: 'uefi'` with `tpm`, or an image with its own boot loader",
    got: '`tpm` with BIOS and an `initrd` (such as that of `tiny`)',
    hint: "Set `firmware: 'uefi'`.",
  })
}
