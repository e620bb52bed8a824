import { findBootProblem, readDiskHead } from '../../disk/boot-code.js'
import { type VMError, vmError } from '../../errors.js'
import { isPc } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { MICROVM } from '../../spec/microvm.js'

/**
 * Checks that the system disk is bootable, if it is the only boot source and the guest must boot an
 * operating system. In doubtful cases the check passes and the guest is booted.
 *
 * @throws {UsageError} IMAGE_INVALID when the firmware certainly finds nothing to boot.
 */
export async function requireBootable(spec: MachineSpec, signal?: AbortSignal): Promise<void> {
  const { image, firmware } = spec
  if (image?.disk === undefined || !bootsFromSystemDisk(spec) || !mustBootSystem(spec)) return
  // A disk that cannot be read here is left to QEMU.
  const head = await readDiskHead(image.disk, signal).catch((error: VMError) => {
    if (error.code === 'IMAGE_INVALID') return undefined
    throw error
  })
  const problem = head && findBootProblem(head, firmware.type)
  if (problem === undefined) return
  const isCd = problem.startsWith('a CD')
  const isGpt = problem.includes('GPT')
  throw vmError('IMAGE_INVALID', {
    summary: `The image ${image.name} cannot be booted by ${firmware.type === 'uefi' ? 'UEFI' : 'a BIOS'}: it has no boot loader.`,
    expected: firmware.type === 'uefi' ? 'a disk with an EFI system partition' : 'a disk with boot code',
    got: problem,
    hint: isCd
      ? `Insert it into a CD drive: \`image: false, cdrom: '${image.name}'\`.`
      : isGpt
        ? "Set `firmware: 'uefi'` if the disk has an EFI system partition."
        : "Specify `kernel` if this is a file system or a data disk, or set `ready: 'none'` to boot it anyway.",
  })
}

/**
 * Returns true if the system disk is the only boot source. Kernels, networks, other disks and QEMU
 * options can be others.
 */
function bootsFromSystemDisk(spec: MachineSpec): boolean {
  const { arch, machine, firmware, image, systemDisk, network, furtherNetworks, devices } = spec
  const isKnownFirmware =
    firmware.type === 'uefi' ? firmware.vars === undefined : firmware.file === undefined && isPc(arch)
  const isPlainDisk = ['virtio', 'scsi', 'ide', 'sata', 'usb', 'nvme'].includes(systemDisk.interface)
  const cards = [network, ...furtherNetworks]
  const hasOther =
    spec.directBoot !== undefined ||
    spec.netboot !== undefined ||
    cards.some((card) => card.tftp !== undefined || card.bootfile !== undefined || card.link !== undefined) ||
    cards.some(({ bootIndex }) => bootIndex !== undefined) ||
    spec.disks.length > 0 ||
    devices.others.length > 0 ||
    devices.hotplug ||
    spec.qemuArgs.length > 0
  const hasOrder = spec.bootOrder !== undefined || spec.bootOnce !== undefined || spec.bootMenu
  const isDebugged = spec.debug.paused === true || spec.debug.gdb !== undefined
  const isReadable = image?.disk?.encryption === undefined && image?.disk?.format !== 'luks'
  return (
    isKnownFirmware &&
    machine !== MICROVM &&
    isPlainDisk &&
    isReadable &&
    !hasOther &&
    !hasOrder &&
    !isDebugged &&
    image?.traits.identity === undefined
  )
}

/**
 * Returns true if only an operating system on the disk can make the guest ready. A pattern or a
 * function may refer to the firmware's output.
 */
function mustBootSystem({ ready }: MachineSpec): boolean {
  return typeof ready === 'string' && ready !== 'none'
}
