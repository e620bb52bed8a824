import type { MachineSpec } from '../../spec/machine-spec.js'
import type { QemuCommand, Wiring } from '../command.js'
import { bootArgs } from './boot.js'
import { channelArgs, terminalArgs } from './channels.js'
import { clockArgs } from './clock.js'
import { cloudInitDiskArgs } from './cloud-init-disk.js'
import { cpuArgs } from './cpu.js'
import { debugArgs } from './debug.js'
import { deviceArgs, plugPortArgs } from './devices.js'
import { diskArgs, snapshotDiskArgs } from './disks.js'
import { displayArgs } from './display.js'
import { firmwareArgs, tpmArgs } from './firmware.js'
import { generationIdArgs, identityArgs } from './identity.js'
import { machineArgs } from './machine.js'
import { lockArgs, memoryArgs, memoryFileArgs } from './memory.js'
import { networkArgs } from './network.js'
import { portArgs, terminalPortArgs } from './ports.js'
import { sandboxArgs } from './sandbox.js'

/** Builds the complete command line of a guest. Pure. */
export function buildQemuCommand(spec: MachineSpec, wiring: Wiring): QemuCommand {
  const args = [
    ...identityArgs(spec),
    ...memoryFileArgs(spec, wiring),
    ...machineArgs(spec, wiring),
    ...cpuArgs(spec, wiring),
    ...memoryArgs(spec, wiring),
    ...lockArgs(spec),
    ...clockArgs(spec),
    ...firmwareArgs(spec, wiring),
    ...bootArgs(spec, wiring),
    ...diskArgs(spec, wiring),
    ...networkArgs(spec, wiring),
    ...channelArgs(spec, wiring),
    ...portArgs(spec, wiring),
    ...tpmArgs(spec, wiring),
    ...displayArgs(spec, wiring),
    ...plugPortArgs(spec),
    ...generationIdArgs(spec, wiring),
    ...deviceArgs(spec, wiring),
    ...debugArgs(spec, wiring),
    ...cloudInitDiskArgs(spec, wiring.seedDisk),
    ...(wiring.isIncoming ? ['-incoming', 'defer'] : []),
    // A device whose state cannot be saved is reported before the template's guest boots.
    ...(wiring.memoryFiles?.isWritten ? ['-only-migratable'] : []),
    ...sandboxArgs(spec, wiring),
    ...spec.qemuArgs,
  ]
  const usesTerminal = spec.display.window === 'curses'
  return { file: wiring.qemuPath, args, ...(usesTerminal && { usesTerminal }) }
}

/** Builds the command line that boots the same guest manually in a terminal. Pure. */
export function buildManualCommand(
  spec: MachineSpec,
  wiring: Pick<
    Wiring,
    'qemuPath' | 'accelerator' | 'hostPorts' | 'mac' | 'furtherMacs' | 'firmware' | 'tpmSocket'
  >,
): QemuCommand {
  const args = [
    ...identityArgs(spec),
    ...memoryFileArgs(spec, {}),
    ...machineArgs(spec, wiring),
    ...cpuArgs(spec, wiring),
    ...memoryArgs(spec),
    ...lockArgs(spec),
    ...clockArgs(spec),
    ...firmwareArgs(spec, wiring, 'on'),
    ...bootArgs(spec),
    ...snapshotDiskArgs(spec),
    ...networkArgs(spec, wiring),
    ...terminalArgs(),
    ...terminalPortArgs(spec),
    ...tpmArgs(spec, wiring),
    ...displayArgs(spec, {}),
    ...deviceArgs(spec),
    ...debugArgs(spec, {}),
    ...spec.qemuArgs,
  ]
  return { file: wiring.qemuPath, args }
}
