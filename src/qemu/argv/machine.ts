import { describeArch, isPc } from '../../spec/architectures.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { MICROVM } from '../../spec/microvm.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'
import { hasOwnMemory, RAM_ID } from './memory.js'

export function machineArgs(
  spec: MachineSpec,
  { accelerator, memoryFiles }: Pick<Wiring, 'accelerator' | 'memoryFiles'>,
): string[] {
  const { arch, machine, firmware, memoryBacking, display } = spec
  const byDefault = describeArch(arch)
  const hasBackend = hasOwnMemory(spec) || (memoryFiles !== undefined && spec.numa.length === 0)
  return [
    '-machine',
    joinOption(machine, {
      accel: accelerator,
      // Without a display card, firmware and boot loaders print on the serial console. With one,
      // `graphics=off` would print the output of boot loaders twice, because SeaBIOS copies the
      // screen to the console.
      graphics: display.vga === undefined ? 'off' : undefined,
      // The guest's RAM contains secrets, and other users may be able to read a core dump of QEMU.
      'dump-guest-core': 'off',
      usb: 'off',
      ...fastPc(machine),
      ...(isKind(machine, byDefault.machine) ? byDefault.machineProperties : {}),
      // All devices that withvm adds are PCI devices.
      pcie: machine === MICROVM ? 'on' : undefined,
      smm: isPc(arch) && firmware.type === 'uefi' && firmware.secureBoot ? 'on' : undefined,
      'mem-merge': memoryBacking.merge === false ? 'off' : undefined,
      'memory-backend': hasBackend ? RAM_ID : undefined,
    }),
  ]
}

/** Returns true for a machine type and its versions: `virt-7.2` is a `virt`. */
function isKind(machine: string, kind: string): boolean {
  return machine === kind || machine.startsWith(`${kind}-`)
}

/** Disables PC devices that slow down the boot of Linux guests and are not used by them. */
function fastPc(machine: string): Record<string, string> {
  return /^(pc|q35|pc-.*)$/.test(machine) ? { vmport: 'off', smbus: 'off' } : {}
}
