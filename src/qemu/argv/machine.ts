import { describeArch, isPc } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { MICROVM } from '../../spec/microvm.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'
import { hasOwnMemory, RAM_ID } from './memory.js'

export function machineArgs(
  spec: MachineSpec,
  { accelerator, memoryFile }: Pick<Wiring, 'accelerator' | 'memoryFile'>,
): string[] {
  const { arch, machine, firmware, memoryBacking, display } = spec
  const byDefault = describeArch(arch)
  return [
    '-machine',
    joinOption(machine, {
      accel: accelerator,
      // Without a display card, firmware and boot loaders print on the serial console. With one, what a boot loader prints there by
      // itself would come twice: SeaBIOS copies the screen to it.
      graphics: display.vga === undefined ? 'off' : undefined,
      // The guest's RAM holds its secrets, and a core dump of QEMU may be kept where others can read it.
      'dump-guest-core': 'off',
      usb: 'off',
      ...fastPc(machine),
      ...(isKind(machine, byDefault.machine) ? byDefault.machineProperties : {}),
      // All that withvm gives a machine is connected by PCI.
      pcie: machine === MICROVM ? 'on' : undefined,
      smm: isPc(arch) && firmware.type === 'uefi' && firmware.secureBoot ? 'on' : undefined,
      'mem-merge': memoryBacking.merge === false ? 'off' : undefined,
      'memory-backend': memoryFile === undefined && !hasOwnMemory(spec) ? undefined : RAM_ID,
    }),
  ]
}

/** Machines have versions: `virt-7.2` is a `virt`. */
function isKind(machine: string, kind: string): boolean {
  return machine === kind || machine.startsWith(`${kind}-`)
}

/** PC devices that a Linux guest would spend boot time on without a use for them. */
function fastPc(machine: string): Record<string, string> {
  return /^(pc|q35|pc-.*)$/.test(machine) ? { vmport: 'off', smbus: 'off' } : {}
}
